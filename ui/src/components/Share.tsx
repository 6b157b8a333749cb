/** Keys by state, as a bar and in words. */
import type { StateCounts } from '../api/types'
import { count } from '../format/number'
import { lang, tell } from '../i18n'

const STATES = ['ready', 'cooling', 'disabled'] as const

export function Share({ keys }: { keys: StateCounts }) {
  const words = STATES.map(state => `${count(keys[state], lang.value)} ${tell('state', state)}`).join(' · ')
  return (
    <div class="stack">
      <div class="share" aria-hidden="true">
        {STATES.map(state => (
          <span key={state} class={state} style={{ flexGrow: String(keys[state]) }} />
        ))}
      </div>
      <span class="small num">{words}</span>
    </div>
  )
}
