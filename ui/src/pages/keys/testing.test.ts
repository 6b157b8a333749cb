import { expect, test } from 'vitest'
import { counted, NOTHING, type TestLine } from './testing'

test('what tests show is counted: outcomes, why, and what became of the keys', () => {
  const keys: TestLine['key'][] = [
    { outcome: 'valid', reason: 'ok', effect: 'returned' },
    { outcome: 'dead', reason: 'unauthorized', effect: 'disabled' },
    { outcome: 'dead', reason: 'forbidden', effect: 'disabled' },
    { outcome: 'unknown', reason: 'unreachable', effect: 'none' },
  ]
  const lines = keys.map((key, at) => ({ done: at + 1, total: 9, key }))
  expect(lines.reduce(counted, NOTHING)).toEqual({
    done: 4,
    total: 9,
    outcomes: { valid: 1, dead: 2, unknown: 1 },
    reasons: { dead: { unauthorized: 1, forbidden: 1 }, unknown: { unreachable: 1 } },
    effects: { returned: 1, disabled: 2, none: 1 },
  })
})
