import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, stage } from './harness.js'

const KEYS = 'paid:\n  - {key: sk-ok-rich, name: rich}\n  - {key: sk-ok-poor, name: poor}\n'
const POOLS = url => `{paid: {provider: openrouter, targets: [{url: "${url}"}], balance: {every: 200ms, minimum: 10}}}`
let provider, server, browser

stage(21580, POOLS, KEYS, all => ({ provider, server, browser } = all))

const say = async what => {
  const { origin } = new URL(provider.url)
  const headers = { 'content-type': 'application/json' }
  const { ok } = await fetch(`${origin}/mock/balance`, { method: 'POST', headers, body: JSON.stringify(what) })
  assert.ok(ok)
}

const told = () => server.api('GET', '/pools/paid/keys?q=rich').then(({ items: [rich] }) => rich.balance)
const until = async is => {
  while (!is(await told())) await new Promise(resolve => setTimeout(resolve, 50))
}

test('what keys have left is told, as is that it is too little, and why it is not known', async () => {
  await say({ amounts: { USD: '12.5' } })
  await say({ key: 'sk-ok-poor', amounts: { USD: 0.25 } })
  await until(balance => balance?.amounts[0]?.amount === 12.5)
  const { page, complaints, to } = await open(browser, server)
  await to('/keys')
  await page.getByRole('columnheader', { name: 'Balance' }).waitFor()
  const row = name => page.locator('.list-row').filter({ hasText: name })
  await row('rich').getByText('12.5 USD', { exact: true }).waitFor()
  await row('poor').getByText('0.25 USD', { exact: true }).waitFor()
  await row('poor').getByText('resting').waitFor()
  await row('poor').getByText('no balance').waitFor()
  // Somebody has paid.
  await say({ key: 'sk-ok-poor', amounts: { USD: 300 } })
  await row('poor').getByText('300 USD', { exact: true }).waitFor()
  await row('poor').getByText('ready').waitFor()

  await say({ key: 'sk-ok-rich', status: 500 })
  await until(balance => balance.error === 'server_error')
  await row('rich').locator('.name').click()
  const fact = page.getByRole('dialog').locator('dt:text-is("Balance") + dd')
  await fact.getByText('12.5 USD').waitFor()
  await fact.locator('time[title]').waitFor()
  await fact.getByText('the provider failed').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})
