// Makes the pictures of the console in docs/images, from a server with mock keys: `make screenshots`.
import { keyweir, launch, mock, open } from './harness.js'

const FOLDER = new URL('../../docs/images/', import.meta.url).pathname
/** Time for the charts to have something to show (ms). */
const TRAFFIC = 150_000

const people = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']
const kinds = ['ok', 'ok', 'ok', 'rpm-20', '429', 'ok', 'quota', 'ok', 'flaky-3', 'ok', '401', 'ok']
const key = (pool, n) => {
  const person = people[n % people.length]
  return `  - {key: sk-${kinds[n % kinds.length]}-${pool}-${n}, name: ${person}-${n}, account: ${person}}\n`
}
const keysOf = (pool, count) => `${pool}:\n${Array.from({ length: count }, (_, n) => key(pool, n)).join('')}`

const provider = await mock(21690)
const pool = `{targets: [{url: "${provider.url}"}]`
const server = await keyweir(
  21680,
  `{modelscope: ${pool}, probe: {every: 0s}}, siliconflow: ${pool}, probe: {every: 0s}}}\ndefault_pool: modelscope`,
  keysOf('modelscope', 48) + keysOf('siliconflow', 24),
)
const browser = await launch()

async function traffic() {
  const models = ['Qwen/Qwen3-32B', 'deepseek-ai/DeepSeek-V3.2', 'ZhipuAI/GLM-5']
  for (let n = 0, end = Date.now() + TRAFFIC; Date.now() < end; n += 1) {
    const path = n % 3 === 0 ? '/siliconflow' : ''
    await server.chat({ model: models[n % models.length], path })
    // Busier at some times than at others.
    await new Promise(resolve => setTimeout(resolve, 90 + 60 * Math.sin(n / 40)))
  }
}

async function shoot(name, { path, lang = 'en', colorScheme = 'light', width = 1280, height = 860, ready, act }) {
  const { page, to } = await open(browser, server, { colorScheme, viewport: { width, height }, deviceScaleFactor: 1 })
  await page.evaluate(lang => localStorage.setItem('keyweir.lang', lang), lang)
  await to(path)
  await page.locator(ready).first().waitFor()
  await act?.(page)
  await page.waitForTimeout(500)
  await page.screenshot({ path: `${FOLDER}${name}.png` })
  await page.context().close()
  console.log(name)
}

try {
  const begun = Date.now()
  await traffic()
  const overview = { path: '/', ready: '.chart canvas' }
  await shoot('console-overview', overview)
  await shoot('console-overview-zh', { ...overview, lang: 'zh', colorScheme: 'dark' })
  await shoot('console-keys', { path: '/keys', ready: '.list-row' })
  await shoot('console-phone', { path: '/keys', ready: '.list-row', lang: 'zh', width: 375, height: 740 })
  await shoot('console-lab', {
    path: '/lab',
    height: 1000,
    ready: 'td button',
    act: async page => {
      await page.locator('td button').first().click()
      await page.getByRole('button', { name: 'Try on this answer' }).click()
      await page.locator('form .notice').waitFor()
      await page.evaluate(() => window.scrollTo(0, 0))
    },
  })
  await shoot('console-trail', {
    // At the beginning the bad keys were not known yet.
    path: `/logs?until=${new Date(begun + 10_000).toISOString()}`,
    ready: 'td button',
    act: async page => {
      await page.locator('tr', { has: page.locator('td:nth-child(5)', { hasText: /^[2-9]$/ }) }).first().getByRole('button').click()
      await page.locator('.trail bdi').nth(1).waitFor()
    },
  })
} finally {
  await browser.close()
  await server.stop()
  provider.stop()
}
