/** Who changed what. */
import { get } from '../../api/client'
import type { AuditLine } from '../../api/types'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'

export function Page() {
  const page = useResource(signal => get<{ items: AuditLine[] }>('/audit', {}, signal), [])
  return (
    <>
      <h1>{t('nav.audit')}</h1>
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
            {page.data?.items.map(line => (
              <tr key={line.id}>
                <td>
                  <Moment at={line.time} />
                </td>
                <td>
                  <bdi>{line.actor}</bdi>
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
    </>
  )
}
