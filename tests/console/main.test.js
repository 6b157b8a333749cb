import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { demo, launch, open } from './harness.js'

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const PAGES = ['/', '/start', '/keys', '/pools', '/pools/demo', '/why', '/lab', '/logs', '/clients', '/egress', '/settings', '/audit']
let server, browser

before(async () => {
  server = await demo(21180)
  browser = await launch()
})
after(async () => {
  await browser?.close()
  server?.stop()
})

test('a wrong token is told so in the server’s words', async () => {
  const { page } = await open(browser, { admin: server.admin })
  await page.getByLabel('Admin token').fill('wrong')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByText('no operator has this token').waitFor()
  await page.context().close()
})

test('a key goes to rest and comes back, told live', async () => {
  const { page, complaints, to } = await open(browser, server)
  await to('/keys')
  const row = page.getByRole('row').filter({ hasText: '429-1' })
  await row.getByText('ready').waitFor()
  for (let n = 0; n < 9; n += 1) await server.chat()
  await row.getByText('resting').waitFor()
  await row.getByText(/back in 00:\d\d/).waitFor()
  // The mock's limits are over after half a minute.
  await row.getByText('ready').waitFor({ timeout: 60_000 })
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('ten thousand keys are added, and one of them is found, disabled, and enabled by undo', async () => {
  const { page, complaints, to } = await open(browser, server)
  await to('/keys?add=1')
  const keys = Array.from({ length: 10_000 }, (_, n) => `sk-ok-import-${String(n).padStart(6, '0')}`)
  // A binary file is refused; what is pasted is taken at once, however long.
  await page.locator('input[type=file]').setInputFiles({ name: 'a.png', mimeType: 'image/png', buffer: Buffer.from([137, 80, 0, 1]) })
  await page.getByText('a.png is no text').waitFor()
  await page.getByRole('textbox', { name: 'Keys' }).evaluate((area, text) => {
    const clipboardData = new DataTransfer()
    clipboardData.setData('text/plain', text)
    area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }))
  }, [...keys, keys[0]].join('\n'))
  await page.getByText('10,001 lines, 1 of them repeated').waitFor()
  await page.getByRole('dialog').getByText(/New\s*10,000/).waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Add keys' }).click()
  await page.getByText('Import finished').waitFor({ timeout: 60_000 })
  assert.match(await page.getByRole('dialog').innerText(), /Added\s+10,000/)
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
  await page.getByText('10,009 keys').waitFor()
  assert.ok((await page.getByRole('row').count()) < 100, 'only rows in sight are made')
  await page.locator('.list').evaluate(list => list.scrollTo(0, list.scrollHeight))
  await page.locator('[aria-rowindex="10009"]').getByText('ready').waitFor()

  const last = page.locator('[aria-rowindex="10009"]')
  const name = (await last.locator('.name bdi').innerText()).trim()
  await page.getByRole('searchbox', { name: 'Search' }).fill(name)
  await page.getByText('1 key', { exact: true }).waitFor()
  await page.getByRole('button', { name: `Actions for ${name}` }).click()
  await page.getByRole('menuitem', { name: 'Disable' }).click()
  await page.locator('.list-row').getByText('by an operator').waitFor()
  await page.getByRole('button', { name: 'Undo' }).click()
  await page.locator('.list-row').getByText('ready').waitFor()

  // All that fit, told lot by lot.
  await page.getByRole('searchbox', { name: 'Search' }).fill('')
  await page.getByText('10,009 keys', { exact: true }).waitFor()
  for (const [verb, done] of [['Disable', '10,009 keys disabled.'], ['Enable', '10,009 keys enabled.']]) {
    await page.getByLabel('Choose all that fit').check()
    await page.getByRole('button', { name: verb, exact: true }).click()
    await page.getByText(done).waitFor()
  }
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('a setting is changed, the second of two operators is told, and it is reset', async () => {
  const [first, second] = [await open(browser, server), await open(browser, server)]
  for (const { to } of [first, second]) await to('/pools/demo')
  const field = page => page.getByLabel('retry.attempts', { exact: true })
  const save = page => page.getByRole('button', { name: 'Save' }).click()
  await field(second.page).fill('5')
  await field(first.page).fill('0')
  await save(first.page)
  await first.page.getByRole('alert').first().waitFor()
  await field(first.page).fill('4')
  await save(first.page)
  await first.page.getByText('Saved.').waitFor()
  await save(second.page)
  await second.page.getByText('Changed by somebody else').waitFor()
  assert.equal(await field(second.page).inputValue(), '5', 'nothing typed is lost')
  await first.page.getByRole('button', { name: 'Reset' }).click()
  await first.page.waitForFunction(() => document.querySelector('.setting .quiet') === null)
  assert.equal(await field(first.page).inputValue(), '3')
  for (const { page, complaints } of [first, second]) {
    assert.deepEqual(complaints, [])
    await page.context().close()
  }
})

test('a session that ends in mid-edit loses nothing typed', async () => {
  const { page, to } = await open(browser, server)
  await to('/pools/demo')
  await page.getByLabel('retry.key_attempts').fill('31')
  await page.context().clearCookies()
  await page.getByRole('button', { name: 'Save' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('The session has ended').waitFor()
  // Nothing but a login ends it.
  for (let n = 0; n < 3; n += 1) await page.keyboard.press('Escape')
  await dialog.getByText('The session has ended').waitFor()
  await dialog.getByLabel('Admin token').fill(server.token)
  await dialog.getByRole('button', { name: 'Log in' }).click()
  await page.getByText('Saved.').waitFor()
  assert.equal(await page.getByLabel('retry.key_attempts').inputValue(), '31')
  await page.context().close()
})

for (const [lang, colorScheme, width] of [
  ['en', 'light', 1280],
  ['zh', 'dark', 1280],
  ['zh', 'light', 375],
]) {
  test(`every page: ${lang}, ${colorScheme}, ${width} px; axe finds nothing serious`, async () => {
    const { page, complaints, to } = await open(browser, server, { colorScheme, viewport: { width, height: 740 } })
    await page.evaluate(lang => localStorage.setItem('keyweir.lang', lang), lang)
    for (const path of PAGES) {
      await to(path)
      await page.locator('h1').waitFor()
      await page.waitForLoadState('load')
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      assert.ok(wide <= 0, `${path} is ${wide} px too wide`)
      const text = await page.locator('body').innerText()
      assert.doesNotMatch(text, /\b(nav|state|overview|reason)\.[a-z]/, `${path} has words without translation`)
      assert.equal(/[一-鿿]{2}/.test(await page.locator('h1').innerText()), lang === 'zh' && path !== '/pools/demo', path)
      // As a file of the page's own tools: the page's CSP stays as it is.
      const axe = await page.context().newCDPSession(page)
      const source = (await import('node:fs')).readFileSync(AXE, 'utf8')
      await axe.send('Runtime.evaluate', { expression: source })
      const { violations } = await page.evaluate(() => window.axe.run())
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html.slice(0, 160)).slice(0, 3).join(' ')}`)
      assert.deepEqual(told, [], path)
    }
    assert.deepEqual(complaints, [])
    await page.context().close()
  })
}
