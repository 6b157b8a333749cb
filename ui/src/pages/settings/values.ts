/** Settings as text, as one would write them in the file. */
import type { Setting } from '../../api/types'

/** Texts bare, the rest as JSON, which YAML reads too. */
export function toText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** What reads as JSON is that, everything else the text itself. */
export function fromText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

/** What the server said of a field or of something in it, e.g. `retry.attempts: must be …`. */
export function errorOf(name: string, errors: string[]): string | undefined {
  const starts = [':', '.', '['].map(end => name + end)
  return errors.find(error => starts.some(start => error.startsWith(start) || error.includes(`.${start}`)))
}

/** The words a field may be, where it can be nothing else. */
export function choicesOf({ value, choices }: Setting): string[] {
  if (choices?.length) return choices
  return typeof value === 'boolean' ? ['true', 'false'] : []
}

/** Fields by what they belong to: `retry.attempts` to `retry`; those of no group come first. */
export function grouped<T>(fields: [name: string, field: T][]): [group: string, fields: [string, T][]][] {
  const groups = new Map<string, [string, T][]>([['', []]])
  for (const entry of fields) {
    const at = entry[0].indexOf('.')
    const group = at < 0 ? '' : entry[0].slice(0, at)
    groups.set(group, [...(groups.get(group) ?? []), entry])
  }
  return [...groups].filter(([, entries]) => entries.length > 0)
}
