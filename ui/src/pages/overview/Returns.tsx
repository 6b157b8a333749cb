/** Which keys are back next. */
import type { Stats } from '../../api/types'
import { Countdown } from '../../components/Countdown'
import { Link } from '../../components/Link'
import { t, tell } from '../../i18n'

export function Returns({ stats }: { stats: Stats | undefined }) {
  const returns = stats?.next_returns ?? []
  return (
    <section class="card">
      <header>
        <h2>{t('overview.returns')}</h2>
      </header>
      {returns.length === 0 ? (
        <p class="empty">{stats ? t('overview.no_returns') : ' '}</p>
      ) : (
        <div class="table-scroll" tabIndex={0}>
          <table>
            <tbody>
              {returns.map(({ id, key, pool, reason, back_at }) => (
                <tr key={id}>
                  <td>
                    <Link to="/keys" query={{ pool, key: id }}>
                      <bdi>{key}</bdi>
                    </Link>{' '}
                    <span class="muted small">{pool}</span>
                  </td>
                  <td>{reason && tell('reason', reason)}</td>
                  <td class="right">{back_at && <Countdown until={Date.parse(back_at)} />}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
