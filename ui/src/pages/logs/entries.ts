/** Logged requests, newest first: page by page, and with the tail on as they come. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, isAbort } from '../../api/client'
import { on } from '../../api/events'
import type { LogEntry, LogPage } from '../../api/types'

const PAGE = 100
/** A tail looks for new rows one part in so many of the time: where filters make that slow, less often. */
const SHARE = 20
/** Time until it looks again, though there was no answer (ms). */
const PATIENCE = 30_000
/** Rows a tail keeps: a page that is open all day does not grow. */
const KEPT = 500

export type Query = Record<string, string | undefined>

interface Entries {
  items: LogEntry[]
  /** Cursor of the page behind; `null` = there is none. */
  next: string | null
}

export interface Log {
  entries: Entries | undefined
  error: unknown
  reload: () => void
  more: () => void
}

/** What is new before what is known. */
export function joined(fresh: LogPage, known: Entries): Entries {
  const newest = Number(known.items[0]?.id ?? 0)
  const added = fresh.items.filter(entry => Number(entry.id) > newest)
  // So many came at once that some between are missing: begin anew.
  if (added.length === fresh.items.length && fresh.next_cursor !== null) {
    return { items: fresh.items, next: fresh.next_cursor }
  }
  const items = [...added, ...known.items]
  if (items.length <= KEPT) return { items, next: known.next }
  return { items: items.slice(0, KEPT), next: items[KEPT - 1]?.id ?? null }
}

export function useLog(query: Query, isTail: boolean): Log {
  const [entries, setEntries] = useState<Entries>()
  const [error, setError] = useState<unknown>(null)
  const abort = useRef(new AbortController())
  const read = (cursor: string | undefined, take: (page: LogPage) => void) => {
    const { signal } = abort.current
    get<LogPage>('/logs', { ...query, limit: PAGE, cursor }, signal).then(
      page => {
        if (signal.aborted) return
        setError(null)
        take(page)
      },
      (failure: unknown) => {
        if (!signal.aborted && !isAbort(failure)) setError(failure)
      },
    )
  }
  const reload = () => read(undefined, page => setEntries({ items: page.items, next: page.next_cursor }))
  const values = Object.values(query)
  useEffect(() => {
    abort.current = new AbortController()
    reload()
    const { current } = abort
    return () => current.abort()
  }, values)
  useEffect(() => {
    if (!isTail) return
    let next = 0
    return on('counters', () => {
      const begun = Date.now()
      if (document.hidden || begun < next) return
      next = begun + PATIENCE
      read(undefined, page => {
        next = begun + (Date.now() - begun) * SHARE
        const fresh = { items: page.items, next: page.next_cursor }
        setEntries(known => (known ? joined(page, known) : fresh))
      })
    })
  }, [isTail, ...values])
  const hasFailed = error !== null
  useEffect(() => {
    if (hasFailed) return on('lost', reload)
  }, [hasFailed, ...values])
  const more = () => {
    const { next } = entries ?? {}
    if (!next) return
    read(next, page =>
      setEntries(known =>
        // Asked twice, it is answered twice.
        known?.next === next ? { items: [...known.items, ...page.items], next: page.next_cursor } : known,
      ),
    )
  }
  return { entries, error, reload, more }
}
