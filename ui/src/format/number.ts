/** Numbers as people read them. */
import type { Balance } from '../api/types'
import type { Lang } from '../i18n'
import { perLang } from './locale'

const whole = perLang(locale => new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }))
const compact = perLang(
  locale => new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 }),
)

/** `12,345`; from a million on `1.2M`. */
export function count(n: number, lang: Lang): string {
  return (Math.abs(n) >= 1_000_000 ? compact : whole)(lang).format(n)
}

/** `99.5%`; never 100 % while something failed. */
export function percent(share: number): string {
  const value = share * 100
  if (value >= 100) return '100%'
  return `${Math.min(value, 99.99).toFixed(value >= 99 ? 2 : 1)}%`
}

/** `340 ms`, `1.25 s` */
export function millis(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
}

/** `1.5 KiB` */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  let [value, unit] = [n, 0]
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** `12.5 CNY · 3 USD`: what a key has left. */
export function amounts({ amounts }: Balance): string {
  return amounts.map(({ unit, amount }) => `${amount} ${unit}`).join(' · ')
}
