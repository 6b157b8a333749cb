"""HTTP/2 from the client: by ALPN over TLS, and by prior knowledge in the clear."""

import asyncio
import ssl
import subprocess

import openai
from fixture import MESSAGES, MODEL, TestCase, free_port, text_of, wait_until
from httpx2 import AsyncClient, Client

ENDLESS = {"mock": {"events": 100_000, "interval_ms": 20}}


class Http2(TestCase):
    pools = {"good": {"keys": ["sk-ok-1"]}, "replayed": {"keys": ["sk-429-1", "sk-429-2", "sk-ok-1"]}}

    @classmethod
    def listeners(cls):
        """One with TLS and a certificate of its own."""
        cls.certificate, key = cls.directory / "cert.pem", cls.directory / "key.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cls.certificate]
        subprocess.run(command, check=True, capture_output=True)
        cls.address = f"127.0.0.1:{free_port()}"
        return [{"address": cls.address, "tls": {"cert": str(cls.certificate), "key": str(key)}}]

    def transport(self, kind, **options):
        return kind(http2=True, verify=ssl.create_default_context(cafile=self.certificate), **options)

    def over_tls(self, pool="good"):
        return self.client(pool, base_url=f"https://{self.address}/{pool}/v1", http_client=self.transport(Client))

    def test_completions_streams_and_errors_over_tls(self):
        client = self.over_tls()
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        self.assertEqual(raw.http_response.http_version, "HTTP/2")
        self.assertTrue(raw.parse().choices[0].message.content)
        self.assertEqual(len(text_of(self.chat(client, stream=True)).split()), 20)
        with self.assertRaises(openai.AuthenticationError):
            self.chat(client.with_options(api_key="wrong"))

    def test_http1_over_tls(self):
        client = self.client(
            base_url=f"https://{self.address}/v1",
            http_client=Client(verify=ssl.create_default_context(cafile=self.certificate)),
        )
        raw = client.models.with_raw_response.list()
        self.assertEqual(raw.http_response.http_version, "HTTP/1.1")

    def test_prior_knowledge_in_the_clear(self):
        client = self.client(http_client=Client(http1=False, http2=True))
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        self.assertEqual(raw.http_response.http_version, "HTTP/2")
        self.assertEqual(len(text_of(self.chat(client, stream=True)).split()), 20)

    def test_a_large_prompt_is_sent_again(self):
        prompt = [{"role": "user", "content": "x" * (1 << 20)}]
        raw = self.over_tls("replayed").chat.completions.with_raw_response.create(model=MODEL, messages=prompt)
        self.assertEqual((raw.http_response.http_version, raw.headers["keyweir-attempts"]), ("HTTP/2", "3"))
        self.assertEqual(len({one["body_sha256"] for one in self.mock.stats()["last"]}), 1)
        self.assertGreater(self.mock.stats()["last"][-1]["body_bytes"], 1 << 20)

    def test_a_broken_stream_is_an_error(self):
        with self.assertRaises(openai.APIError) as caught:
            for chunk in self.chat(self.over_tls(), stream=True, extra_body={"mock": {"die_after": 5}}):
                self.assertIsNone(chunk.choices[0].finish_reason)
        self.assertEqual(caught.exception.code, "upstream_unreachable")

    def test_fifty_streams_on_one_connection(self):
        async def one(client):
            stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            return text_of([chunk async for chunk in stream])

        async def all_at_once():
            http = self.transport(AsyncClient)
            url = f"https://{self.address}/v1"
            async with self.async_client(base_url=url, http_client=http) as client:
                await client.models.list()
                texts = await asyncio.gather(*(one(client) for _ in range(50)))
                # The pool of a transport is httpx's own business, yet nothing else tells.
                return texts, len(http._transport._pool.connections)

        texts, connections = asyncio.run(all_at_once())
        self.assertEqual([len(text.split()) for text in texts], [20] * 50)
        self.assertEqual(connections, 1)

    def test_closing_the_connection_cancels_all_its_streams(self):
        # httpx sends no reset for a single stream; node/http2.test.js does.
        client = self.over_tls()
        for _ in range(3):
            next(self.chat(client, stream=True, extra_body=ENDLESS))
        self.assertEqual(self.mock.stats()["streams_open"], 3)
        client.close()
        wait_until(lambda: self.mock.stats()["streams_cancelled"] == 3, "the provider's streams are cancelled")
