// The mock provider and keyweir as processes of their own, for the tests of one file.
//
// Both listen on free ports of 127.0.0.1 with their files in a temporary directory, and exactly they are ended with the
// file. A file names its pools; nothing of a pool is shared with another file.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

const KEYWEIR = process.env.KEYWEIR ?? "keyweir";
export const TOKEN = "kw-token-of-the-sdk-tests";
export const MODEL = "gpt-4o-mini";
export const MESSAGES = [{ role: "user", content: "Hello" }];
/** For what should take no time at all: only a hang reaches it. Milliseconds. */
export const DEADLINE = 20_000;
/** A stream that ends only with its client. */
export const ENDLESS = { mock: { events: 100_000, interval_ms: 20 } };

/** A free port below the range that outgoing connections take theirs from. */
async function freePort() {
  for (;;) {
    const probe = createServer();
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      await once(probe.listen(port, "127.0.0.1"), "listening");
    } catch {
      continue;
    }
    await once(probe.close(), "close");
    return port;
  }
}

/** Returns the first true value of `condition`. */
export async function waitUntil(condition, what) {
  const end = Date.now() + DEADLINE;
  while (Date.now() < end) {
    const value = await condition();
    if (value) return value;
    await sleep(20);
  }
  throw new Error(`not within ${DEADLINE} ms: ${what}`);
}

/** Starts a process and waits until `url` answers 200. */
async function start(directory, name, arguments_, url) {
  const path = join(directory, `${name}.out`);
  const output = openSync(path, "w");
  const child = spawn(KEYWEIR, arguments_, { cwd: directory, stdio: ["ignore", output, output] });
  closeSync(output);
  child.on("error", () => {});
  process.once("exit", () => child.kill());
  const isReady = async () => {
    if (child.pid === undefined || child.exitCode !== null) {
      throw new Error(`${KEYWEIR} ${arguments_.join(" ")} ended\n${readFileSync(path)}`);
    }
    return fetch(url).then((answer) => answer.ok, () => false);
  };
  await waitUntil(isReady, `${name} answers`);
  return child;
}

async function end(child) {
  const ended = once(child, "exit");
  child.kill();
  const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
  await ended;
  clearTimeout(timer);
}

/** Serves the pools while the file's tests run. The object returned is filled by then. */
export function serve(pools) {
  const server = {
    stats: async () => (await fetch(`${server.mock}/mock/stats`)).json(),
    /** The SDK's client of a pool; without retries of its own unless asked for. */
    client: (pool, options) =>
      new OpenAI({ baseURL: `${server.url}/${pool}/v1`, apiKey: TOKEN, maxRetries: 0, timeout: DEADLINE, ...options }),
  };
  const directory = mkdtempSync(join(tmpdir(), "keyweir-sdk-"));
  const children = [];

  before(async () => {
    const [mock, proxy, admin, metrics] = await Promise.all(Array.from({ length: 4 }, freePort));
    server.mock = `http://127.0.0.1:${mock}`;
    server.url = `http://127.0.0.1:${proxy}`;
    writeFiles(directory, { pools, mock: server.mock, proxy, admin, metrics });
    children.push(await start(directory, "mock", ["mock", "--listen", `127.0.0.1:${mock}`], `${server.mock}/mock/stats`));
    children.push(await start(directory, "keyweir", ["run"], `http://127.0.0.1:${admin}/readyz`));
  });
  // A test sees only its own requests.
  beforeEach(() => fetch(`${server.mock}/mock/reset`, { method: "POST" }));
  after(async () => {
    await Promise.all(children.map(end));
    rmSync(directory, { recursive: true });
  });
  return server;
}

function writeFiles(directory, { pools, mock, proxy, admin, metrics }) {
  const perPool = (value) => Object.fromEntries(Object.entries(pools).map(([name, pool]) => [name, value(pool)]));
  const config = {
    server: {
      proxy: { listen: [`127.0.0.1:${proxy}`] },
      admin: { listen: `127.0.0.1:${admin}`, token: "kwa-admin-token-of-the-sdk-tests" },
      metrics: { listen: `127.0.0.1:${metrics}` },
      shutdown: { grace: "1s" },
    },
    log: { access: "off" },
    clients: { tokens: [{ name: "sdk", token: TOKEN }] },
    keys_file: "keys.yaml",
    default_pool: Object.keys(pools)[0],
    pools: perPool(({ keys, ...settings }) => ({ targets: [`${mock}/v1`], ...settings })),
  };
  // JSON is YAML.
  writeFileSync(join(directory, "keyweir.yaml"), JSON.stringify(config));
  writeFileSync(join(directory, "keys.yaml"), JSON.stringify(perPool(({ keys }) => keys)));
}

/** A chat completion, or its stream. */
export const chat = (client, options) => client.chat.completions.create({ model: MODEL, messages: MESSAGES, ...options });

/** The content of a chunk. */
export const textOf = (chunk) => chunk.choices[0]?.delta.content ?? "";

/** A whole stream. */
export async function readAll(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { chunks, text: chunks.map(textOf).join("") };
}
