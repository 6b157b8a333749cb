/** The verdict lab: what providers answered last, what was made of it, and what another rule would make of it. */
import { useState } from 'preact/hooks'
import { get } from '../../api/client'
import type { Failure, Page as PageOf } from '../../api/types'
import { PoolSelect } from '../../components/PoolSelect'
import { Problem } from '../../components/Problem'
import { t } from '../../i18n'
import { filter, param } from '../../router'
import { chosen } from '../../state/pools'
import { useResource } from '../../state/resource'
import { Failures, ShadowCounts } from './Failures'
import { Trial } from './Trial'
import { type Draft, EMPTY, draftOf } from './trial'

const MOST = 200

export function Page() {
  const pool = chosen(param('pool'))
  const [draft, setDraft] = useState<Draft>(EMPTY)
  const page = useResource(
    async signal => {
      if (pool === undefined) return undefined
      return get<PageOf<Failure>>(`/pools/${encodeURIComponent(pool)}/failures`, { limit: MOST }, signal)
    },
    [pool],
  )
  const failures = page.data?.items ?? []
  return (
    <>
      <div class="page-head">
        <h1>{t('nav.lab')}</h1>
        <button type="button" class="button" onClick={page.reload}>
          {t('refresh')}
        </button>
      </div>
      <div class="filters">
        <PoolSelect value={pool} set={pool => filter({ pool })} />
      </div>
      {page.error != null && <Problem error={page.error} retry={page.reload} />}
      <div class="split">
        <section class="card stack">
          <h2>{t('lab.failures')}</h2>
          <ShadowCounts failures={failures} />
          {failures.length === 0 ? (
            <div class="empty">{page.data && t('lab.none')}</div>
          ) : (
            <Failures failures={failures} chosen={draft.id} choose={failure => setDraft(draftOf(failure))} />
          )}
        </section>
        <section class="card stack">
          <h2>{t('lab.trial')}</h2>
          <p class="muted">{t('lab.text')}</p>
          {pool !== undefined && <Trial pool={pool} draft={draft} set={setDraft} />}
        </section>
      </div>
    </>
  )
}
