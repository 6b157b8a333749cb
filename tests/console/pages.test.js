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
