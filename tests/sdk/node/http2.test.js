// A single HTTP/2 stream given up on a connection that lives on: Python's client sends no reset for one, Node's does.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants } from "node:http2";
import { test } from "node:test";
import { ENDLESS, MESSAGES, MODEL, TOKEN, serve, waitUntil } from "./fixture.js";

const server = serve({ good: { keys: ["sk-ok-1"] } });

/** A stream that has begun. */
async function begin(connection) {
  const stream = connection.request({
    ":method": "POST",
    ":path": "/v1/chat/completions",
    authorization: `Bearer ${TOKEN}`,
    "content-type": "application/json",
  });
  stream.setEncoding("utf8").end(JSON.stringify({ model: MODEL, messages: MESSAGES, stream: true, ...ENDLESS }));
  const [headers] = await once(stream, "response");
  assert.equal(headers[":status"], 200);
  await once(stream, "data");
  return stream;
}

test("one stream given up leaves the others", async () => {
  const connection = connect(server.url);
  const [leaving, staying] = await Promise.all([begin(connection), begin(connection)]);
  leaving.close(constants.NGHTTP2_CANCEL);
  await waitUntil(async () => (await server.stats()).streams_cancelled === 1, "the provider's stream is cancelled");
  for (let i = 0; i < 5; i++) await once(staying, "data");
  assert.equal((await server.stats()).streams_open, 1);
  staying.close(constants.NGHTTP2_CANCEL);
  await waitUntil(async () => (await server.stats()).streams_open === 0, "and so is the other");
  assert(!connection.destroyed);
  connection.close();
});
