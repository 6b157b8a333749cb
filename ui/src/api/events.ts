/**
 * What happens on the server, as it happens (`GET /api/v1/events`).
 *
 * A browser takes a broken stream up again by itself, but gives up for good at an answer other than 200, which is what a
 * restarting server or an ended session gives. Then we ask who we are and begin anew.
 */
import { signal } from '@preact/signals'
import { isOver, loginAgain, recall, session } from '../state/session'
import type { Counters, KeyEvent } from './types'

export type Link = 'connecting' | 'live' | 'lost'

interface Events {
  key: KeyEvent
  counters: Counters
  reload: { ok: boolean; message: string }
  mass_refusal: { pool: string; keys: number }
  /** Events were missed: what is shown must be read again, and what could not be read. */
  lost: unknown
}

type Listener = (name: keyof Events, data: unknown) => void

const NAMES: (keyof Events)[] = ['key', 'counters', 'reload', 'mass_refusal', 'lost']
const FIRST_WAIT = 1000
const LONGEST_WAIT = 15_000

export const link = signal<Link>('connecting')

const listeners = new Set<Listener>()
let source: EventSource | undefined
let wait = FIRST_WAIT
/** Something may have happened that was not heard, or asked for and not answered. */
let hasMissed = false

/** Hears of one kind of event until what is returned is called. */
export function on<N extends keyof Events>(name: N, listener: (data: Events[N]) => void): () => void {
  const heard: Listener = (which, data) => {
    if (which === name) listener(data as Events[N])
  }
  listeners.add(heard)
  return () => listeners.delete(heard)
}

function tell(name: keyof Events, data: unknown) {
  for (const listener of listeners) listener(name, data)
}

/** Listens for as long as somebody is logged in. */
export function listen() {
  source?.close()
  const stream = new EventSource('/api/v1/events')
  source = stream
  stream.onopen = () => {
    link.value = 'live'
    wait = FIRST_WAIT
    if (hasMissed) tell('lost', {})
    hasMissed = false
  }
  stream.onerror = () => {
    link.value = 'lost'
    hasMissed = true
    if (stream.readyState === EventSource.CLOSED && stream === source) window.setTimeout(retry, wait)
  }
  for (const name of NAMES) {
    stream.addEventListener(name, event => tell(name, JSON.parse((event as MessageEvent<string>).data)))
  }
}

function retry() {
  wait = Math.min(wait * 2, LONGEST_WAIT)
  recall().then(
    async () => {
      if (isOver.value) await loginAgain()
      if (session.value) listen()
    },
    () => window.setTimeout(retry, wait),
  )
}

export function stopListening() {
  source?.close()
  source = undefined
  hasMissed = false
  link.value = 'connecting'
}
