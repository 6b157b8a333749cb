/** Logged requests in a table. */
import type { LogEntry } from '../../api/types'
import { Moment } from '../../components/Moment'
import { count, millis } from '../../format/number'
import { lang, t, tell } from '../../i18n'

export function Table({ items, open }: { items: LogEntry[]; open: (entry: LogEntry) => void }) {
  return (
    <section class="card table-scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th>{t('logs.time')}</th>
            <th>{t('logs.request')}</th>
            <th>{t('logs.outcome')}</th>
            <th>{t('key')}</th>
            <th class="right">{t('logs.attempts')}</th>
            <th class="right">{t('chart.tokens')}</th>
            <th class="right">{t('logs.duration')}</th>
          </tr>
        </thead>
        <tbody>
          {items.map(entry => (
            <tr key={entry.id}>
              <td>
                <Moment at={entry.time} />
              </td>
              <td>
                <button type="button" class="plain mono" onClick={() => open(entry)}>
                  {entry.request_id.slice(0, 40)}
                </button>{' '}
                <div class="muted small">
                  {entry.pool} · <bdi>{entry.model}</bdi>
                </div>
              </td>
              <td>
                <span class={`badge ${entry.outcome === 'ok' ? 'ready' : 'cooling'}`}>{entry.status}</span>{' '}
                {tell('outcome', entry.outcome)}
              </td>
              <td>
                <bdi>{entry.key ?? '–'}</bdi>
              </td>
              <td class="right num">{entry.attempts}</td>
              <td class="right num">
                {entry.tokens_in === null
                  ? '–'
                  : count(entry.tokens_in + (entry.tokens_out ?? 0), lang.value)}
              </td>
              <td class="right num">{millis(entry.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
