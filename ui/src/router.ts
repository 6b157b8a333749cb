/**
 * Where in the console one is: a path below `/console/` and its query, in a signal.
 *
 * The query holds every filter, so that a view can be sent to somebody as a link.
 */
import { computed, signal } from '@preact/signals'

const BASE = '/console'

interface Place {
  path: string
  query: URLSearchParams
}

function read(): Place {
  const { pathname, search } = window.location
  const path = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : '/'
  return { path: path === '' ? '/' : path, query: new URLSearchParams(search) }
}

export const place = signal<Place>(read())
export const path = computed(() => place.value.path)

window.addEventListener('popstate', () => {
  place.value = read()
})

/** The address of a place. */
export function href(to: string, query: Record<string, string | undefined> = {}): string {
  const pairs = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]))
  const text = new URLSearchParams(pairs).toString()
  return `${BASE}${to}${text ? `?${text}` : ''}`
}

export function go(
  to: string,
  query: Record<string, string | undefined> = {},
  how: 'push' | 'replace' = 'push',
) {
  const address = href(to, query)
  if (how === 'push') window.history.pushState(null, '', address)
  else window.history.replaceState(null, '', address)
  place.value = read()
}

/** Changes filters where one is; no step in the history. */
export function filter(changes: Record<string, string | undefined>) {
  const all = Object.fromEntries(place.value.query)
  go(path.value, { ...all, ...changes }, 'replace')
}

/** A filter's value, in effects and markup. */
export function param(name: string): string | undefined {
  return place.value.query.get(name) ?? undefined
}

/** The rest of the path below a page's own, decoded: `/pools/a%20b` is `a b` below `/pools`. */
export function below(page: string): string | undefined {
  const rest = path.value.startsWith(`${page}/`) ? path.value.slice(page.length + 1) : ''
  if (rest === '') return undefined
  try {
    return decodeURIComponent(rest)
  } catch {
    return undefined
  }
}
