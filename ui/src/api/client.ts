/**
 * Requests to the server.
 *
 * A session that ended in the middle of something costs nothing: the request waits until somebody logged in again, and
 * is then sent once more.
 */
import { t } from '../i18n'
import { loginAgain } from '../state/session'

export const API = '/api/v1'

interface ProblemBody {
  code?: string
  detail?: string
  errors?: string[]
}

/** What the server refused, in its words. */
export class ApiError extends Error {
  override name = 'ApiError'

  constructor(
    /** 0 = it could not be reached. */
    readonly status: number,
    readonly code: string,
    message: string,
    /** Each mistake by itself; one about a field begins with the field's path and a colon. */
    readonly errors: string[] = [],
  ) {
    super(message)
  }
}

export interface Options {
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
}

type Query = Record<string, string | number | boolean | undefined>

/** `path` with what is given of `query`. */
export function url(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, String(value)] as [string, string]],
  )
  const text = new URLSearchParams(pairs).toString()
  return text ? `${path}?${text}` : path
}

/** One request, answered well; the body is not read yet. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const response = await once(method, path, options)
  if (response.status === 401 && !path.startsWith('/session')) {
    await loginAgain()
    return send(method, path, options)
  }
  if (!response.ok) throw await refusal(response)
  return response
}

async function once(method: string, path: string, options: Options): Promise<Response> {
  const headers = new Headers(options.headers)
  const init: RequestInit = { method, headers, signal: options.signal ?? null }
  if (options.body instanceof Blob || typeof options.body === 'string') {
    init.body = options.body
  } else if (options.body !== undefined) {
    headers.set('content-type', 'application/json')
    init.body = JSON.stringify(options.body)
  }
  try {
    return await fetch(API + path, init)
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(0, 'unreachable', t('error.unreachable'))
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as ProblemBody
  const message = body.detail ?? `${response.status} ${response.statusText}`
  return new ApiError(response.status, body.code ?? 'unknown', message, body.errors ?? [])
}

export async function ask<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options)
  return (response.status === 204 ? undefined : await response.json()) as T
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return ask<T>('GET', url(path, query), signal ? { signal } : {})
}

export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return ask<T>('POST', path, { body })
}

/** The version that was read, which somebody else may have changed meanwhile; `null` = whatever is there now. */
type Version = number | null

const still = (version: Version): Record<string, string> =>
  version === null ? {} : { 'if-match': `"${version}"` }

export function put<T>(path: string, body: unknown, version: Version): Promise<T> {
  return ask<T>('PUT', path, { body, headers: still(version) })
}

export function patch<T>(path: string, body: unknown, version: Version = null): Promise<T> {
  return ask<T>('PATCH', path, { body, headers: still(version) })
}

export async function remove(path: string): Promise<void> {
  await send('DELETE', path)
}

/** Words for whatever was thrown. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Somebody else changed it since it was read. */
export function isStale(error: unknown): boolean {
  return error instanceof ApiError && error.status === 412
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}
