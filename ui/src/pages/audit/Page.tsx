/** Who changed what. */
import { useState } from 'preact/hooks'
import { get } from '../../api/client'
import type { AuditLine } from '../../api/types'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'
import { complain } from '../../state/toasts'

interface Lines {
  items: AuditLine[]
  next_cursor: string | null
}

export function Page() {
  const page = useResource(signal => get<Lines>('/audit', {}, signal), [])
  const [isBusy, setBusy] = useState(false)
  const more = async ({ items, next_cursor }: Lines) => {
    setBusy(true)
    try {
      const older = await get<Lines>('/audit', { cursor: next_cursor ?? undefined })
      page.set({ ...older, items: [...items, ...older.items] })
    } catch (error) {
      complain(error)
    }
    setBusy(false)
  }
  const lines = page.data
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.audit')}</h1>
        <button type="button" class="button" onClick={page.reload}>
          {t('refresh')}
        </button>
      </div>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      <section class="card table-scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th>{t('logs.time')}</th>
              <th>{t('audit.actor')}</th>
              <th>{t('audit.action')}</th>
              <th>{t('audit.subject')}</th>
              <th>{t('details')}</th>
            </tr>
          </thead>
          <tbody>
            {lines?.items.map(line => (
              <tr key={line.id}>
                <td>
                  <Moment at={line.time} />
                </td>
                <td>
                  <bdi>{line.actor}</bdi>
                  <div class="muted small mono">{line.address}</div>
                </td>
                <td>{line.action}</td>
                <td>
                  <bdi>{line.subject}</bdi>
                </td>
                <td class="mono">{JSON.stringify(line.details)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {lines?.next_cursor && (
        <div class="row">
          <button type="button" class="button" disabled={isBusy} onClick={() => void more(lines)}>
            {t('logs.older')}
          </button>
        </div>
      )}
    </>
  )
}
