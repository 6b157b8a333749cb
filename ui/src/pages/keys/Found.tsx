/** What tests of keys show, and what became of the keys: also while they go on. */
import { Fragment } from 'preact'
import { count } from '../../format/number'
import { lang, tell } from '../../i18n'
import { because } from './actions'
import type { Tally } from './testing'

const OUTCOMES = ['valid', 'limited', 'dead', 'unknown']
const EFFECTS = ['returned', 'rested', 'disabled']

export function Found({ tally: { outcomes, reasons, effects } }: { tally: Tally }) {
  const n = (value: number | undefined) => count(value ?? 0, lang.value)
  const why = (outcome: string) => {
    const all = Object.entries(reasons[outcome] ?? {})
    return all.map(([reason, times]) => `${because(reason)} ${n(times)}`).join(' · ')
  }
  return (
    <dl class="facts">
      {OUTCOMES.map(outcome => (
        <Fragment key={outcome}>
          <dt>{tell('outcome', outcome)}</dt>
          <dd>
            <span class="num">{n(outcomes[outcome])}</span> <span class="muted small">{why(outcome)}</span>
          </dd>
        </Fragment>
      ))}
      {EFFECTS.map(effect => (
        <Fragment key={effect}>
          <dt>{tell('effect', effect)}</dt>
          <dd class="num">{n(effects[effect])}</dd>
        </Fragment>
      ))}
    </dl>
  )
}
