/** The console: whoever is not logged in sees the login, everybody else a page in the shell. */
import { useEffect } from 'preact/hooks'
import { listen, stopListening } from './api/events'
import { Login, LoginAgain } from './components/Login'
import { Lost, Shell } from './components/Shell'
import { Toasts } from './components/Toasts'
import { PageOf } from './pages'
import { readPools, watchPools } from './state/pools'
import { isOver, session } from './state/session'
import { complain } from './state/toasts'

export function App() {
  const who = session.value
  return (
    <>
      {who && <Inside key={`${who.name} ${who.role}`} />}
      {who === null && <Login />}
      {who === undefined && <Lost />}
      {isOver.value && <LoginAgain />}
      <Toasts />
    </>
  )
}

function Inside() {
  useEffect(() => {
    readPools().catch(complain)
    listen()
    const stop = watchPools()
    return () => {
      stop()
      stopListening()
    }
  }, [])
  return (
    <Shell>
      <PageOf />
    </Shell>
  )
}
