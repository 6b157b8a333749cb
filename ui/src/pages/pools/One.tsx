/** One pool: how it does, how clients reach it, and its settings. */
import { useEffect, useState } from 'preact/hooks'
import { remove } from '../../api/client'
import type { Pool } from '../../api/types'
import { Code } from '../../components/Code'
import { Confirm } from '../../components/Confirm'
import { Link } from '../../components/Link'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { Share } from '../../components/Share'
import { Snippets } from '../../components/Snippets'
import { t } from '../../i18n'
import { go } from '../../router'
import { onNews } from '../../state/news'
import { readPools } from '../../state/pools'
import { endpoint, useServer } from '../../state/server'
import { may } from '../../state/session'
import { complain } from '../../state/toasts'
import { Editor } from '../settings/Editor'

export function One({ pool }: { pool: Pool }) {
  const [isRemove, setRemove] = useState(false)
  const path = `/pools/${encodeURIComponent(pool.name)}`
  useEffect(() => {
    readPools().catch(complain)
    return onNews(() => void readPools().catch(() => undefined))
  }, [pool.name])
  const server = useServer()
  const base = endpoint(server.data, pool)
  return (
    <>
      <div class="page-head">
        <h1>{pool.name}</h1>
        <div class="row">
          <Link to="/keys" query={{ pool: pool.name }} class="button">
            {t('nav.keys')}
          </Link>
          <Link to="/why" query={{ pool: pool.name }} class="button">
            {t('nav.why')}
          </Link>
          {may('admin') && !pool.provisioned && (
            <button type="button" class="button danger" onClick={() => setRemove(true)}>
              {t('remove')}
            </button>
          )}
        </div>
      </div>
      <div class="split">
        <section class="card stack">
          <Share keys={pool.keys} />
          <Facts pool={pool} />
        </section>
        <section class="card stack">
          <h2>{t('pools.use')}</h2>
          {server.error != null && <Problem error={server.error} retry={server.reload} />}
          {base === undefined ? (
            <p class="muted">{server.data && t('pools.no_address')}</p>
          ) : (
            <>
              <Code text={base} label={t('pools.endpoint')} />
              <Snippets base={base} />
            </>
          )}
        </section>
      </div>
      {/* Not before it is known how high what stands above is. */}
      {(server.data ?? server.error) != null && (
        <>
          <h2>{t('nav.settings')}</h2>
          <Editor path={`${path}/settings`} />
        </>
      )}
      {isRemove && (
        <Confirm
          title={t('pools.remove')}
          word={pool.name}
          verb={t('remove')}
          act={async () => {
            await remove(path)
            await readPools()
            go('/pools')
          }}
          onClose={() => setRemove(false)}
        >
          {t('pools.remove_text')}
        </Confirm>
      )}
    </>
  )
}

function Facts({ pool }: { pool: Pool }) {
  return (
    <dl class="facts">
      <dt>{t('start.provider')}</dt>
      <dd>{pool.provider}</dd>
      <dt>{t('pools.paths')}</dt>
      <dd class="mono">
        {pool.default && '/v1 '}
        {pool.paths.join(' ')}
      </dd>
      <dt>{t('origin')}</dt>
      <dd>{pool.provisioned ? t('origin.file') : t('origin.console')}</dd>
      <dt>{t('pools.targets')}</dt>
      <dd class="stack tight">
        {pool.targets.map(({ target, state, error, last_check }) => (
          <div key={target}>
            <span class={`badge ${state === 'up' ? 'ready' : 'disabled'}`}>{t(`target.${state}`)}</span>{' '}
            <span class="mono">{target}</span> <span class="error">{error}</span>{' '}
            {last_check && (
              <span class="muted small">
                <Moment at={last_check} />
              </span>
            )}
          </div>
        ))}
      </dd>
    </dl>
  )
}
