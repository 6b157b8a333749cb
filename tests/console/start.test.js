import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { open, stage } from './harness.js'

let provider, server, browser

stage(21380, () => '{}', '', all => ({ provider, server, browser } = all))

test('an empty system leads to a request that is answered', async () => {
  const { page, complaints } = await open(browser, server)
  await page.getByRole('heading', { name: 'A new pool' }).waitFor()
  await page.getByText('https://api-inference.modelscope.cn/v1').waitFor()
  await page.getByLabel('Provider').selectOption('generic')
  const next = page.getByRole('button', { name: 'Next: keys' })
  assert.ok(await next.isDisabled(), 'generic lives nowhere')
  await page.getByLabel('Base URL').fill('nonsense')
  await next.click()
  await page.getByRole('alert').waitFor()
  await page.getByLabel('Base URL').fill(provider.url)
  await page.getByLabel('Name of the pool').fill('first')
  await next.click()

  await page.getByRole('textbox', { name: 'Keys' }).fill('sk-ok-first-0000001\nsk-ok-first-0000002\n')
  await page.getByRole('button', { name: 'Add and test' }).click()
  await page.getByText('2 keys added.').waitFor()
  await page.getByText('2 ready').waitFor()
  await page.getByRole('button', { name: 'Next: first request' }).click()

  await page.getByRole('button', { name: 'Make a client token' }).click()
  await page.getByText('shown only this once').waitFor()
  await page.getByLabel('Model').fill("it's")
  const curl = await page.locator('pre').innerText()
  // As somebody would paste it into a shell.
  const answer = JSON.parse(execFileSync('sh', ['-c', `${curl} --noproxy '*' -s`]))
  assert.equal(answer.model, "it's")
  await page.getByRole('tab', { name: 'List models' }).click()
  await page.locator('pre').getByText('/v1/models').waitFor()
  await page.getByRole('link', { name: 'To the overview' }).click()
  await page.locator('.tile').first().waitFor()

  await page.getByRole('link', { name: 'Pools' }).click()
  await page.getByRole('link', { name: 'first', exact: true }).click()
  await page.locator('pre').getByText(`${server.proxy}/v1`, { exact: true }).waitFor()
  await page.getByRole('tab', { name: 'Python' }).click()
  await page.locator('pre').getByText('from openai import OpenAI').waitFor()
  await page.getByRole('button', { name: 'Remove' }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('first')
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
  await page.getByText('There is no pool yet.').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})
