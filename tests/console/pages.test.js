import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { keyweir, launch, mock, open } from './harness.js'

let provider, server, browser

before(async () => {
  provider = await mock(21290)
  server = await keyweir(
    21280,
    `{lab: {targets: [{url: "${provider.url}"}]}}`,
    `lab:\n  - {key: sk-401-dead, name: dead}\n  - {key: sk-ok-good, name: good}\n`,
  )
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
  provider?.stop()
})

test('a client is made, its token told once, limited, used, and revoked', async () => {
  const { page, complaints, to } = await open(browser, server)
  await to('/clients')
  await page.getByRole('button', { name: 'Add a client' }).click()
  const dialog = page.getByRole('dialog')
  const name = '<b>ci</b> \u202eabc'
  await dialog.getByLabel('Name').fill(name)
  await dialog.getByLabel('lab').check()
  await dialog.getByLabel('Requests / min').fill('1')
  await dialog.getByRole('button', { name: 'Create' }).click()
  await page.getByText('shown only this once').waitFor()
  const token = await dialog.locator('pre').innerText()
  assert.match(token, /^kw-/)
  await dialog.getByRole('button', { name: 'I have copied it' }).click()

  const row = page.getByRole('row').filter({ hasText: '<b>ci</b>' })
  await row.getByText('Requests / min: 1').waitFor()
  assert.doesNotMatch(await page.content(), new RegExp(token), 'the token is gone from the page')
  const ask = () => server.chat({ token }).then(({ status }) => status)
  assert.deepEqual([await ask(), await ask()], [200, 429])
  await row.getByText('1 refused').waitFor()

  await row.getByRole('button', { name: `Actions for ${name}` }).click()
  await page.getByRole('menuitem', { name: 'Edit' }).click()
  await dialog.getByLabel('Requests / min').fill('0')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.getByRole('alert').first().waitFor()
  await dialog.getByLabel('Requests / min').fill('')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.waitFor({ state: 'detached' })
  assert.equal(await ask(), 200)

  await row.getByRole('button', { name: `Actions for ${name}` }).click()
  await page.getByRole('menuitem', { name: 'Expire now' }).click()
  await row.getByText('expired').waitFor()
  assert.equal(await ask(), 401)
  await page.getByRole('button', { name: 'Undo' }).click()
  await row.getByText('expired').waitFor({ state: 'detached' })
  assert.equal(await ask(), 200)

  await row.getByRole('button', { name: `Actions for ${name}` }).click()
  await page.getByRole('menuitem', { name: 'Revoke' }).click()
  const revoke = dialog.getByRole('button', { name: 'Revoke' })
  assert.ok(await revoke.isDisabled(), 'what can’t be taken back is typed')
  await dialog.getByRole('textbox').fill(name)
  await revoke.click()
  await row.waitFor({ state: 'detached' })
  assert.equal(await ask(), 401)
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('a failure is looked at, a rule tried on it and on the others, and taken over', async () => {
  for (let n = 0; n < 4; n += 1) await server.chat()
  const { page, complaints, to } = await open(browser, server)
  await to('/lab')
  const failures = page.locator('section').filter({ hasText: 'Last failures' })
  await failures.getByText('disable', { exact: true }).waitFor()
  await failures.getByRole('button', { name: /401/ }).first().click()
  await page.getByRole('button', { name: 'Try on this answer' }).click()
  // The rule that is proposed rests what the pool's own disables.
  const result = page.locator('.notice')
  await result.getByText('my-rule').waitFor()
  await result.getByText('05:00').waitFor()
  await page.getByRole('button', { name: 'Replay the last failures' }).click()
  await page.getByText('Of 1 failures, 1 would be judged otherwise.').waitFor()

  await page.getByLabel('Rule').fill('{"id": "my-rule", "key": "explode", "retry": "none"}')
  await page.getByRole('button', { name: 'Try on this answer' }).click()
  await page.getByRole('alert').getByText('cooldown_model').waitFor()
  await page.getByLabel('Rule').fill('{oops')
  await page.getByRole('button', { name: 'Try on this answer' }).click()
  await page.getByRole('alert').getByText('rule:').waitFor()
  await page.getByLabel('Rule').fill('{"id": "mine", "status": [401], "key": "cooldown", "rest": "5m", "retry": "other_key"}')
  await page.getByRole('button', { name: 'Add to the pool’s rules' }).click()
  await page.getByText('lab judges by it now').waitFor()
  // From now on without a rule of one's own.
  await page.getByLabel('Rule').fill('')
  await page.getByRole('button', { name: 'Try on this answer' }).click()
  await result.getByText('mine').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('requests are filtered, followed as they come, exported, and one’s trail is read', async () => {
  await server.api('POST', '/pools/lab/keys/bulk', { action: 'reset', filter: {} })
  await server.api('PUT', '/pools/lab/settings', { 'rules.list': null })
  const { page, complaints, to } = await open(browser, server)
  await to('/logs?model=followed')
  await page.getByText('No request fits').waitFor()
  await page.getByLabel('Live').check()
  await server.chat({ model: 'followed' })
  const row = page.locator('tbody tr').first()
  await row.getByText('followed').waitFor()
  await row.getByText('good').waitFor()
  for (let n = 0; n < 3; n += 1) await server.chat({ model: 'followed' })
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 4)

  await page.locator('tbody tr').last().getByRole('button').click()
  const dialog = page.getByRole('dialog')
  const [first, second] = [dialog.locator('.trail li').nth(0), dialog.locator('.trail li').nth(1)]
  await first.getByRole('link', { name: 'dead' }).waitFor()
  await first.getByText('401').waitFor()
  await first.locator('code').waitFor()
  // In the provider's words.
  await first.getByText(/invalid_api_key/).waitFor()
  await second.getByRole('link', { name: 'good' }).waitFor()
  await second.getByText('ok', { exact: true }).waitFor()
  await dialog.getByRole('button', { name: 'Close' }).click()

  for (const format of ['CSV', 'JSON']) {
    await page.getByRole('button', { name: 'Export' }).click()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: format }).click()])
    const text = readFileSync(await download.path(), 'utf8')
    const rows = format === 'CSV' ? text.trim().split('\n').slice(1) : JSON.parse(text)
    assert.equal(rows.length, 4, format)
  }
  await page.getByLabel('Outcome').selectOption('exhausted')
  await page.getByText('No request fits').waitFor()
  await page.getByLabel('Status').fill('nonsense')
  await page.getByRole('alert').getByText('nonsense').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('older requests are loaded page by page', async () => {
  await Promise.all(Array.from({ length: 105 }, () => server.chat({ model: 'paged' })))
  const { page, to } = await open(browser, server)
  await to('/logs?model=paged')
  await page.getByRole('button', { name: 'Load older' }).click()
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 105)
  await page.getByRole('button', { name: 'Load older' }).waitFor({ state: 'detached' })
  await page.context().close()
})

test('a proxy is tested', async () => {
  await server.api('PUT', '/pools/lab/settings', { egress: ['http://127.0.0.1:9'] })
  const { page, complaints, to } = await open(browser, server)
  await to('/egress')
  const card = page.locator('section').filter({ hasText: '127.0.0.1:9' })
  await card.getByRole('button', { name: 'Test' }).click()
  await card.getByRole('status').getByText(/refused/).waitFor()
  await page.getByLabel('Address').fill('gopher://x')
  await page.locator('form').getByRole('button', { name: 'Test' }).click()
  await page.locator('form').getByRole('status').getByText(/socks5/).waitFor()
  await server.api('PUT', '/pools/lab/settings', { egress: null })
  assert.deepEqual(complaints, [])
  await page.context().close()
})
