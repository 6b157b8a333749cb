import { expect, test } from 'vitest'
import { choicesOf, errorOf, grouped } from './values'

test('what the server said is found at its field, and at no other', () => {
  const errors = ['pools.demo.retry.attempts: must be at least 1', 'reactivate.cron: the hour can’t be read']
  expect(errorOf('retry.attempts', errors)).toBe(errors[0])
  expect(errorOf('reactivate', errors)).toBe(errors[1])
  expect(errorOf('retry.key_attempts', errors)).toBeUndefined()
  expect(errorOf('attempts', ['max_attempts: no'])).toBeUndefined()
})

test('fields stand with those of their group', () => {
  const names = ['enabled', 'retry.attempts', 'select.strategy', 'retry.deadline', 'paths']
  const groups = grouped(names.map(name => [name, 0]))
  expect(groups.map(([group, fields]) => [group, ...fields.map(([name]) => name)])).toEqual([
    ['', 'enabled', 'paths'],
    ['retry', 'retry.attempts', 'retry.deadline'],
    ['select', 'select.strategy'],
  ])
})

test('a yes or no is chosen, a text is written', () => {
  expect(choicesOf({ value: true, origin: 'file' })).toEqual(['true', 'false'])
  expect(choicesOf({ value: 'off', origin: 'file', choices: ['off', 'all'] })).toEqual(['off', 'all'])
  expect(choicesOf({ value: 'https://x', origin: 'file' })).toEqual([])
})
