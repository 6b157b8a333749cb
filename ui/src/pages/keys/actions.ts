/** What is done to keys, one or many. */
import { ApiError, get, isAbort, patch, post, remove as erase } from '../../api/client'
import { stream } from '../../api/ndjson'
import type { BulkReport, Key, KeyTest } from '../../api/types'
import { t, tell } from '../../i18n'
import { complain, say } from '../../state/toasts'
import { type Filter, type Row, type Rows, toRow } from './rows'

export type Verb = 'enable' | 'disable' | 'reset'
export type BulkVerb = Verb | 'remove'

export type Chosen = { ids: string[] } | { filter: Partial<Filter> }

/** How far a job is. */
export interface Progress {
  done: number
  total: number | undefined
}

export const read = (id: string) => get<Key>(`/keys/${id}`)
export const change = (id: string, what: Record<string, unknown>, version: number | null) =>
  patch<Key>(`/keys/${id}`, what, version)
export const removeOne = (id: string) => erase(`/keys/${id}`)
export const restore = (id: string) => post<Key>(`/keys/${id}/restore`)
export const act = (id: string, verb: Verb) => post<Key>(`/keys/${id}/${verb}`)

/** Why a test came out as it did: a reason keys rest for, or what became of the request. */
export function because(word: string): string {
  const reason = tell('reason', word)
  return reason === word ? tell('result', word) : reason
}

/** Asks the provider about a key, tells what it said, and how the key is then. */
export async function test(id: string, name: string): Promise<Key> {
  const { outcome, reason, status } = await post<KeyTest>(`/keys/${id}/test`)
  const why = outcome === 'valid' ? '' : `${because(reason)}${status === null ? '' : ` (${status})`}`
  say(t('done.test', { name, outcome: tell('outcome', outcome), why }))
  return read(id)
}

/** The same, with its row. */
export async function testRow(rows: Rows, row: Row): Promise<void> {
  try {
    rows.change(row.id, toRow(await test(row.id, row.name)))
  } catch (error) {
    complain(error)
  }
}

/** What takes an action back, where that loses nothing: enabling a key forgets what it rests or is disabled for. */
export function opposite(row: Row, verb: Verb): Verb | undefined {
  if (verb === 'disable' && row.state === 'ready') return 'enable'
  return verb === 'enable' && row.reason === 'operator' ? 'disable' : undefined
}

/** The same for several keys, if it is so for each. */
export function oppositeOfAll(rows: (Row | undefined)[], verb: Verb): Verb | undefined {
  const [first, ...others] = rows.map(row => row && opposite(row, verb))
  return others.every(back => back === first) ? first : undefined
}

/** What a key will be. A reset leaves to operators what they disabled. */
function expected(row: Row, verb: Verb): Row {
  if (verb === 'disable') return { ...row, state: 'disabled', reason: 'operator', backAt: null }
  if (verb === 'reset' && row.reason === 'operator') return row
  return { ...row, state: 'ready', reason: null, backAt: null }
}

/** Shows the outcome at once, and takes it back if the server refuses. */
export async function actOnRow(rows: Rows, row: Row, verb: Verb): Promise<void> {
  rows.change(row.id, expected(row, verb))
  try {
    const now = toRow(await act(row.id, verb))
    rows.change(row.id, now)
    const back = opposite(row, verb)
    say(t(`done.${verb}`, { name: row.name }), back && (() => void actOnRow(rows, now, back)))
  } catch (error) {
    rows.change(row.id, row)
    complain(error)
  }
}

/** Brings keys back that were removed; those that were not are passed over. */
export async function restoreAll(ids: string[]): Promise<void> {
  for (const id of ids) {
    await restore(id).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    })
  }
}

type Line = BulkReport | { done: number; total: number; changed: number }

/** Does something to many keys, until it is done or cancelled: what was done by then stays. */
export async function bulk(
  pool: string,
  verb: BulkVerb,
  chosen: Chosen,
  signal: AbortSignal,
  tell: (progress: Progress) => void,
): Promise<BulkReport> {
  const path = `/pools/${encodeURIComponent(pool)}/keys/bulk`
  let report: BulkReport = { matched: 0, changed: 0 }
  const take = (line: Line) => {
    if ('done' in line) tell(line)
    report = 'done' in line ? { matched: line.done, changed: line.changed } : line
  }
  try {
    await stream<Line>(path, { body: { action: verb, ...chosen }, signal }, take)
  } catch (error) {
    if (!isAbort(error)) throw error
  }
  return report
}
