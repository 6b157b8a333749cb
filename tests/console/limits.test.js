// What keys may give, what is used of it, and a limit set in the console.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, stage } from './harness.js'

const POOLS = url => `{p: {provider: generic, targets: [{url: "${url}"}]}}`
const KEYS = 'p:\n  - {key: sk-ok-file, name: daily, limits: {rpd: 5, rpm: 3}}\n'
let server, browser

stage(21660, POOLS, KEYS, all => ({ server, browser } = all))

test('a key’s use today is shown against its limits, and limits are set', async () => {
  await server.api('POST', '/pools/p/keys', { key: 'sk-ok-stored', name: 'stored', priority: 1 })
  for (let n = 0; n < 4; n++) assert.equal((await server.chat()).status, 200)
  const { page, complaints, to } = await open(browser, server)
  await to('/keys')
  const row = name => page.locator('.list-row').filter({ hasText: name })
  await row('daily').getByText('3 / 5', { exact: true }).waitFor()
  await row('daily').getByText('own limit').waitFor()
  await row('daily').locator('.name').click()
  const dialog = page.getByRole('dialog')
  const fact = dialog.locator('dt:text-is("Limits") + dd')
  await fact.getByText('Requests / day: 3 / 5').waitFor()
  await fact.getByText('Requests / min: 3 / 3').waitFor()
  assert.equal(await dialog.getByText('Set its limits').count(), 0, 'the file has the last word')
  await dialog.getByRole('button', { name: 'Close' }).first().click()

  await row('stored').locator('.name').click()
  await dialog.getByText('Set its limits').click()
  await dialog.getByLabel('Requests / day').fill('0')
  await dialog.getByRole('button', { name: 'Save' }).first().click()
  await dialog.getByText('limits.rpd: must be a whole number, at least 1').waitFor()
  await dialog.getByLabel('Requests / day').fill('2')
  // Somebody else is quicker: this one is told, keeps what was typed, and may save all the same.
  const { id } = (await server.api('GET', '/pools/p/keys?q=stored')).items[0]
  await server.api('PATCH', `/keys/${id}`, { limits: { rpd: 9, tpd: 1000 } })
  await dialog.getByRole('button', { name: 'Save' }).first().click()
  await dialog.getByText('Somebody else wrote meanwhile: Requests / day 9, Tokens / day 1,000.').waitFor()
  assert.equal(await dialog.getByLabel('Requests / day').inputValue(), '2')
  await dialog.getByRole('button', { name: 'Save' }).first().click()
  await fact.getByText(/^Requests \/ day: \d \/ 2$/).waitFor()
  await dialog.getByLabel('Note').fill('the good one')
  await dialog.getByRole('button', { name: 'Save' }).last().click()
  // No version is stale here: the limits were saved by the same hand.
  const note = async () => (await server.api('GET', `/keys/${id}`)).note
  while ((await note()) !== 'the good one') await new Promise(resolve => setTimeout(resolve, 50))
  await dialog.getByRole('button', { name: 'Close' }).first().click()
  let asked = 0
  while ((await server.chat()).status === 200) asked += 1
  assert.ok(asked <= 2, `${asked} requests`)
  await row('stored').getByText('resting').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})
