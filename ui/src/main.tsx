import { render } from 'preact'
import './styles/index.css'
import { App } from './app'
import { loadWords } from './i18n'
import './state/theme'
import { recall } from './state/session'

async function start() {
  await Promise.all([loadWords(), recall().catch(() => undefined)])
  const root = document.getElementById('app')
  if (root) render(<App />, root)
}

void start()
