/** The proxies keys leave by, and how they do. */
import { get } from '../../api/client'
import type { Egress, Page as PageOf } from '../../api/types'
import { Moment } from '../../components/Moment'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'

export function Page() {
  const page = useResource(signal => get<PageOf<Egress>>('/egress', {}, signal), [])
  return (
    <>
      <h1>{t('nav.egress')}</h1>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      {page.data?.items.length === 0 && <div class="empty">{t('egress.none')}</div>}
      {page.data?.items.map(egress => (
        <section key={egress.pool + egress.egress} class="card row spread">
          <span>
            <span class={`badge ${egress.state === 'up' ? 'ready' : 'disabled'}`}>{egress.state}</span>{' '}
            <span class="mono">{egress.egress}</span> <span class="muted">{egress.pool}</span>
          </span>
          <span>
            {egress.error} <Moment at={egress.last_check} />
          </span>
        </section>
      ))}
    </>
  )
}
