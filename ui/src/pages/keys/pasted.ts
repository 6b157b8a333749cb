/** A first look at a text with keys; what it means is the server's to say. */
import type { Word } from '../../i18n'

/** Largest file the page takes (bytes). */
const LARGEST = 64 * 1024 * 1024

/** Whether a file is better not read at all. */
export const tooLarge = (size: number) => size > LARGEST

/** Why a file can't be one with keys. */
export function problemOf(text: string): Word | null {
  const head = text.slice(0, 4096)
  return head.includes('\0') || head.includes('\ufffd') ? 'import.binary' : null
}

/** Lines with something on them, and how many of them repeat an earlier one. */
export function summary(text: string): { lines: number; repeated: number } {
  const seen = new Set<string>()
  let lines = 0
  for (const line of text.split('\n')) {
    const bare = line.trim()
    if (bare === '' || bare.startsWith('#')) continue
    lines += 1
    seen.add(bare)
  }
  return { lines, repeated: lines - seen.size }
}
