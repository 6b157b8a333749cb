import assert from 'node:assert/strict'
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
