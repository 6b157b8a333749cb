/** A key's state, why, and when it is back. */
import { tell } from '../i18n'
import type { KeyState } from '../api/types'
import { Countdown } from './Countdown'

interface Props {
  state: KeyState
  reason?: string | null | undefined
  /** Unix milliseconds. */
  backAt?: number | null | undefined
}

export function StateBadge({ state, reason, backAt }: Props) {
  return (
    <span class="row nowrap">
      <span class={`badge ${state}`}>{tell('state', state)}</span>
      {reason && <span class="truncate">{tell('reason', reason)}</span>}
      {backAt != null && state === 'cooling' && <Countdown until={backAt} />}
    </span>
  )
}
