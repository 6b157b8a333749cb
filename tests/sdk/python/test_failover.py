"""Bad keys that the application never notices."""

import asyncio
import hashlib
import json

from fixture import MESSAGES, MODEL, TestCase, text_of

# Everything a key can be and one that works. A request has three attempts whose failure is not certainly the key's
# fault, so no more than two such keys (403, 500, an error in a 200, nothing in a 200) come in a row.
BAD = ["sk-429-1", "sk-500-1", "sk-403-1", "sk-ok-1", "sk-401-1", "sk-err200-1", "sk-quota-1", "sk-401-2", "sk-429-2"]
ON_KEYS = {"blacklist": {"on_5xx": "key"}}
REQUESTS = 50


class Failover(TestCase):
    pools = {
        "good": {"keys": ["sk-ok-1"]},
        "json": {"keys": BAD, **ON_KEYS},
        "stream": {"keys": [*BAD, "sk-empty-1"], **ON_KEYS},
        "empty": {"keys": ["sk-empty-1", "sk-ok-1"]},
        "erring": {"keys": ["sk-err200-1", "sk-ok-1"]},
        "flaky": {"keys": ["sk-flaky-2-1"], "retry": {"attempts": 1}},
        "closing": {"keys": ["sk-close-1", "sk-ok-1"]},
        "hanging": {"keys": ["sk-hang-1", "sk-ok-1"], "timeouts": {"first_byte": "300ms"}},
        "garbage": {"keys": ["sk-garbage-1", "sk-ok-1"]},
        "replayed": {"keys": ["sk-429-1", "sk-429-2", "sk-ok-1"]},
        "large": {"keys": ["sk-early401-1", "sk-ok-1"]},
    }

    def attempts(self, pool, messages=MESSAGES):
        """One completion that must succeed, and how many attempts it took."""
        raw = self.client(pool).chat.completions.with_raw_response.create(model=MODEL, messages=messages)
        self.assertTrue(raw.parse().choices[0].message.content)
        return int(raw.headers["keyweir-attempts"])

    def assert_most_keys_were_bad(self, pool):
        used = self.mock.stats()["keys"]
        self.assertEqual(set(used), set(self.pools[pool]["keys"]), "every key was met")
        self.assertEqual(used["sk-ok-1"]["requests"], REQUESTS)

    def test_most_keys_bad_json(self):
        client = self.client("json")
        for number in range(REQUESTS):
            answer = self.chat(client)
            self.assertTrue(answer.choices and answer.choices[0].message.content, f"request {number}: {answer}")
        self.assert_most_keys_were_bad("json")

    def test_most_keys_bad_streams(self):
        client = self.client("stream")
        for number in range(REQUESTS):
            chunks = list(self.chat(client, stream=True, extra_body={"mock": {"interval_ms": 0}}))
            self.assertEqual(len(text_of(chunks).split()), 20, f"request {number}: {chunks}")
            self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
        self.assert_most_keys_were_bad("stream")

    def test_each_fault_costs_one_attempt(self):
        for pool in ["hanging", "closing", "garbage", "erring"]:
            with self.subTest(pool=pool):
                self.assertEqual(self.attempts(pool), 2)

    def test_streams_without_content_or_with_an_error_first(self):
        for pool in ["empty", "erring"]:
            with self.subTest(pool=pool):
                client = self.client(pool)
                for _ in range(4):
                    chunks = list(self.chat(client, stream=True, extra_body={"mock": {"interval_ms": 0}}))
                    self.assertEqual(len(text_of(chunks).split()), 20)
                self.assertEqual(self.mock.stats()["streams_cancelled"], 0)

    def test_the_sdks_own_retries_come_on_top(self):
        self.assertTrue(self.chat(self.client("flaky", max_retries=2)).choices)
        self.assertEqual(self.mock.requests(), 3)

    def test_a_large_prompt_is_sent_again_byte_for_byte(self):
        prompt = [{"role": "user", "content": "ä" * (1 << 19)}]
        self.assertEqual(self.attempts("replayed", prompt), 3)
        self.assertEqual(len({one["body_sha256"] for one in self.mock.stats()["last"]}), 1)
        self.assertGreater(self.mock.stats()["last"][-1]["body_bytes"], 1 << 20)

    def test_a_prompt_close_to_the_limit_refused_before_it_was_read(self):
        # The default limit is 32 MiB; the rest is for the JSON around.
        content = "x" * (32 * 1024 * 1024 - 1024)
        self.assertEqual(self.attempts("large", [{"role": "user", "content": content}]), 2)
        self.assertGreater(self.mock.stats()["last"][-1]["body_bytes"], len(content))

    def test_a_body_arrives_as_the_sdk_wrote_it(self):
        body = json.dumps({"model": MODEL, "messages": MESSAGES, "seed": 1.0, "note": "\u2028 <&> \\u0041"}).encode()
        self.client().post("/chat/completions", content=body, cast_to=object)
        self.assertEqual(self.mock.stats()["last"][-1]["body_sha256"], hashlib.sha256(body).hexdigest())

    def test_fifty_streams_at_once(self):
        async def one(client):
            stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return text_of([chunk async for chunk in stream])

        async def all_at_once():
            async with self.async_client("good") as client:
                return await asyncio.gather(*(one(client) for _ in range(50)))

        for text in asyncio.run(all_at_once()):
            self.assertEqual(len(text.split()), 20)
            self.assertEqual(text.split(), sorted(text.split()))
        stats = self.mock.stats()
        self.assertEqual((stats["streams_finished"], stats["streams_open"]), (50, 0))
