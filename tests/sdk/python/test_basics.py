"""What every application does: completions, streams, embeddings, models, under every form of the base URL."""

import base64
import struct

from fixture import MESSAGES, TOKEN, TestCase, text_of, wait_until

ENDLESS = {"mock": {"events": 100_000, "interval_ms": 20}}


class Basics(TestCase):
    pools = {"good": {"keys": ["sk-ok-1", "sk-ok-2"]}, "other": {"keys": ["sk-ok-other"]}}

    def test_a_completion_is_the_providers(self):
        answer = self.chat(self.client(), model="gpt-4o")
        self.assertEqual(answer.model, "gpt-4o")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertIn("mock of a language model", answer.choices[0].message.content)
        self.assertGreater(answer.usage.total_tokens, 0)

    def test_the_provider_sees_a_key_and_nothing_of_the_client(self):
        client = self.client(organization="org-secret", project="proj-secret")
        self.chat(client, extra_headers={"Cookie": "session=secret", "X-Forwarded-For": "192.0.2.1"})
        seen = self.mock.stats()["last"][-1]
        self.assertIn(seen["key"], self.pools["good"]["keys"])
        for secret in [TOKEN, "secret", "192.0.2.1"]:
            self.assertNotIn(secret, str(seen["headers"]))

    def test_answers_carry_ids_and_attempts(self):
        raw = self.client().chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
        self.assertEqual(raw.headers["keyweir-pool"], "good")
        self.assertEqual(raw.headers["keyweir-attempts"], "1")
        self.assertTrue(raw.headers["x-upstream-request-id"].startswith("req_"))
        self.assertNotIn("openai-organization", raw.headers)
        self.assertEqual(raw.parse()._request_id, raw.headers["x-request-id"])

    def test_keys_take_turns(self):
        client = self.client()
        for _ in range(10):
            self.chat(client)
        used = {key: history["requests"] for key, history in self.mock.stats()["keys"].items()}
        self.assertEqual(used, {"sk-ok-1": 5, "sk-ok-2": 5})

    def test_a_stream_is_complete_and_in_order(self):
        chunks = list(self.chat(self.client(), stream=True))
        times = text_of(chunks).split()
        self.assertEqual(len(times), 20)
        self.assertEqual(times, sorted(times))
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
        self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_a_stream_tells_usage_if_asked(self):
        chunks = list(self.chat(self.client(), stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 20)

    def test_content_arrives_while_the_provider_still_sends(self):
        with self.chat(self.client(), stream=True, extra_body=ENDLESS) as stream:
            contents = (chunk for chunk in stream if text_of([chunk]))
            for _ in range(5):
                next(contents)
            self.assertEqual(self.mock.stats()["streams_open"], 1)

    def test_closing_a_stream_cancels_it_at_the_provider(self):
        stream = self.chat(self.client(), stream=True, extra_body=ENDLESS)
        next(chunk for chunk in stream if text_of([chunk]))
        stream.close()
        wait_until(lambda: self.mock.stats()["streams_cancelled"] == 1, "the provider's stream is cancelled")
        self.assertEqual(self.mock.stats()["streams_open"], 0)

    def test_a_stream_closed_before_its_first_event_is_cancelled_too(self):
        client = self.client()
        with client.chat.completions.with_streaming_response.create(
            model="m", messages=MESSAGES, stream=True, extra_body=ENDLESS
        ) as answer:
            self.assertEqual(answer.headers["x-accel-buffering"], "no")
        wait_until(lambda: self.mock.stats()["streams_cancelled"] == 1, "the provider's stream is cancelled")

    def test_embeddings(self):
        client = self.client()
        # Without a format the SDK asks for base64 and decodes it itself.
        answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two", "three"])
        self.assertEqual([item.index for item in answer.data], [0, 1, 2])
        self.assertEqual(answer.data[1].embedding[:3], [1 / 8, 2 / 8, 3 / 8])
        plain = client.embeddings.create(model="m", input="one", dimensions=3, encoding_format="float")
        self.assertEqual(plain.data[0].embedding, [0, 1 / 8, 2 / 8])
        packed = client.embeddings.create(model="m", input="one", dimensions=2, encoding_format="base64")
        self.assertEqual(struct.unpack("<2f", base64.b64decode(packed.data[0].embedding)), (0, 1 / 8))

    def test_models(self):
        names = [model.id for model in self.client().models.list()]
        self.assertIn("gpt-4o-mini", names)
        self.assertIn("text-embedding-3-small", names)

    def test_every_form_of_the_base_url(self):
        for path, pool in [
            ("/v1", "good"),
            ("/v1/", "good"),
            ("", "good"),
            ("/other/v1", "other"),
            ("/other", "other"),
            ("/openai/other/v1", "other"),
            ("/openai/v1", "good"),
            ("/hf/other/v1", "other"),
        ]:
            with self.subTest(path=path):
                client = self.client(base_url=self.server.url + path)
                self.assertEqual(self.chat(client).choices[0].finish_reason, "stop")
                self.assertTrue(client.embeddings.create(model="m", input="x").data)
                seen = self.mock.stats()["last"][-2:]
                self.assertTrue(all(one["key"] in self.pools[pool]["keys"] for one in seen), seen)
                self.assertEqual([one["path"] for one in seen], ["/v1/chat/completions", "/v1/embeddings"])
