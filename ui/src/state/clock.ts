/** The time, ticking once a second while anybody can see it. */
import { signal } from '@preact/signals'

export const now = signal(Date.now())

window.setInterval(() => {
  if (!document.hidden) now.value = Date.now()
}, 1000)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) now.value = Date.now()
})
