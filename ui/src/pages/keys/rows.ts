/**
 * The keys of a pool that fit a filter: known as far as they have been looked at, page by page.
 *
 * A hundred thousand keys are never all here. Events change the keys that are; whatever else changed is read again with
 * the counters.
 */
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, isAbort } from '../../api/client'
import { on } from '../../api/events'
import type { Key, KeyEvent, Page } from '../../api/types'
import { onNews } from '../../state/news'

export const PAGE = 100

export interface Row extends Key {
  /** Unix milliseconds. */
  backAt: number | null
}

export interface Filter {
  state: string | undefined
  reason: string | undefined
  q: string | undefined
}

export interface Rows {
  total: number | undefined
  error: unknown
  at: (index: number) => Row | undefined
  /** A key that is in sight or near. */
  find: (id: string) => Row | undefined
  see: (from: number, to: number) => void
  change: (id: string, change: Partial<Row>) => void
  reload: () => void
}

export function toRow(key: Key): Row {
  return { ...key, backAt: key.back_in === null ? null : Date.now() + key.back_in * 1000 }
}

function changed(row: Row, event: KeyEvent): Row {
  return { ...row, ...toRow({ ...row, state: event.state, reason: event.reason, back_in: event.back_in }) }
}

export function useRows(pool: string | undefined, filter: Filter): Rows {
  const pages = useRef(new Map<number, Row[]>())
  const seen = useRef({ from: 0, to: PAGE })
  const asked = useRef<{ abort: AbortController; pages: Set<number> }>({
    abort: new AbortController(),
    pages: new Set(),
  })
  const [total, setTotal] = useState<number>()
  const [error, setError] = useState<unknown>(null)
  const [, redraw] = useState({})
  const frame = useRef(0)
  /** Many keys may change at once: what is seen is drawn once for all of them. */
  const redrawSoon = () => {
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0
      redraw({})
    })
  }

  const read = (page: number) => {
    const { abort, pages: reading } = asked.current
    if (pool === undefined || reading.has(page)) return
    reading.add(page)
    const query = { ...filter, limit: PAGE, cursor: page * PAGE }
    get<Page<Key>>(`/pools/${encodeURIComponent(pool)}/keys`, query, abort.signal)
      .then(
        answer => {
          if (abort.signal.aborted) return
          pages.current.set(page, answer.items.map(toRow))
          setTotal(answer.total)
          setError(null)
          redraw({})
        },
        (failure: unknown) => {
          if (!abort.signal.aborted && !isAbort(failure)) setError(failure)
        },
      )
      .finally(() => reading.delete(page))
  }
  const inSight = () => {
    const { from, to } = seen.current
    const [first, last] = [Math.floor(from / PAGE), Math.floor(Math.max(from, to - 1) / PAGE)]
    return Array.from({ length: last - first + 1 }, (_, n) => first + n)
  }
  /** Pages out of sight are forgotten, so that an open console does not grow. */
  const refresh = () => {
    const kept = new Set(inSight())
    for (const page of pages.current.keys()) if (!kept.has(page)) pages.current.delete(page)
    kept.forEach(read)
  }
  const update = (id: string, change: (row: Row) => Row) => {
    for (const [page, rows] of pages.current) {
      const at = rows.findIndex(row => row.id === id)
      const row = rows[at]
      if (!row) continue
      pages.current.set(page, rows.with(at, change(row)))
      redrawSoon()
    }
  }

  useEffect(() => {
    asked.current = { abort: new AbortController(), pages: new Set() }
    pages.current.clear()
    seen.current = { from: 0, to: PAGE }
    read(0)
    const stops = [on('key', event => update(event.id, row => changed(row, event))), onNews(refresh)]
    const { abort } = asked.current
    return () => {
      abort.abort()
      cancelAnimationFrame(frame.current)
      frame.current = 0
      stops.forEach(stop => stop())
    }
  }, [pool, filter.state, filter.reason, filter.q])

  return {
    total,
    error,
    at: index => pages.current.get(Math.floor(index / PAGE))?.[index % PAGE],
    find: id => {
      for (const rows of pages.current.values()) {
        const row = rows.find(row => row.id === id)
        if (row) return row
      }
      return undefined
    },
    see: (from, to) => {
      seen.current = { from, to }
      for (const page of inSight()) if (!pages.current.has(page)) read(page)
    },
    change: (id, change) => update(id, row => ({ ...row, ...change })),
    reload: refresh,
  }
}
