/** Why there is a key for a model, or none. */
import { get } from '../../api/client'
import type { Explanation } from '../../api/types'
import { Moment } from '../../components/Moment'
import { PoolSelect } from '../../components/PoolSelect'
import { Problem } from '../../components/Problem'
import { Some } from '../../components/Some'
import { Share } from '../../components/Share'
import { StateBadge } from '../../components/StateBadge'
import { Text } from '../../components/inputs'
import { t, tell } from '../../i18n'
import { filter, param } from '../../router'
import { chosen } from '../../state/pools'
import { useResource } from '../../state/resource'

/** Keys that are told one by one. */
const MOST = 500

export function Page() {
  const [pool, model] = [chosen(param('pool')), param('model')]
  const why = useResource(
    async signal => {
      return pool === undefined
        ? undefined
        : get<Explanation>('/explain', { pool, model, limit: MOST }, signal)
    },
    [pool, model],
  )
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.why')}</h1>
        <button type="button" class="button" onClick={why.reload}>
          {t('refresh')}
        </button>
      </div>
      <div class="filters">
        <PoolSelect value={pool} set={pool => filter({ pool })} />
        <Text label={t('model')} class="wide" value={model ?? ''} set={model => filter({ model })} />
      </div>
      {why.error != null && <Problem error={why.error} retry={why.reload} />}
      {why.data && (
        <section class="card stack">
          <Share keys={why.data.keys} />
          <div class="table-scroll" tabIndex={0}>
            <table>
              <thead>
                <tr>
                  <th>{t('key')}</th>
                  <th>{t('keys.state')}</th>
                  <th>{t('why.blocked')}</th>
                  <th>{t('why.probe')}</th>
                </tr>
              </thead>
              <tbody>
                {why.data.items.map(key => (
                  <tr key={key.name}>
                    <td>
                      <bdi>{key.name}</bdi>
                    </td>
                    <td>
                      <StateBadge
                        state={key.state}
                        reason={key.reason}
                        backAt={key.ready_at === null ? null : Date.parse(key.ready_at)}
                      />
                    </td>
                    <td>{key.blocked_by ? tell('blocked', key.blocked_by) : '–'}</td>
                    <td>
                      <Moment at={key.next_probe} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <Some shown={why.data.items.length} of={why.data.total} />
        </section>
      )}
    </>
  )
}
