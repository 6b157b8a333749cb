/** What the provider said to a key last, and the rule that judged it. */
import { get } from '../../api/client'
import type { Failure, Key, Page } from '../../api/types'
import { Link } from '../../components/Link'
import { Moment } from '../../components/Moment'
import { t } from '../../i18n'
import { useResource } from '../../state/resource'
import { Words } from '../lab/Words'

const MOST = 1000

async function lastOf(pool: string, key: string, signal: AbortSignal): Promise<Failure | undefined> {
  const path = `/pools/${encodeURIComponent(pool)}/failures`
  const page = await get<Page<Failure>>(path, { limit: MOST }, signal)
  return page.items.find(failure => failure.key === key)
}

export function LastError({ row }: { row: Key }) {
  const { pool, name } = row
  const last = useResource(async signal => pool && lastOf(pool, name, signal), [pool, name, row.state])
  if (!last.data) return null
  const { status, code, type, message, time, verdict } = last.data
  return (
    <section class="notice warn stack">
      <div class="row spread">
        <strong>{t('keys.last_error')}</strong>
        <span class="muted small">
          <Moment at={time} />
        </span>
      </div>
      <span>
        <span class="num">{status}</span> <bdi>{[code, type, message].filter(Boolean).join(' · ')}</bdi>
      </span>
      <Words verdict={verdict} />
      <Link to="/lab" query={{ pool }}>
        {t('nav.lab')}
      </Link>
    </section>
  )
}
