// How fast the console is with many keys: `make console-speed`. The figures are for docs/console.md; nothing fails here.
import { readFileSync } from 'node:fs'
import { keyweir, launch, mock, open } from './harness.js'

const KEYS = Number(process.env.KEYS ?? 100_000)
/** How long memory and CPU are looked at (ms). */
const WATCHED = Number(process.env.SECONDS ?? 60) * 1000
const STROKES = 24
/** Requests a second while the CPU is looked at. */
const RATE = 20
/** Keys that change at once, again and again, while memory is looked at: on most days a few do in an hour. */
const STORM = 200

const provider = await mock(21790)
const keys = Array.from({ length: KEYS }, (_, n) => `  - {key: sk-ok-${String(n).padStart(12, '0')}, name: key-${n}}\n`)
const server = await keyweir(
  21780,
  `{many: {targets: [{url: "${provider.url}"}], probe: {every: 0s}}}`,
  `many:\n${keys.join('')}`,
)
const browser = await launch()
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const show = (what, value) => console.log(`${what.padEnd(60)}${value}`)
const ms = value => `${value.toFixed(0)} ms`
const middle = all => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)]

/** CPU time of the server so far (ms). */
function cpu() {
  const [user, system] = readFileSync(`/proc/${server.pid()}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13)
  return (Number(user) + Number(system)) * 10
}

/** Of one CPU, in percent, while `RATE` requests a second come in. */
async function share() {
  const [from, begun] = [cpu(), Date.now()]
  for (let sent = 0; Date.now() - begun < WATCHED; ) {
    for (; sent < ((Date.now() - begun) * RATE) / 1000; sent += 1) void server.chat().then(answer => answer.arrayBuffer(), () => undefined)
    await sleep(20)
  }
  return ((cpu() - from) / (Date.now() - begun)) * 100
}

async function firstPaint(page) {
  const cold = []
  for (let n = 0; n < 5; n += 1) {
    const cdp = await page.context().newCDPSession(page)
    await cdp.send('Network.clearBrowserCache')
    await page.goto(server.admin)
    const at = await page.evaluate(
      () =>
        new Promise(resolve => {
          const look = () => {
            const told = document.querySelectorAll('.tile .value')[5]?.textContent ?? '–'
            if (/\d/.test(told)) requestAnimationFrame(() => resolve(performance.now()))
            else setTimeout(look, 5)
          }
          look()
        }),
    )
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0)
    cold.push({ paint, at })
  }
  show('overview, cold: first paint (median of 5)', ms(middle(cold.map(({ paint }) => paint))))
  show('overview, cold: numbers of all keys in sight', ms(middle(cold.map(({ at }) => at))))
}

const visit = (page, path) => page.locator(`.side nav a[href="/console${path}"]`).click()

async function strokes(page) {
  await visit(page, '/keys')
  await page.locator('.list-row').first().waitFor()
  const took = []
  for (let n = 0; n < STROKES; n += 1) {
    const wanted = `key-${((n * 7919) % KEYS).toString().padStart(5, '1')}`
    took.push(
      await page.evaluate(
        wanted =>
          new Promise(resolve => {
            const input = document.querySelector('input[type=search]')
            const [status, begun] = [document.querySelector('[data-total]'), performance.now()]
            const before = status.dataset.total
            const done = new MutationObserver(() => {
              const rows = document.querySelectorAll('.list-row .name bdi')
              if (status.dataset.total === before || ![...rows].every(row => row.textContent.includes(wanted))) return
              done.disconnect()
              requestAnimationFrame(() => resolve(performance.now() - begun))
            })
            done.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true })
            input.value = wanted
            input.dispatchEvent(new InputEvent('input', { bubbles: true }))
          }),
        wanted,
      ),
    )
    await page.getByRole('searchbox', { name: 'Search' }).fill('')
    await page.waitForFunction(all => document.querySelector('[data-total]').dataset.total === String(all), KEYS)
  }
  show(`filter keystroke to result, of ${STROKES}: median`, ms(middle(took)))
  show('filter keystroke to result: slowest', ms(Math.max(...took)))
}

async function heap(cdp) {
  await cdp.send('HeapProfiler.collectGarbage')
  return (await cdp.send('Runtime.getHeapUsage')).usedSize / 1024 / 1024
}

/** As on a day: pages are changed, lists scrolled, and requests come in. */
async function use(page, until) {
  while (Date.now() < until) {
    for (const path of ['/keys', '/logs', '/why', '/']) {
      await visit(page, path)
      await sleep(150)
      await server.chat()
      await page.locator('.list').evaluateAll(([list]) => list?.scrollTo(0, Math.random() * list.scrollHeight))
    }
  }
}

/** Keys rest and return all the time; what the heap holds meanwhile, at ten moments. */
async function storm(page, cdp) {
  const { items } = await server.api('GET', `/pools/many/keys?limit=${STORM}`)
  const ids = items.map(({ id }) => id)
  const [held, heard] = [[], await page.evaluate(countEvents)]
  for (let moment = 0; moment < 10; moment += 1) {
    for (const end = Date.now() + WATCHED / 10; Date.now() < end; ) {
      for (const action of ['disable', 'enable']) {
        await server.api('POST', '/pools/many/keys/bulk', { action, ids })
        await server.chat()
        await sleep(100)
      }
    }
    held.push(await heap(cdp))
  }
  const events = (await page.evaluate(() => window.heard)) - heard
  return { events, held }
}

/** A second listener beside the page's own: how many events it would hear. */
function countEvents() {
  window.heard ??= 0
  if (!window.counting) {
    window.counting = new EventSource('/api/v1/events')
    for (const name of ['key', 'counters']) window.counting.addEventListener(name, () => (window.heard += 1))
  }
  return window.heard
}

try {
  const idle = await share()
  const { page } = await open(browser, server)
  await firstPaint(page)
  await strokes(page)
  await visit(page, '/')
  await page.locator('.tile').first().waitFor()
  show(`CPU of the server at ${RATE} requests/s without a console`, `${idle.toFixed(2)} %`)
  show('the same with the overview open', `${(await share()).toFixed(2)} %`)
  const cdp = await page.context().newCDPSession(page)
  await use(page, Date.now() + 10_000)
  const before = await heap(cdp)
  await use(page, Date.now() + WATCHED)
  show(`memory of the page, then after ${WATCHED / 1000} s of use`, `${before.toFixed(1)} MiB, ${(await heap(cdp)).toFixed(1)} MiB`)
  await visit(page, '/keys')
  await page.locator('.list-row').first().waitFor()
  const { events, held } = await storm(page, cdp)
  show(`memory of the keys page, each tenth of ${events} events`, `${held.map(mib => mib.toFixed(1)).join(' ')} MiB`)
} finally {
  await browser.close()
  await server.stop()
  provider.stop()
}
