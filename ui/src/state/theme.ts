/** Light, dark, or as the system has it. */
import { effect, signal } from '@preact/signals'

export type Theme = 'auto' | 'light' | 'dark'

const STORED = 'keyweir.theme'

function stored(): Theme {
  const value = localStorage.getItem(STORED)
  return value === 'light' || value === 'dark' ? value : 'auto'
}

export const theme = signal<Theme>(stored())

const system = window.matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(system.matches)
system.addEventListener('change', event => {
  systemIsDark.value = event.matches
})

/** What is on the screen; charts draw by it. */
export const isDark = signal(false)

effect(() => {
  localStorage.setItem(STORED, theme.value)
  document.documentElement.dataset.theme = theme.value
  isDark.value = theme.value === 'dark' || (theme.value === 'auto' && systemIsDark.value)
})
