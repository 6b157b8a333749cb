import { expect, test } from 'vitest'
import type { LogEntry } from '../../api/types'
import { joined } from './entries'

const entries = (...ids: number[]) => ids.map(id => ({ id: String(id) }) as LogEntry)
const ids = ({ items }: { items: LogEntry[] }) => items.map(({ id }) => Number(id))

test('a tail takes what is new and keeps what it has', () => {
  const known = { items: entries(10, 9, 8), next: '8' }
  const after = joined({ items: entries(12, 11, 10), next_cursor: '10' }, known)
  expect(ids(after)).toEqual([12, 11, 10, 9, 8])
  expect(after.next).toBe('8')
})

test('a tail that missed some begins anew, and one that grows forgets its end', () => {
  const known = { items: entries(10, 9), next: '9' }
  expect(ids(joined({ items: entries(300, 299), next_cursor: '299' }, known))).toEqual([300, 299])
  const many = { items: entries(...Array.from({ length: 500 }, (_, n) => 500 - n)), next: null }
  const after = joined({ items: entries(501, 500), next_cursor: '500' }, many)
  expect(after.items.length).toBe(500)
  expect(after.next).toBe('2')
})
