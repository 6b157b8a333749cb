import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, stage, TOKENS } from './harness.js'

const ODD = ['<img src=x onerror=alert(1)>', '\u202eevil\u202c', 'مفتاح', "'; DROP TABLE"]
const KEYS = ODD.map((name, n) => `  - {key: sk-ok-odd-00000${n}, name: ${JSON.stringify(name)}, account: ${JSON.stringify(name)}}\n`)
let server, browser

stage(21480, url => `{odd: {targets: [{url: "${url}"}]}}`, `odd:\n${KEYS.join('')}`, all => ({ server, browser } = all))

test('names with markup and right-to-left text are text', async () => {
  const { page, complaints, to } = await open(browser, server)
  page.on('dialog', dialog => complaints.push(`alert ${dialog.message()}`))
  await to('/keys')
  for (const name of ODD) await page.getByRole('button', { name: `Actions for ${name}` }).waitFor()
  assert.equal(await page.locator('img[src="x"]').count(), 0)
  const isolated = await page.locator('.list-row bdi').evaluateAll(all => all.every(one => getComputedStyle(one).unicodeBidi === 'isolate'))
  assert.ok(isolated, 'a name turns nothing around it')
  await page.getByRole('searchbox', { name: 'Search' }).fill('<img')
  await page.getByText('1 key', { exact: true }).waitFor()
  await page.locator('.list-row .name').click()
  await page.getByRole('dialog').getByRole('heading', { name: ODD[0] }).waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
  await to('/why')
  await page.getByRole('cell', { name: ODD[0] }).waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('five megabytes are pasted without the page standing still', async () => {
  const { page, complaints, to } = await open(browser, server)
  await to('/keys?add=1')
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Keys' }).evaluate(area => {
    const lines = Array.from({ length: 160_000 }, (_, n) => `sk-ok-five-megabytes-${String(n).padStart(10, '0')}`)
    lines.push('no key at all, but a sentence', lines[0])
    const clipboardData = new DataTransfer()
    clipboardData.setData('text/plain', lines.join('\n'))
    area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }))
  })
  await dialog.getByText('160,002 lines, 1 of them repeated, 4.9 MiB').waitFor()
  await dialog.getByText(/New\s*160,00\d/).waitFor({ timeout: 60_000 })
  // What was begun can be stopped.
  await dialog.getByRole('button', { name: 'Add keys' }).click()
  await dialog.getByRole('progressbar').waitFor()
  await dialog.getByRole('button', { name: 'Cancel' }).click()
  await dialog.getByText(/Stopped: /).waitFor()
  await dialog.getByRole('button', { name: 'Choose another text' }).click()
  await dialog.getByRole('textbox', { name: 'Keys' }).waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('a binary file that is dropped is refused', async () => {
  const { page, complaints, to } = await open(browser, server)
  await to('/keys?add=1')
  const drop = bytes => page.locator('.drop').evaluate((area, bytes) => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([new Uint8Array(bytes)], 'keys.bin'))
    area.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }))
  }, bytes)
  await drop([0x7f, 0x45, 0x4c, 0x46, 0, 0, 1])
  await page.getByRole('alert').getByText('keys.bin is no text').waitFor()
  // One that misses its place does not take the page's.
  await page.locator('h1').evaluate(heading => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File(['x'], 'x.txt'))
    const event = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true })
    if (heading.dispatchEvent(event)) throw new Error('the browser would open it')
  })
  await drop([...Buffer.from('sk-ok-dropped-0001')])
  await page.getByRole('dialog').getByText(/New\s*1/).waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('a server that comes back is heard again', async () => {
  const { page, to } = await open(browser, server)
  await to('/keys')
  await page.getByRole('button', { name: `Actions for ${ODD[2]}` }).waitFor()
  await server.end()
  await page.getByText('The server is not heard').waitFor()
  await server.start()
  // Sessions are kept in memory: somebody shows the token again, above the page.
  await page.getByRole('dialog').getByText('The session has ended').waitFor()
  await page.getByRole('dialog').getByLabel('Admin token').fill(server.token)
  await page.getByRole('dialog').getByRole('button', { name: 'Log in' }).click()
  await page.getByText('The server is not heard').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: `Actions for ${ODD[2]}` }).waitFor()
  await page.context().close()
})

test('a form that is filled while the session ends, or the server, keeps what was typed', async () => {
  const { page, complaints, to } = await open(browser, server)
  const dialog = page.getByRole('dialog')
  const login = async () => {
    const again = dialog.filter({ hasText: 'The session has ended' })
    await again.getByLabel('Admin token').fill(server.token)
    await again.getByRole('button', { name: 'Log in' }).click()
    await again.waitFor({ state: 'detached' })
  }
  await to('/keys?add=1')
  await dialog.getByRole('textbox', { name: 'Keys' }).fill('sk-ok-kept-while-away-1')
  await dialog.getByText(/New\s*1/).waitFor()
  await page.context().clearCookies()
  await dialog.getByRole('button', { name: 'Add keys' }).click()
  await login()
  await page.getByText('Import finished').waitFor()

  await to('/clients')
  await page.getByRole('button', { name: 'Add a client' }).click()
  await dialog.getByLabel('Name').fill('kept')
  await dialog.getByLabel('Requests / day').fill('77')
  await server.end()
  await page.getByText('The server is not heard').waitFor()
  await server.start()
  await login()
  assert.equal(await dialog.getByLabel('Requests / day').inputValue(), '77')
  await dialog.getByRole('button', { name: 'Create' }).click()
  await page.getByText('shown only this once').waitFor()
  await dialog.getByRole('button', { name: 'I have copied it' }).click()
  await page.getByRole('row').filter({ hasText: 'kept' }).getByText('Requests / day: 77').waitFor()
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('what had not loaded when the server went away is loaded when it is back', async () => {
  const { page, complaints, to } = await open(browser, server)
  const seen = {
    '/keys': () => page.getByRole('button', { name: `Actions for ${ODD[2]}` }),
    '/audit': () => page.getByRole('row').nth(1),
    '/logs': () => page.getByText('No request fits'),
  }
  for (const [path, first] of Object.entries(seen)) {
    // Nothing the page asks for is answered while the server is there.
    let leave
    const gone = new Promise(resolve => (leave = resolve))
    await page.route(/\/api\/v1\/(?!session)/, async route => {
      await gone
      await route.continue()
    })
    await to(path)
    await page.locator('h1').waitFor()
    await server.end()
    leave()
    await page.getByText('The server is not heard').waitFor()
    assert.equal(await first().count(), 0, path)
    await page.unroute(/\/api\/v1\/(?!session)/)
    // Neither does a page come that was never opened before.
    if (path === '/audit') await page.getByRole('link', { name: 'Egress' }).click()
    await server.start()
    await page.getByRole('dialog').getByLabel('Admin token').fill(server.token)
    await page.getByRole('dialog').getByRole('button', { name: 'Log in' }).click()
    if (path === '/audit') {
      await page.getByRole('heading', { name: 'Egress' }).waitFor()
      await page.getByRole('link', { name: 'Audit' }).click()
    }
    await first().waitFor()
    await page.getByText('The server is not heard').waitFor({ state: 'detached' })
    assert.equal(await page.getByRole('alert').count(), 0, path)
  }
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('viewers look, operators act, admins manage', async () => {
  const seen = async role => {
    const { page, complaints, to } = await open(browser, { ...server, token: TOKENS[role] })
    const nav = await page.locator('.side nav a').allInnerTexts()
    const has = async (path, name) => {
      await to(path)
      await page.locator('h1').waitFor()
      await page.locator('.setting, .card, .list, .empty').first().waitFor()
      // Keys come after their pools, and what may be done with them.
      if (path === '/keys') await page.getByRole('button', { name: `Actions for ${ODD[2]}` }).waitFor()
      return (await page.getByRole('button', { name, exact: true }).count()) + (await page.getByRole('link', { name, exact: true }).count()) > 0
    }
    const may = { add: await has('/keys', 'Add keys'), pool: await has('/pools', 'Add a pool'), client: await has('/clients', 'Add a client') }
    await to('/keys')
    await page.getByRole('button', { name: `Actions for ${ODD[2]}` }).click()
    const items = await page.locator('.menu:popover-open [role=menuitem]').allInnerTexts()
    await to('/pools/odd')
    may.set = await page.getByLabel('retry.attempts', { exact: true }).isEnabled()
    await to('/start')
    await page.locator('main .empty, main h1').first().waitFor()
    may.start = (await page.getByText('This page takes the role admin').count()) === 0
    assert.deepEqual(complaints, [], role)
    await page.context().close()
    return { lab: nav.includes('Verdict lab'), items, ...may }
  }
  const none = { add: false, pool: false, client: false, set: false, start: false }
  assert.deepEqual(await seen('viewer'), { lab: false, items: ['Details'], ...none })
  assert.deepEqual(await seen('operator'), { lab: true, items: ['Details', 'Disable', 'Reset', 'Test'], ...none })
  const all = { add: true, pool: true, client: true, set: true, start: true }
  assert.deepEqual(await seen('admin'), { lab: true, items: ['Details', 'Disable', 'Reset', 'Test', 'Remove'], ...all })
})
