/** Settings as text, as one would write them in the file. */

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

/** What the server said of a field, e.g. `retry.attempts: must be …`. */
export function errorOf(name: string, errors: string[]): string | undefined {
  return errors.find(error => error.includes(`${name}:`))
}
