/** The pools; below `/pools/NAME` one of them with its settings. */
import { useState } from 'preact/hooks'
import { remove } from '../../api/client'
import type { Pool } from '../../api/types'
import { Confirm } from '../../components/Confirm'
import { Dialog } from '../../components/Dialog'
import { Link } from '../../components/Link'
import { Share } from '../../components/Share'
import { t } from '../../i18n'
import { below, go } from '../../router'
import { pools, readPools } from '../../state/pools'
import { may } from '../../state/session'
import { Editor } from '../settings/Editor'
import { Start } from '../start/Start'

export function Page() {
  const name = below('/pools')
  const [isNew, setNew] = useState(false)
  const pool = pools.value?.find(pool => pool.name === name)
  if (name !== undefined && pools.value === undefined) return null
  if (pool) return <One pool={pool} />
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.pools')}</h1>
        {may('admin') && (
          <button type="button" class="button primary" onClick={() => setNew(true)}>
            {t('pools.add')}
          </button>
        )}
      </div>
      <div class="cards">
        {pools.value?.map(pool => (
          <section key={pool.name} class="card stack">
            <h2>
              <Link to={`/pools/${encodeURIComponent(pool.name)}`}>{pool.name}</Link>
            </h2>
            <span class="muted">{pool.provider}</span>
            <Share keys={pool.keys} />
          </section>
        ))}
      </div>
      {isNew && (
        <Dialog title={t('pools.add')} onClose={() => setNew(false)}>
          <Start />
        </Dialog>
      )}
    </>
  )
}

function One({ pool }: { pool: Pool }) {
  const [isRemove, setRemove] = useState(false)
  return (
    <>
      <div class="page-head">
        <h1>{pool.name}</h1>
        <div class="row">
          <Link to="/keys" query={{ pool: pool.name }} class="button">
            {t('nav.keys')}
          </Link>
          {may('admin') && !pool.provisioned && (
            <button type="button" class="button danger" onClick={() => setRemove(true)}>
              {t('remove')}
            </button>
          )}
        </div>
      </div>
      <section class="card stack">
        <Share keys={pool.keys} />
        <dl class="facts">
          <dt>{t('start.provider')}</dt>
          <dd>{pool.provider}</dd>
          <dt>{t('pools.paths')}</dt>
          <dd class="mono">{pool.paths.join(' ')}</dd>
          <dt>{t('pools.targets')}</dt>
          <dd>
            {pool.targets.map(({ target, state, error }) => (
              <div key={target}>
                <span class={`badge ${state === 'up' ? 'ready' : 'disabled'}`}>{state}</span>{' '}
                <span class="mono">{target}</span> {error}
              </div>
            ))}
          </dd>
        </dl>
      </section>
      <h2>{t('nav.settings')}</h2>
      <Editor path={`/pools/${encodeURIComponent(pool.name)}/settings`} />
      {isRemove && (
        <Confirm
          title={t('pools.remove')}
          word={pool.name}
          verb={t('remove')}
          act={async () => {
            await remove(`/pools/${encodeURIComponent(pool.name)}`)
            await readPools()
            go('/pools')
          }}
          onClose={() => setRemove(false)}
        >
          {t('keys.remove_text')}
        </Confirm>
      )}
    </>
  )
}
