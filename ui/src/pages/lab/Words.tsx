/** A verdict: what becomes of the key, for how long, and who is asked instead. */
import type { Verdict } from '../../api/types'
import { countdown } from '../../format/time'
import { t, tell } from '../../i18n'

const KINDS: Record<string, string> = { disable: 'disabled', keep: 'ready' }

export function Words({ verdict }: { verdict: Verdict }) {
  return (
    <span class="row">
      <span class={`badge ${KINDS[verdict.key] ?? 'cooling'}`}>{tell('verdict', verdict.key)}</span>
      {verdict.scope !== 'key' && <span>{tell('scope', verdict.scope)}</span>}
      {verdict.until !== null && <span class="num">{countdown(verdict.until)}</span>}
      <span class="muted small">{tell('retry', verdict.retry)}</span>
      <code class="muted" title={t('lab.rule')}>
        {verdict.rule}
      </code>
    </span>
  )
}
