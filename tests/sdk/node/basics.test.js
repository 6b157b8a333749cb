// What every application does: completions, streams, embeddings, models, under every form of the base URL.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ENDLESS, TOKEN, chat, readAll, serve, textOf, waitUntil } from "./fixture.js";

const OTHER = "sk-ok-other";
const server = serve({ good: { keys: ["sk-ok-1", "sk-ok-2"] }, other: { keys: [OTHER] } });

/** Reads until the first content. */
async function begin(stream) {
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    assert(!done, "the stream ended");
    if (textOf(value)) return iterator;
  }
}

test("a completion is the provider's", async () => {
  const { data, response, request_id } = await chat(server.client("good"), { model: "gpt-4o" }).withResponse();
  assert.equal(data.model, "gpt-4o");
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.match(data.choices[0].message.content, /mock of a language model/);
  assert(data.usage.total_tokens > 0);
  assert.equal(response.headers.get("keyweir-pool"), "good");
  assert.equal(response.headers.get("keyweir-attempts"), "1");
  assert.equal(response.headers.get("x-request-id"), request_id);
  assert.match(response.headers.get("x-upstream-request-id"), /^req_/);
});

test("the provider sees a key and nothing of the client", async () => {
  await chat(server.client("good", { organization: "org-secret", project: "proj-secret" }));
  const [seen] = (await server.stats()).last;
  assert.match(seen.key, /^sk-ok-[12]$/);
  assert(!JSON.stringify(seen.headers).includes(TOKEN));
  assert(!JSON.stringify(seen.headers).includes("secret"));
});

test("a stream is complete and in order", async () => {
  const { chunks, text } = await readAll(await chat(server.client("good"), { stream: true }));
  const times = text.trim().split(" ");
  assert.equal(times.length, 20);
  assert.deepEqual(times, [...times].sort());
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
});

test("a stream tells usage if asked", async () => {
  const options = { stream: true, stream_options: { include_usage: true } };
  const { chunks } = await readAll(await chat(server.client("good"), options));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 20);
});

test("content arrives while the provider still sends", async () => {
  const stream = await chat(server.client("good"), { stream: true, ...ENDLESS });
  const iterator = await begin(stream);
  for (let i = 0; i < 5; i++) await iterator.next();
  assert.equal((await server.stats()).streams_open, 1);
  stream.controller.abort();
  // Or it would be counted in the next test.
  await waitUntil(async () => (await server.stats()).streams_open === 0, "the provider's stream is cancelled");
});

test("aborting a stream cancels it at the provider", async () => {
  const stream = await chat(server.client("good"), { stream: true, ...ENDLESS });
  await begin(stream);
  stream.controller.abort();
  await waitUntil(async () => (await server.stats()).streams_cancelled === 1, "the provider's stream is cancelled");
  assert.equal((await server.stats()).streams_open, 0);
});

test("breaking out of a stream cancels it at the provider", async () => {
  for await (const chunk of await chat(server.client("good"), { stream: true, ...ENDLESS })) {
    if (textOf(chunk)) break;
  }
  await waitUntil(async () => (await server.stats()).streams_cancelled === 1, "the provider's stream is cancelled");
});

test("fifty streams at once", async () => {
  const client = server.client("good");
  const read = async () => (await readAll(await chat(client, { stream: true }))).text;
  const texts = await Promise.all(Array.from({ length: 50 }, read));
  for (const text of texts) assert.equal(text.trim().split(" ").length, 20);
  assert.equal((await server.stats()).streams_finished, 50);
});

test("embeddings", async () => {
  const client = server.client("good");
  // Without a format the SDK asks for base64 and decodes it itself.
  const answer = await client.embeddings.create({ model: "m", input: ["one", "two", "three"] });
  assert.deepEqual(answer.data.map((item) => item.index), [0, 1, 2]);
  assert.deepEqual(answer.data[1].embedding.slice(0, 3), [1 / 8, 2 / 8, 3 / 8]);
  const plain = await client.embeddings.create({ model: "m", input: "one", dimensions: 3, encoding_format: "float" });
  assert.deepEqual(plain.data[0].embedding, [0, 1 / 8, 2 / 8]);
});

test("models", async () => {
  const names = [];
  for await (const model of server.client("good").models.list()) names.push(model.id);
  assert(names.includes("gpt-4o-mini"), names.join());
});

for (const [path, pool] of [
  ["/v1", "good"],
  ["", "good"],
  ["/other/v1", "other"],
  ["/other", "other"],
  ["/openai/other/v1", "other"],
  ["/openai/v1", "good"],
]) {
  test(`base URL http://HOST${path}`, async () => {
    const client = server.client(pool, { baseURL: server.url + path });
    await chat(client);
    await client.embeddings.create({ model: "m", input: "x" });
    const { last } = await server.stats();
    assert.deepEqual(last.map((seen) => seen.path), ["/v1/chat/completions", "/v1/embeddings"]);
    assert(last.every((seen) => (seen.key === OTHER) === (pool === "other")));
  });
}
