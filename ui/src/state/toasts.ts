/** Short messages about what was just done, with a way back where there is one. */
import { signal } from '@preact/signals'
import { ApiError, words } from '../api/client'

export interface Toast {
  id: number
  text: string
  isBad: boolean
  undo?: () => void
}

const SHOWN_MS = 8000

export const toasts = signal<Toast[]>([])
let last = 0

export function dismiss(id: number) {
  toasts.value = toasts.value.filter(toast => toast.id !== id)
}

function show(toast: Omit<Toast, 'id'>, stays = false) {
  last += 1
  const id = last
  toasts.value = [...toasts.value.slice(-3), { ...toast, id }]
  if (!stays) window.setTimeout(() => dismiss(id), SHOWN_MS)
}

export function say(text: string, undo?: () => void) {
  show(undo ? { text, isBad: false, undo } : { text, isBad: false })
}

export function complain(error: unknown) {
  // What went wrong stays until it is read; that the server is away is told elsewhere for as long as it is.
  const isAway = error instanceof ApiError && error.status === 0
  show({ text: words(error), isBad: true }, !isAway)
}
