/** The pools there are, kept up to date: every page chooses among them. */
import { signal } from '@preact/signals'
import { get } from '../api/client'
import { on } from '../api/events'
import type { Page, Pool } from '../api/types'

/** `undefined` = not read yet. */
export const pools = signal<Pool[] | undefined>(undefined)

export async function readPools(): Promise<void> {
  const found: Pool[] = []
  let cursor: string | undefined
  do {
    const page = await get<Page<Pool>>('/pools', { limit: 1000, cursor })
    found.push(...page.items)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  pools.value = found
}

/** The pool a page shows: the one asked for, the default one, or the first. */
export function chosen(wanted: string | undefined): string | undefined {
  const known = pools.value ?? []
  const named = known.find(pool => pool.name === wanted) ?? known.find(pool => pool.default)
  return (named ?? known[0])?.name
}

/** Counts as they come; a pool that came or went is read anew. */
export function watchPools(): () => void {
  const read = () => void readPools().catch(() => undefined)
  const stops = [
    on('lost', read),
    on('reload', read),
    on('counters', counters => {
      const known = pools.value
      if (!known) return
      const counts = new Map(counters.pools.map(pool => [pool.name, pool.keys]))
      if (counts.size !== known.length || known.some(pool => !counts.has(pool.name))) {
        read()
        return
      }
      const isNews = (pool: Pool) => JSON.stringify(counts.get(pool.name)) !== JSON.stringify(pool.keys)
      if (known.some(isNews)) {
        pools.value = known.map(pool => ({ ...pool, keys: counts.get(pool.name) ?? pool.keys }))
      }
    }),
  ]
  return () => stops.forEach(stop => stop())
}
