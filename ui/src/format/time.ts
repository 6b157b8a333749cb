/** Times and spans as people read them. */
import type { Lang } from '../i18n'
import { perLang } from './locale'

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]

const ago = perLang(locale => new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' }))
const clock = perLang(locale => new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'long' }))

/** `3 minutes ago` */
export function relative(at: number, now: number, lang: Lang): string {
  const seconds = Math.round((at - now) / 1000)
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1]
  return ago(lang).format(Math.trunc(seconds / size), unit)
}

/** The exact time, with its zone. */
export function exact(at: number, lang: Lang): string {
  return clock(lang).format(at)
}

/** `00:41`, `1:02:03`, `2d 03:04`: how long until a key is back. */
export function countdown(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds))
  const pad = (n: number) => String(n).padStart(2, '0')
  const [days, hours] = [Math.floor(left / 86_400), Math.floor(left / 3600) % 24]
  const [minutes, rest] = [Math.floor(left / 60) % 60, left % 60]
  if (days > 0) return `${days}d ${pad(hours)}:${pad(minutes)}`
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${pad(minutes)}:${pad(rest)}`
}
