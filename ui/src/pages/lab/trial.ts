/** An answer and a rule to try, as the form holds them and as the server takes them. */
import type { Failure } from '../../api/types'

export interface Draft {
  /** Of the failure it began as; what is typed has none. */
  id: string | undefined
  status: string
  model: string
  /** `name: value`, one a line. */
  headers: string
  body: string
  /** JSON; empty = the pool's own rules alone. */
  rule: string
}

export const EMPTY: Draft = { id: undefined, status: '429', model: '', headers: '', body: '', rule: '' }

export function draftOf(failure: Failure): Draft {
  const headers = Object.entries(failure.headers).map(([name, value]) => `${name}: ${value}`)
  return {
    id: failure.id,
    status: String(failure.status),
    model: failure.model,
    headers: headers.join('\n'),
    body: failure.body,
    rule: JSON.stringify(ruleFor(failure), null, 2),
  }
}

/** A rule that fits this failure, to begin with. */
function ruleFor({ status, code, type, message, in_band }: Failure): Record<string, unknown> {
  const [which, word] = code ? ['code', code] : type ? ['type', type] : ['message', message]
  const pattern = word.slice(0, 80).replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return {
    id: 'my-rule',
    status: [in_band ? 'in-band' : status],
    ...(word ? { when: [{ [which]: pattern }] } : {}),
    key: 'cooldown',
    rest: '5m',
    retry: 'other_key',
  }
}

/** A mistake in what was typed, found before anything is sent. */
export class DraftError extends Error {}

export function ruleOf(draft: Draft): Record<string, unknown> | undefined {
  if (draft.rule.trim() === '') return undefined
  try {
    return JSON.parse(draft.rule) as Record<string, unknown>
  } catch (error) {
    throw new DraftError(`rule: ${error instanceof Error ? error.message : ''}`)
  }
}

export function toTrial(pool: string, draft: Draft): Record<string, unknown> {
  const pairs = draft.headers.split('\n').flatMap(line => {
    const at = line.indexOf(':')
    return at < 1 ? [] : [[line.slice(0, at).trim(), line.slice(at + 1).trim()] as const]
  })
  const rule = ruleOf(draft)
  return {
    pool,
    status: Number(draft.status),
    headers: Object.fromEntries(pairs),
    body: draft.body,
    model: draft.model,
    ...(rule ? { rule } : {}),
  }
}
