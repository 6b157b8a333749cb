// Bad keys that the application never notices.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chat, readAll, serve } from "./fixture.js";

// Everything a key can be and one that works. A request has three attempts whose failure is not certainly the key's
// fault, so no more than two such keys (403, 500, an error in a 200, nothing in a 200) come in a row.
const GOOD = "sk-ok-1";
const BAD = ["sk-429-1", "sk-500-1", "sk-403-1", GOOD, "sk-401-1", "sk-err200-1", "sk-quota-1", "sk-401-2", "sk-429-2"];
const onKeys = { blacklist: { on_5xx: "key" } };
const REQUESTS = 50;

const pools = {
  json: { keys: BAD, ...onKeys },
  stream: { keys: [...BAD, "sk-empty-1"], ...onKeys },
  replayed: { keys: ["sk-429-1", "sk-429-2", GOOD] },
  large: { keys: ["sk-early401-1", GOOD] },
  flaky: { keys: ["sk-flaky-2-1"], retry: { attempts: 1 } },
};
const server = serve(pools);

async function assertMostKeysWereBad(pool) {
  const { keys } = await server.stats();
  assert.deepEqual(Object.keys(keys).sort(), [...pools[pool].keys].sort(), "every key was met");
  assert.equal(keys[GOOD].requests, REQUESTS);
}

test("most keys bad, JSON", async () => {
  const client = server.client("json");
  for (let i = 0; i < REQUESTS; i++) {
    const answer = await chat(client);
    assert(answer.choices?.[0].message.content, `request ${i}: ${JSON.stringify(answer)}`);
  }
  await assertMostKeysWereBad("json");
});

test("most keys bad, streams", async () => {
  const client = server.client("stream");
  for (let i = 0; i < REQUESTS; i++) {
    const { chunks, text } = await readAll(await chat(client, { stream: true, mock: { interval_ms: 0 } }));
    assert.equal(text.trim().split(" ").length, 20, `request ${i}: ${JSON.stringify(chunks)}`);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  }
  await assertMostKeysWereBad("stream");
});

async function attempts(pool, content) {
  const request = chat(server.client(pool), { messages: [{ role: "user", content }] });
  const { data, response } = await request.withResponse();
  assert(data.choices[0].message.content);
  return Number(response.headers.get("keyweir-attempts"));
}

test("a large prompt is sent again byte for byte", async () => {
  assert.equal(await attempts("replayed", "ä".repeat(1 << 19)), 3);
  const { last } = await server.stats();
  assert.equal(last.length, 3);
  assert(last[0].body_bytes > 1 << 20);
  assert.equal(new Set(last.map((seen) => seen.body_sha256)).size, 1);
});

test("a prompt close to the limit, refused before it was read", async () => {
  // The default limit is 32 MiB; the rest is for the JSON around.
  assert.equal(await attempts("large", "x".repeat(32 * 1024 * 1024 - 1024)), 2);
});

test("the SDK's own retries come on top", async () => {
  await chat(server.client("flaky", { maxRetries: 2 }));
  assert.equal((await server.stats()).requests, 3);
});
