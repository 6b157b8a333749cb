/** A client token as a form holds it, and as the server takes it. */
import type { Token } from '../../api/types'

export const LIMITS = ['rpm', 'tpm', 'rpd', 'concurrency'] as const
type Limit = (typeof LIMITS)[number]

export interface Draft extends Record<Limit, string> {
  name: string
  pools: string[]
  models: string
  /** As `<input type="datetime-local">` has it, in the browser's zone. */
  expires: string
  budget: string
  per: 'day' | 'month'
  reveal_key: boolean
}

const whole = (value: number | null | undefined) => (value == null ? '' : String(value))

/** `2027-01-01T08:00`, in the browser's zone. */
export function toLocal(at: string | null): string {
  if (at === null) return ''
  const date = new Date(at)
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

export function draftOf(token: Token | undefined): Draft {
  return {
    name: token?.name ?? '',
    pools: token?.pools ?? [],
    models: (token?.models ?? []).join(', '),
    rpm: whole(token?.rpm),
    tpm: whole(token?.tpm),
    rpd: whole(token?.rpd),
    concurrency: whole(token?.concurrency),
    expires: toLocal(token?.expires ?? null),
    budget: whole(token?.budget?.amount),
    per: token?.budget?.per ?? 'month',
    reveal_key: token?.reveal_key ?? false,
  }
}

/** What is not limited is `null`, which takes back what was said before. */
export function toBody(draft: Draft): Record<string, unknown> {
  // What is no number is the server's to refuse.
  const number = (text: string) =>
    text.trim() === '' ? null : Number.isNaN(Number(text)) ? text : Number(text)
  const models = draft.models.split(/[\s,]+/).filter(Boolean)
  const amount = number(draft.budget)
  return {
    name: draft.name.trim(),
    pools: draft.pools.length ? draft.pools : null,
    models: models.length ? models : null,
    ...Object.fromEntries(LIMITS.map(name => [name, number(draft[name])])),
    expires: draft.expires === '' ? null : new Date(draft.expires).toISOString(),
    budget: amount === null ? null : { amount, per: draft.per },
    reveal_key: draft.reveal_key,
  }
}

/** What was changed, and what takes that back: whatever somebody else changed meanwhile stays. */
export function changes(token: Token, draft: Draft): Record<'there' | 'back', Record<string, unknown>> {
  const [before, after] = [toBody(draftOf(token)), toBody(draft)]
  const names = Object.keys(after).filter(
    name => JSON.stringify(after[name]) !== JSON.stringify(before[name]),
  )
  const of = (body: Record<string, unknown>) => Object.fromEntries(names.map(name => [name, body[name]]))
  // A form knows an end by the minute only.
  return { there: of(after), back: of({ ...before, expires: token.expires }) }
}

/** What is said, without what is not: a new token takes nothing back. */
export function said(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
}
