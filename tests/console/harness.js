// A keyweir with mock keys, and a page of its console that keeps what the browser complained of.
import { spawn } from 'node:child_process'
import { chromium } from 'playwright-core'

/** `keyweir demo` on free ports; resolves when it has told its tokens. */
export async function demo(base) {
  const server = spawn(process.env.KEYWEIR, ['demo', '--port-base', String(base)], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  const told = new Promise((resolve, reject) => {
    server.on('exit', code => reject(new Error(`the demo ended with ${code}`)))
    server.stdout.on('data', piece => {
      text += piece
      const found = /Client token: (\S+)\s+Admin:\s+(\S+)\s+token: (\S+)/.exec(text)
      if (found) resolve(found)
    })
  })
  const [, client, admin, token] = await told
  const proxy = /curl (http:\/\/[^/]+)\/v1/.exec(text)[1]
  const chat = () =>
    fetch(`${proxy}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${client}`, 'content-type': 'application/json' },
      body: '{"model":"demo","messages":[{"role":"user","content":"Hello"}]}',
    })
  return { admin, token, chat, stop: () => server.kill('SIGKILL') }
}

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] })

/** A page of its own session; `complaints` are what must be empty at the end. */
export async function open(browser, { admin, token }, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const complaints = []
  page.on('pageerror', error => complaints.push(`error: ${error.message}`))
  page.on('console', message => {
    if (/Content Security Policy/.test(message.text())) complaints.push(message.text())
  })
  page.on('request', request => {
    if (!request.url().startsWith(admin) && !/^(data|blob):/.test(request.url())) complaints.push(`asks ${request.url()}`)
  })
  await page.goto(admin)
  if (token) {
    await page.locator('input[type=password]').fill(token)
    await page.locator('form button[type=submit]').click()
    await page.locator('.tile').first().waitFor()
  }
  return { page, complaints, to: path => page.goto(new URL(`console${path}`, admin).href) }
}
