/** The pools; below `/pools/NAME` one of them with its settings. */
import { Link } from '../../components/Link'
import { Share } from '../../components/Share'
import { t } from '../../i18n'
import { below } from '../../router'
import { pools } from '../../state/pools'
import { may } from '../../state/session'
import { One } from './One'

export function Page() {
  const name = below('/pools')
  const pool = pools.value?.find(pool => pool.name === name)
  if (name !== undefined && pools.value === undefined) return null
  if (pool) return <One key={pool.name} pool={pool} />
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.pools')}</h1>
        {may('admin') && (
          <Link to="/start" class="button primary">
            {t('pools.add')}
          </Link>
        )}
      </div>
      <div class="cards">
        {pools.value?.map(pool => (
          <section key={pool.name} class="card stack">
            <h2>
              <Link to={`/pools/${encodeURIComponent(pool.name)}`}>{pool.name}</Link>
            </h2>
            <span class="row spread">
              <span class="muted">{pool.provider}</span>
              {pool.targets.some(({ state }) => state === 'down') && (
                <span class="badge disabled">{t('pools.target_down')}</span>
              )}
            </span>
            <Share keys={pool.keys} />
          </section>
        ))}
      </div>
      {pools.value?.length === 0 && <div class="empty">{t('pools.none')}</div>}
    </>
  )
}
