import { expect, test } from 'vitest'
import type { Token } from '../../api/types'
import { changes, draftOf, said, toBody, toLocal } from './form'

test('what is left empty takes a limit back, and is not said of a new token', () => {
  const draft = { ...draftOf(undefined), name: ' ci ', models: 'qwen*, glm-5', rpm: '60', budget: '5' }
  const body = toBody(draft)
  expect(body).toMatchObject({ name: 'ci', models: ['qwen*', 'glm-5'], rpm: 60, tpm: null, pools: null })
  expect(body.budget).toEqual({ amount: 5, per: 'month' })
  expect(said(body)).toEqual({
    name: 'ci',
    models: ['qwen*', 'glm-5'],
    rpm: 60,
    budget: { amount: 5, per: 'month' },
    reveal_key: false,
  })
})

test('of a token only what was changed is said, and what takes that back', () => {
  const expires = '2027-01-01T12:30:45.000Z'
  const token = { name: 'ci', pools: ['a'], models: [], rpm: 60, tpm: null, expires } as unknown as Token
  const draft = { ...draftOf(token), rpm: '', tpm: '9' }
  expect(changes(token, draft)).toEqual({ there: { rpm: null, tpm: 9 }, back: { rpm: 60, tpm: null } })
  expect(changes(token, { ...draftOf(token), expires: '' })).toEqual({
    there: { expires: null },
    back: { expires },
  })
  expect(toBody({ ...draft, rpm: 'many' }).rpm).toBe('many')
})

test('a moment survives the way through the form to the minute', () => {
  const at = '2027-01-01T12:30:00.000Z'
  expect(new Date(toLocal(at)).toISOString()).toBe(at)
  expect(toLocal(null)).toBe('')
})
