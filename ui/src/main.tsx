import { render } from 'preact'
import './styles/index.css'
import { App } from './app'
import { loadWords } from './i18n'
import './state/theme'
import { link } from './api/events'
import { recall } from './state/session'

/** Time until a server that is not heard is asked again who we are (ms). */
const WAIT = 2000

const whoAmI = () =>
  recall().catch(() => {
    link.value = 'lost'
    window.setTimeout(() => void whoAmI(), WAIT)
  })

async function start() {
  await Promise.all([loadWords(), whoAmI()])
  const root = document.getElementById('app')
  if (root) render(<App />, root)
}

/** A file that misses its place must not take the page's place. */
for (const name of ['dragover', 'drop'] as const) {
  window.addEventListener(name, event => {
    if (event.dataTransfer?.types.includes('Files')) event.preventDefault()
  })
}

void start()
