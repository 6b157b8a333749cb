import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, stage } from './harness.js'

const PAGES = ['/', '/start', '/keys', '/pools', '/pools/reach', '/why', '/lab', '/logs', '/clients', '/egress', '/settings', '/audit']
const KEYS = `reach:\n${Array.from({ length: 40 }, (_, n) => `  - {key: sk-ok-reach-${n}, name: key-${n}}\n`).join('')}`
const POOLS = url => `{reach: {targets: [{url: "${url}"}]}}`
let server, browser

stage(21880, POOLS, KEYS, all => ({ server, browser } = all))

/** Tabs on until the focus is there. */
async function reach(page, target) {
  await target.waitFor()
  for (let n = 0; n < 150; n += 1) {
    if (await target.evaluate(element => element === document.activeElement)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`no way by keyboard to ${target}`)
}

test('everything is done without a mouse: a login, a key disabled and back, a setting', async () => {
  const { page, complaints } = await open(browser, { admin: server.admin })
  const press = async (target, key = 'Enter') => {
    await reach(page, target)
    await page.keyboard.press(key)
  }
  await reach(page, page.getByLabel('Admin token'))
  await page.keyboard.type(server.token)
  await page.keyboard.press('Enter')
  await press(page.getByRole('link', { name: 'Keys', exact: true }))
  await reach(page, page.getByRole('searchbox', { name: 'Search' }))
  await page.keyboard.type('key-17')
  await page.getByText('1 key', { exact: true }).waitFor()

  const row = page.locator('.list-row')
  await press(row.locator('.name'))
  await page.getByRole('dialog').getByRole('heading', { name: 'key-17' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.ok(await row.locator('.name').evaluate(element => element === document.activeElement), 'the focus is where it was')

  await press(page.getByRole('button', { name: 'Actions for key-17' }))
  await page.getByRole('menuitem', { name: 'Details' }).waitFor()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await row.getByText('by an operator').waitFor()
  const undo = text => page.locator('.toast').filter({ hasText: text }).getByRole('button', { name: 'Undo' })
  await press(undo('key-17 is disabled'))
  await row.getByText('ready').waitFor()

  await page.evaluate(() => document.activeElement?.blur())
  await press(page.getByRole('link', { name: 'Pools', exact: true }))
  await press(page.getByRole('link', { name: 'reach', exact: true }))
  await reach(page, page.getByLabel('retry.attempts', { exact: true }))
  await page.keyboard.press('Control+a')
  await page.keyboard.type('4')
  await press(page.getByRole('button', { name: 'Save' }))
  await page.getByText('Saved.').waitFor()
  // It was the default before, and is again.
  await press(undo('Saved.'))
  await page.waitForFunction(() => document.querySelector('.setting .quiet') === null)
  assert.equal(await page.getByLabel('retry.attempts', { exact: true }).inputValue(), '3')
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('dialogs fit a phone', async () => {
  await server.chat()
  await server.api('POST', '/pools', { name: 'gone', provider: 'generic', targets: [{ url: 'http://127.0.0.1:9/v1' }] })
  const { page, complaints, to } = await open(browser, server, { viewport: { width: 375, height: 667 } })
  const dialog = page.getByRole('dialog')
  const fits = async (path, ...clicks) => {
    await to(path)
    for (const click of clicks) await click().click()
    await dialog.waitFor()
    const wide = await dialog.evaluate(box => {
      const { left, right } = box.getBoundingClientRect()
      return { left, right, inside: box.scrollWidth - box.clientWidth, page: document.documentElement.scrollWidth - window.innerWidth }
    })
    assert.ok(wide.left >= 0 && wide.right <= 375 && wide.inside <= 0 && wide.page <= 0, `${path} ${JSON.stringify(wide)}`)
  }
  const button = name => () => page.getByRole('button', { name, exact: true })
  const first = selector => () => page.locator(selector).first()
  await fits('/keys?pool=reach&add=1')
  await fits('/keys?pool=reach', first('.list-row .name'))
  await fits('/keys?pool=reach', button('Export'))
  await fits('/keys?pool=reach&q=key-17', first('.list-row input[type=checkbox]'), button('Test'))
  await fits('/keys?pool=reach&q=key-17', first('.list-row input[type=checkbox]'), button('Remove'))
  await fits('/clients', button('Add a client'))
  await fits('/logs', first('tbody button'))
  await fits('/pools/gone', button('Remove'))
  await server.api('DELETE', '/pools/gone')
  assert.deepEqual(complaints, [])
  await page.context().close()
})

test('a phone shows the whole name of a key that rests', async () => {
  const { items } = await server.api('GET', '/pools/reach/keys?q=key-23')
  await server.api('POST', `/keys/${items[0].id}/disable`)
  const { page, to } = await open(browser, server, { viewport: { width: 375, height: 667 } })
  await to('/keys?q=key-23')
  const row = page.locator('.list-row')
  await row.getByText('by an operator').waitFor()
  const isWhole = ['.name', '.row'].map(part => row.locator(part).evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth))
  assert.deepEqual(await Promise.all(isWhole), [true, true])
  await server.api('POST', `/keys/${items[0].id}/enable`)
  await page.context().close()
})

test('nothing jumps while a page fills', async () => {
  const { page, to } = await open(browser, server)
  for (const path of PAGES) {
    await to(path)
    await page.locator('h1').waitFor()
    const moved = await page.evaluate(
      () =>
        new Promise(resolve => {
          const seen = []
          const observer = new PerformanceObserver(list => seen.push(...list.getEntries()))
          observer.observe({ type: 'layout-shift', buffered: true })
          setTimeout(() => resolve(seen.reduce((sum, { value }) => sum + value, 0)), 800)
        }),
    )
    // What counts as good for a page's users.
    assert.ok(moved < 0.1, `${path} moved by ${moved.toFixed(3)}`)
  }
  await page.context().close()
})
