/** Login by token: before the console, or above a page whose session has ended. */
import { useState } from 'preact/hooks'
import { t } from '../i18n'
import { login } from '../state/session'
import { Dialog } from './Dialog'
import { Preferences } from './Preferences'
import { Text } from './inputs'

function Form() {
  const [token, setToken] = useState('')
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)
  const submit = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    const refused = await login(token.trim()).catch(() => t('error.unreachable'))
    setError(refused ?? '')
    setBusy(false)
  }
  return (
    <form class="stack" onSubmit={submit}>
      <Text
        label={t('login.token')}
        hint={t('login.where')}
        type="password"
        autocomplete="current-password"
        value={token}
        set={setToken}
        error={error}
      />
      <button type="submit" class="button primary" disabled={isBusy || token.trim() === ''}>
        {t('login')}
      </button>
    </form>
  )
}

export function Login() {
  return (
    <main class="gate">
      <div class="card">
        <h1>keyweir</h1>
        <p class="muted">{t('login.intro')}</p>
        <Form />
        <Preferences />
      </div>
    </main>
  )
}

export function LoginAgain() {
  return (
    <Dialog title={t('login.again')} onClose={() => undefined} firm>
      <p>{t('login.again.text')}</p>
      <Form />
    </Dialog>
  )
}
