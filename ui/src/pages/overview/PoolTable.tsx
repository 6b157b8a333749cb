/** The pools, and how each does. */
import type { Stats } from '../../api/types'
import { Link } from '../../components/Link'
import { Share } from '../../components/Share'
import { count, millis, percent } from '../../format/number'
import { lang, t } from '../../i18n'

export function PoolTable({ stats }: { stats: Stats | undefined }) {
  return (
    <section class="card">
      <header>
        <h2>{t('nav.pools')}</h2>
      </header>
      <div class="table-scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th>{t('pool')}</th>
              <th>{t('keys')}</th>
              <th class="right">{t('overview.rate')}</th>
              <th class="right">{t('overview.success')}</th>
              <th class="right">p50</th>
            </tr>
          </thead>
          <tbody>
            {stats?.pools.map(pool => (
              <tr key={pool.name}>
                <td>
                  <Link to={`/pools/${encodeURIComponent(pool.name)}`}>{pool.name}</Link>
                </td>
                <td>
                  <Share keys={pool.keys} />
                </td>
                <td class="right num">{count(Math.round(pool.requests_per_minute), lang.value)}</td>
                <td class="right num">{pool.success_rate == null ? '–' : percent(pool.success_rate)}</td>
                <td class="right num">
                  {pool.duration_seconds.p50 == null ? '–' : millis(pool.duration_seconds.p50 * 1000)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
