/** Who is logged in, and what that person may do. */
import { computed, signal } from '@preact/signals'
import type { Session } from '../api/types'

export type Role = Session['role']

const RANKS: Role[] = ['viewer', 'operator', 'admin']

/** `undefined` = not asked yet, `null` = nobody. */
export const session = signal<Session | null | undefined>(undefined)
/** The session ended while somebody was at work: the page stays, and asks for the token above it. */
export const isOver = signal(false)

const waiting: (() => void)[] = []

const rank = computed(() => (session.value ? RANKS.indexOf(session.value.role) : -1))

export function may(role: Role): boolean {
  return rank.value >= RANKS.indexOf(role)
}

/** Resolves when somebody has logged in. */
export function loginAgain(): Promise<void> {
  isOver.value = true
  return new Promise(resolve => waiting.push(resolve))
}

export function loggedIn(who: Session) {
  session.value = who
  isOver.value = false
  for (const resolve of waiting.splice(0)) resolve()
}

/** Asks who we are. */
export async function recall(): Promise<void> {
  const response = await fetch('/api/v1/session')
  if (response.ok) loggedIn((await response.json()) as Session)
  else if (session.value) isOver.value = true
  else session.value = null
}

/** `null`, or why not. */
export async function login(token: string): Promise<string | null> {
  const response = await fetch('/api/v1/session', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  })
  const body = (await response.json().catch(() => ({}))) as Session & { detail?: string }
  if (!response.ok) return body.detail ?? `${response.status} ${response.statusText}`
  loggedIn(body)
  return null
}

export async function logout(): Promise<void> {
  await fetch('/api/v1/session', { method: 'DELETE' })
  session.value = null
  isOver.value = false
}
