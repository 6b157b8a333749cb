/** What a trial came to. */
import type { Judgement, Replay } from '../../api/types'
import { t } from '../../i18n'
import { Words } from './Words'

export function Judged({ judgement }: { judgement: Judgement }) {
  const { answer } = judgement
  const words = [answer.status, answer.code, answer.type, answer.message].filter(Boolean).join(' · ')
  return (
    <div class="notice stack" role="status">
      {answer.is_error ? <Words verdict={judgement} /> : <span>{t('lab.no_error')}</span>}
      {words && (
        <span class="small">
          {t('lab.read')} <bdi>{words}</bdi>
        </span>
      )}
      {answer.is_error && (
        <span class="muted small">{t(judgement.certain ? 'lab.certain' : 'lab.uncertain')}</span>
      )}
    </div>
  )
}

export function Replayed({ replay }: { replay: Replay }) {
  const changed = replay.items.filter(item => item.changed)
  return (
    <div class="notice stack" role="status">
      <span>{t('lab.replayed', { n: replay.changed, of: replay.replayed })}</span>
      {changed.length > 0 && (
        <div class="table-scroll" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>{t('lab.answer')}</th>
                <th>{t('lab.was')}</th>
                <th>{t('lab.becomes')}</th>
              </tr>
            </thead>
            <tbody>
              {changed.map(item => (
                <tr key={item.id}>
                  <td>
                    {item.status} <bdi>{item.code || item.type || item.message}</bdi>
                  </td>
                  <td>
                    <Words verdict={item.was} />
                  </td>
                  <td>
                    <Words verdict={item.becomes} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}
