import { expect, test } from 'vitest'
import { en } from './en'
import { zh } from './zh'

const holes = (text: string) => new Set((text.split('|').at(-1) ?? '').match(/\{\w+\}/g) ?? [])

test('both dictionaries know the same words and fill in the same values', () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort())
  for (const [word, text] of Object.entries(en)) {
    expect(holes(zh[word as keyof typeof en]), word).toEqual(holes(text))
  }
})
