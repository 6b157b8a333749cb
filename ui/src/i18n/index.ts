/** The console's words, in the language chosen here or else in the browser's. */
import { signal } from '@preact/signals'
import type { en } from './en'

export type Word = keyof typeof en
export type Dictionary = Record<Word, string>
export type Lang = 'en' | 'zh'
type Values = Record<string, string | number>

const STORED = 'keyweir.lang'

export const lang = signal<Lang>('en')
const words = signal<Dictionary | null>(null)

function wanted(): Lang {
  const stored = localStorage.getItem(STORED)
  if (stored === 'en' || stored === 'zh') return stored
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

async function load(which: Lang): Promise<void> {
  words.value = which === 'zh' ? (await import('./zh')).zh : (await import('./en')).en
  lang.value = which
  document.documentElement.lang = which === 'zh' ? 'zh-CN' : 'en'
}

export const loadWords = () => load(wanted())

export async function setLang(which: Lang): Promise<void> {
  localStorage.setItem(STORED, which)
  await load(which)
}

/** `{name}` is filled in; `one|many` chooses by `n`. */
export function fill(text: string, values: Values): string {
  const forms = text.split('|')
  const form = forms.length > 1 && values.n !== 1 ? (forms[1] ?? text) : (forms[0] ?? text)
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

export function t(word: Word, values: Values = {}): string {
  return fill(words.value?.[word] ?? word, values)
}

/** A word of the server's, e.g. a state: translated if it is known, as it is if not. */
export function tell(prefix: string, word: string): string {
  const known = words.value as Record<string, string> | null
  return known?.[`${prefix}.${word}`] ?? word
}
