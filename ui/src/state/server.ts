/** What the server says of itself: where clients reach its proxy. */
import { get } from '../api/client'
import type { About, Pool } from '../api/types'
import { type Resource, useResource } from './resource'

/** Read once: it takes a restart to change it. */
let known: About | undefined

export const useServer = (): Resource<About> =>
  useResource(async signal => (known ??= await get<About>('/server', {}, signal)), [])

/** Where the proxy is reached from here: a listener on all addresses by the name this page came from. */
export function origin(about: About): string | undefined {
  const place = about.proxy[0]
  if (!place) return undefined
  const isAny = place.address === '0.0.0.0' || place.address === '::'
  const host = place.address.includes(':') ? `[${place.address}]` : place.address
  return `${place.tls ? 'https' : 'http'}://${isAny ? window.location.hostname : host}:${place.port}`
}

/** The base URL clients of a pool are told. */
export function endpoint(about: About | undefined, pool: Pool): string | undefined {
  const at = about && origin(about)
  if (at === undefined) return undefined
  return `${at}${pool.default ? '' : (pool.paths[0] ?? `/${pool.name}`)}/v1`
}
