/** Many keys tested, and what that shows, counted as it goes. */
import { stream } from '../../api/ndjson'
import type { KeyTest } from '../../api/types'
import type { Chosen } from './actions'

type Counts = Record<string, number>

export interface Tally {
  done: number
  /** `undefined` = not told yet. */
  total: number | undefined
  /** How many turned out to be what. */
  outcomes: Counts
  /** Why those that don't work don't, by outcome and reason. */
  reasons: Record<string, Counts>
  /** What became of how many. */
  effects: Counts
}

export interface TestLine {
  done: number
  total: number
  key: Pick<KeyTest, 'outcome' | 'reason' | 'effect'>
}

export const NOTHING: Tally = { done: 0, total: undefined, outcomes: {}, reasons: {}, effects: {} }

const more = (counts: Counts, word: string) => ({ ...counts, [word]: (counts[word] ?? 0) + 1 })

export function counted(tally: Tally, { done, total, key: { outcome, reason, effect } }: TestLine): Tally {
  const { reasons } = tally
  return {
    done,
    total,
    outcomes: more(tally.outcomes, outcome),
    reasons: outcome === 'valid' ? reasons : { ...reasons, [outcome]: more(reasons[outcome] ?? {}, reason) },
    effects: more(tally.effects, effect),
  }
}

/** Asks the provider about each key; ends when all are done, or aborted. */
export async function testAll(
  pool: string,
  chosen: Chosen,
  signal: AbortSignal,
  tell: (tally: Tally) => void,
): Promise<void> {
  let tally = NOTHING
  const body = { action: 'test', ...chosen }
  const path = `/pools/${encodeURIComponent(pool)}/keys/bulk`
  await stream<TestLine | { changed: number }>(path, { body, signal }, line => {
    if (!('key' in line)) return
    tally = counted(tally, line)
    tell(tally)
  })
}
