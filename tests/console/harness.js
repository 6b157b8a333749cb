// A keyweir with mock keys, and a page of its console that keeps what the browser complained of.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
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

const heard = async url => {
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 50))) {
    if (await fetch(url).then(({ ok }) => ok, () => false)) return
  }
  throw new Error(`${url} does not answer`)
}

/** A mock provider; its base URL. */
export async function mock(port) {
  const provider = spawn(process.env.KEYWEIR, ['mock', '--listen', `127.0.0.1:${port}`], { stdio: 'ignore' })
  await heard(`http://127.0.0.1:${port}/mock/stats`)
  return { url: `http://127.0.0.1:${port}/v1`, stop: () => provider.kill('SIGKILL') }
}

export const TOKENS = { admin: 'admin-token-of-the-tests', operator: 'operator-token-of-the-tests', viewer: 'viewer-token-of-the-tests' }
const USERS = ['operator', 'viewer'].map(role => `{name: ${role}, role: ${role}, token: ${TOKENS[role]}}`)

/** A keyweir with these pools (YAML) on `port` and the two after it; it can be stopped and started anew. */
export async function keyweir(port, pools, keys = '') {
  const folder = mkdtempSync(join(tmpdir(), 'keyweir-console-'))
  const at = n => `127.0.0.1:${port + n}`
  writeFileSync(
    join(folder, 'keyweir.yaml'),
    `server:
  proxy: {listen: ["${at(0)}"]}
  admin: {listen: "${at(1)}", token: ${TOKENS.admin}, users: [${USERS}], plaintext: true}
  metrics: {listen: "${at(2)}"}
  shutdown: {grace: 1s}
store: {url: "sqlite://${folder}/keyweir.db", request_log: all}
clients: {tokens: [{name: tests, token: client-token-of-the-tests}]}
pools: ${pools}
`,
  )
  writeFileSync(join(folder, 'keys.yaml'), keys)
  let child
  const start = async () => {
    child = spawn(process.env.KEYWEIR, ['run', '-c', join(folder, 'keyweir.yaml')], { cwd: folder, stdio: 'ignore' })
    await heard(`http://${at(1)}/livez`)
  }
  const end = () =>
    new Promise(resolve => {
      child.once('exit', resolve)
      child.kill('SIGKILL')
    })
  await start()
  const chat = ({ token = 'client-token-of-the-tests', model = 'demo', path = '' } = {}) =>
    fetch(`http://${at(0)}${path}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }),
    })
  const api = async (method, path, body) => {
    const headers = { authorization: `Bearer ${TOKENS.admin}`, 'content-type': 'application/json' }
    const answer = await fetch(`http://${at(1)}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`)
    return answer.status === 204 ? null : answer.json()
  }
  const stop = async () => {
    await end()
    rmSync(folder, { recursive: true })
  }
  return { admin: `http://${at(1)}/`, proxy: `http://${at(0)}`, token: TOKENS.admin, chat, api, start, end, stop, folder, pid: () => child.pid }
}

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] })

/**
 * For all tests of a file: a mock provider, a keyweir with `pools` (YAML, given the provider's base URL) from `port` on, and a
 * browser. `take` is given them before the first test.
 */
export function stage(port, pools, keys, take) {
  let provider, server, browser
  before(async () => {
    provider = await mock(port + 10)
    server = await keyweir(port, pools(provider.url), keys)
    browser = await launch()
    take({ provider, server, browser })
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
    provider?.stop()
  })
}

/**
 * With KEYWEIR_CONSOLE, the console comes from this folder (ui/dist) and not from the binary: what changes there is seen without
 * another `cargo build`.
 */
async function fromFolder(context, folder) {
  await context.route(/\/(console(\/.*)?)?$/, async (route, request) => {
    const name = new URL(request.url()).pathname.replace(/^\/(console\/?)?/, '')
    const isFile = name !== '' && existsSync(join(folder, name))
    if (isFile) return route.fulfill({ path: join(folder, name) })
    const response = await route.fetch()
    return route.fulfill({ response, path: join(folder, 'index.html') })
  })
}

/** A page of its own session; `complaints` are what must be empty at the end. */
export async function open(browser, { admin, token }, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options })
  if (process.env.KEYWEIR_CONSOLE) await fromFolder(context, process.env.KEYWEIR_CONSOLE)
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
    await page.locator('.side').waitFor({ state: 'attached' })
  }
  return { page, complaints, to: path => page.goto(new URL(`console${path}`, admin).href) }
}
