/** The last failures of a pool: what the provider said, and what was made of it. */
import type { Failure } from '../../api/types'
import { Moment } from '../../components/Moment'
import { t } from '../../i18n'
import { Words } from './Words'

interface Props {
  failures: Failure[]
  chosen: string | undefined
  choose: (failure: Failure) => void
}

export function Failures({ failures, chosen, choose }: Props) {
  return (
    <div class="table-scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th>{t('logs.time')}</th>
            <th>{t('lab.answer')}</th>
            <th>{t('lab.verdict')}</th>
          </tr>
        </thead>
        <tbody>
          {failures.map(failure => (
            <tr key={failure.id} aria-selected={failure.id === chosen}>
              <td>
                <Moment at={failure.time} />
                <div class="muted small">
                  <bdi>{failure.key}</bdi>
                </div>
              </td>
              <td>
                <button type="button" class="plain" onClick={() => choose(failure)}>
                  <span class="num">{failure.status}</span> {failure.in_band && t('lab.in_band')}{' '}
                  <bdi>{[failure.code, failure.type].filter(Boolean).join(' · ')}</bdi>
                </button>
                <div class="muted small words" title={failure.message}>
                  <bdi>{failure.message}</bdi>
                </div>
              </td>
              <td>
                <Words verdict={failure.verdict} />
                {failure.shadow && (
                  <div class="small">
                    {t('lab.shadow')} <Words verdict={failure.shadow} />
                  </div>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** How often rules that only look would have said something else. */
export function ShadowCounts({ failures }: { failures: Failure[] }) {
  const counts = new Map<string, number>()
  for (const { shadow } of failures) if (shadow) counts.set(shadow.rule, (counts.get(shadow.rule) ?? 0) + 1)
  if (counts.size === 0) return null
  const total = [...counts.values()].reduce((sum, n) => sum + n, 0)
  return (
    <div class="notice">
      {t('lab.shadows', { n: total, of: failures.length })}
      <ul>
        {[...counts].map(([rule, n]) => (
          <li key={rule} class="num">
            <code>{rule}</code> × {n}
          </li>
        ))}
      </ul>
    </div>
  )
}
