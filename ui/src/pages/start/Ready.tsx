/** The last step: what a client sends, with a token of its own. */
import { useState } from 'preact/hooks'
import { post, words } from '../../api/client'
import type { CreatedToken, Pool } from '../../api/types'
import { Link } from '../../components/Link'
import { Problem } from '../../components/Problem'
import { Snippets } from '../../components/Snippets'
import { t } from '../../i18n'
import { endpoint, useServer } from '../../state/server'

export function Ready({ pool }: { pool: Pool }) {
  const [token, setToken] = useState<string>()
  const [error, setError] = useState('')
  const server = useServer()
  const base = endpoint(server.data, pool)
  const make = async () => {
    try {
      const name = `${pool.name}-${new Date().toISOString().slice(0, 19)}`
      setToken((await post<CreatedToken>('/tokens', { name, pools: [pool.name] })).token)
    } catch (failure) {
      setError(words(failure))
    }
  }
  return (
    <div class="stack">
      {token === undefined ? (
        <div class="row">
          <button type="button" class="button primary" onClick={() => void make()}>
            {t('start.token')}
          </button>
          <span class="muted small">{t('start.token_hint')}</span>
        </div>
      ) : (
        <p class="notice warn">{t('clients.once')}</p>
      )}
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      {server.error != null && <Problem error={server.error} retry={server.reload} />}
      {base === undefined ? (
        <p class="muted">{server.data && t('pools.no_address')}</p>
      ) : (
        <Snippets base={base} token={token} />
      )}
      <div class="actions">
        <Link to="/" class="button">
          {t('start.finish')}
        </Link>
      </div>
    </div>
  )
}
