// What goes wrong, as the SDK's exceptions, and how often the SDK then tries again by itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { TOKEN, chat, serve, textOf, waitUntil } from "./fixture.js";

const server = serve({
  good: { keys: ["sk-ok-1"] },
  limited: { keys: ["sk-429-1", "sk-429-2"] },
  short: { keys: ["sk-ok-short"] },
  long: { keys: ["sk-ok-long"] },
  revoked: { keys: ["sk-401-1"] },
  hanging: { keys: ["sk-hang-1"], timeouts: { first_byte: "300ms" } },
  silent: { keys: ["sk-hang-2"] },
  cut: { keys: ["sk-cut-1"] },
});

/** The only key of a pool rests for so long: by the mock's script. */
const limited = (seconds) => ({ mock: { status: 429, headers: { "retry-after": String(seconds) } } });

/** A client that counts what it sends to keyweir, the SDK's own retries too. */
function counting(pool) {
  const sent = { count: 0 };
  const counted = (...request) => {
    sent.count += 1;
    return fetch(...request);
  };
  return [server.client(pool, { maxRetries: 2, fetch: counted }), sent];
}

/** The error of a request that must fail. */
async function failure(promise, kind) {
  const error = await promise.then(() => assert.fail("it succeeded"), (error) => error);
  assert(error instanceof kind, `${error.constructor.name}: ${error}`);
  return error;
}

function assertOurs(error, status, code) {
  assert.deepEqual([error.status, error.code, error.type], [status, code, "keyweir_error"]);
  assert.equal(error.requestID, error.error.request_id);
}

test("a wrong token", async () => {
  const error = await failure(chat(server.client("good", { apiKey: TOKEN + "x" })), OpenAI.AuthenticationError);
  assertOurs(error, 401, "unauthorized");
  assert.equal((await server.stats()).requests, 0);
});

test("a route that is not served", async () => {
  assertOurs(await failure(server.client("good").files.list(), OpenAI.PermissionDeniedError), 403, "route_denied");
});

test("a path nobody owns", async () => {
  const client = server.client("good", { baseURL: `${server.url}/nobody/v1` });
  assertOurs(await failure(chat(client), OpenAI.NotFoundError), 404, "unknown_path");
});

test("the provider's own 400 and 404", async () => {
  const client = server.client("good");
  const own = { message: "max_tokens is too large", type: "invalid_request_error", param: "max_tokens", code: "x" };
  const refused = chat(client, { mock: { status: 400, body: { error: own } } });
  assert.deepEqual((await failure(refused, OpenAI.BadRequestError)).error, own);
  const unknown = await failure(client.moderations.create({ input: "text" }), OpenAI.NotFoundError);
  assert.match(unknown.message, /Invalid URL/);
  await chat(client);
});

test("all keys resting", async () => {
  const error = await failure(chat(server.client("limited")), OpenAI.RateLimitError);
  assertOurs(error, 429, "all_keys_cooling");
  assert(Number(error.headers.get("retry-after")) > 20);
  const { requests } = await server.stats();
  assertOurs(await failure(chat(server.client("limited"), { stream: true }), OpenAI.RateLimitError), 429, "all_keys_cooling");
  assert.equal((await server.stats()).requests, requests, "the pool knows, and the provider is not asked");
});

test("the SDK waits as long as it is told", async () => {
  await failure(chat(server.client("short"), limited(2)), OpenAI.RateLimitError);
  // By its own clock the SDK would have tried, and given up, before the key is back.
  const [client, sent] = counting("short");
  await chat(client);
  assert.equal(sent.count, 2);
});

test("the SDK does not wait for what takes long", async () => {
  await failure(chat(server.client("long"), limited(90)), OpenAI.RateLimitError);
  const [client, sent] = counting("long");
  const error = await failure(chat(client), OpenAI.RateLimitError);
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(sent.count, 1);
});

test("no key left is not tried again", async () => {
  const [client, sent] = counting("revoked");
  const error = await failure(chat(client), OpenAI.InternalServerError);
  assertOurs(error, 503, "no_usable_key");
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(sent.count, 1);
});

test("a provider that never answers", async () => {
  assertOurs(await failure(chat(server.client("hanging")), OpenAI.InternalServerError), 504, "upstream_timeout");
});

test("a client that gives up leaves nothing behind", async () => {
  await failure(chat(server.client("silent", { timeout: 300 })), OpenAI.APIConnectionTimeoutError);
  await waitUntil(async () => (await server.stats()).waits_cancelled === 1, "the provider's request is cancelled");
});

for (const [name, pool, options] of [
  ["cut", "cut", {}],
  ["reset", "good", { mock: { die_after: 5 } }],
]) {
  test(`a stream whose connection is ${name} is an error`, async () => {
    const chunks = [];
    const read = async () => {
      for await (const chunk of await chat(server.client(pool), { stream: true, ...options })) chunks.push(chunk);
    };
    const error = await failure(read(), OpenAI.APIError);
    assert.deepEqual([error.type, error.code], ["keyweir_error", "upstream_unreachable"]);
    assert(chunks.map(textOf).join(""), "content came before the break");
    assert(chunks.every((chunk) => chunk.choices[0].finish_reason === null));
  });
}

test("half a JSON answer is an error", async () => {
  await failure(chat(server.client("cut")), Error);
});
