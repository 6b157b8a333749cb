"""What goes wrong, as the SDK's exceptions, and how often the SDK then tries again by itself."""

import openai
from fixture import TOKEN, TestCase, text_of, wait_until
from httpx2 import Client

# An answer that makes the only key of a pool rest, or leaves it alone, by the mock's script.
LIMITED = {"status": 429, "headers": {"retry-after": "2"}}
LONG_LIMITED = {"status": 429, "headers": {"retry-after": "90"}}


class Errors(TestCase):
    pools = {
        "good": {"keys": ["sk-ok-1"]},
        "limited": {"keys": ["sk-429-1", "sk-429-2"]},
        "short": {"keys": ["sk-ok-short"]},
        "long": {"keys": ["sk-ok-long"]},
        "revoked": {"keys": ["sk-401-1", "sk-401-2"]},
        "broken": {"keys": ["sk-500-1"]},
        "hanging": {"keys": ["sk-hang-1"], "timeouts": {"first_byte": "300ms"}},
        "silent": {"keys": ["sk-hang-2"]},
        "cut": {"keys": ["sk-cut-1"]},
        "stalling": {"keys": ["sk-ok-stalling"], "timeouts": {"idle": "300ms"}},
    }

    def setUp(self):
        super().setUp()
        self.sent = 0

    def counting(self, pool="good", **options):
        """A client whose requests to keyweir are counted, the SDK's own retries too."""

        def count(_):
            self.sent += 1

        return self.client(pool, http_client=Client(event_hooks={"request": [count]}), **options)

    def fails(self, kind, client, **options):
        with self.assertRaises(kind) as caught:
            self.chat(client, **options)
        return caught.exception

    def assert_ours(self, error, status, code):
        self.assertEqual((error.status_code, error.code, error.type), (status, code, "keyweir_error"))
        self.assertEqual(error.request_id, error.body["request_id"])

    def test_a_wrong_token(self):
        for token in ["wrong", TOKEN + "x", "sk-ok-1"]:
            error = self.fails(openai.AuthenticationError, self.client(api_key=token))
            self.assert_ours(error, 401, "unauthorized")
        self.assertEqual(self.mock.requests(), 0)

    def test_a_route_that_is_not_served(self):
        with self.assertRaises(openai.PermissionDeniedError) as caught:
            self.client().files.list()
        self.assert_ours(caught.exception, 403, "route_denied")

    def test_a_path_nobody_owns(self):
        error = self.fails(openai.NotFoundError, self.client(base_url=f"{self.server.url}/nobody/v1"))
        self.assert_ours(error, 404, "unknown_path")

    def test_the_providers_own_404(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client().moderations.create(input="text")
        self.assertIn("Invalid URL", caught.exception.body["message"])

    def test_the_providers_own_400_and_the_key_stays(self):
        own = {"message": "max_tokens is too large", "type": "invalid_request_error", "param": "max_tokens", "code": "x"}
        script = {"mock": {"status": 400, "body": {"error": own}}}
        for stream in [False, True]:
            error = self.fails(openai.BadRequestError, self.client(), stream=stream, extra_body=script)
            self.assertEqual(error.body, own)
            self.assertEqual(error.response.headers["keyweir-attempts"], "1")
        self.chat(self.client())

    def test_a_body_the_provider_cannot_read(self):
        client = self.client()
        with self.assertRaises(openai.BadRequestError) as caught:
            client.post("/chat/completions", content=b'{"model": ', cast_to=object)
        self.assertIn("could not parse the JSON", caught.exception.body["message"])

    def test_all_keys_resting(self):
        error = self.fails(openai.RateLimitError, self.client("limited"))
        self.assert_ours(error, 429, "all_keys_cooling")
        self.assertIn(int(error.response.headers["retry-after"]), range(25, 31))
        self.assertEqual((error.body["provider_status"], error.body["provider_code"]), (429, "rate_limit_exceeded"))
        self.assertIn("retry_at", error.body)
        # Now the pool knows, and the provider is not asked.
        before = self.mock.requests()
        error = self.fails(openai.RateLimitError, self.client("limited"), stream=True)
        self.assert_ours(error, 429, "all_keys_cooling")
        self.assertEqual(self.mock.requests(), before)

    def test_the_sdk_waits_as_long_as_it_is_told(self):
        self.fails(openai.RateLimitError, self.client("short"), extra_body={"mock": LIMITED})
        # By its own clock the SDK would have tried, and given up, before the key is back.
        self.chat(self.counting("short", max_retries=2))
        self.assertEqual(self.sent, 2)

    def test_the_sdk_does_not_wait_for_what_takes_long(self):
        self.fails(openai.RateLimitError, self.client("long"), extra_body={"mock": LONG_LIMITED})
        error = self.fails(openai.RateLimitError, self.counting("long", max_retries=2))
        self.assertEqual(error.response.headers["x-should-retry"], "false")
        self.assertEqual(self.sent, 1)

    def test_no_key_left_is_not_tried_again(self):
        for _ in range(2):
            self.sent = 0
            error = self.fails(openai.InternalServerError, self.counting("revoked", max_retries=2))
            self.assert_ours(error, 503, "no_usable_key")
            self.assertEqual(error.response.headers["x-should-retry"], "false")
            self.assertEqual(self.sent, 1)
        self.assertEqual(self.mock.stats()["classes"], {"401": 2})

    def test_the_providers_own_failure(self):
        error = self.fails(openai.InternalServerError, self.client("broken"))
        self.assertEqual((error.status_code, error.type), (500, "server_error"))

    def test_a_provider_that_never_answers(self):
        error = self.fails(openai.InternalServerError, self.client("hanging"))
        self.assert_ours(error, 504, "upstream_timeout")

    def test_a_client_that_gives_up_leaves_nothing_behind(self):
        self.fails(openai.APITimeoutError, self.client("silent", timeout=0.3))
        wait_until(lambda: self.mock.stats()["waits_cancelled"] == 1, "the provider's request is cancelled")

    def read_broken(self, pool, **options):
        """Reads a stream that must not seem to end well."""
        chunks = []
        with self.assertRaises(openai.APIError) as caught:
            for chunk in self.chat(self.client(pool), stream=True, **options):
                chunks.append(chunk)
        self.assertTrue(text_of(chunks), "content came before the break")
        self.assertTrue(all(chunk.choices[0].finish_reason is None for chunk in chunks))
        return caught.exception

    def test_a_stream_that_is_cut(self):
        error = self.read_broken("cut")
        self.assertEqual((error.type, error.code), ("keyweir_error", "upstream_unreachable"))
        self.assertTrue(error.body["request_id"])

    def test_a_stream_whose_connection_is_reset(self):
        error = self.read_broken("good", extra_body={"mock": {"die_after": 5}})
        self.assertEqual((error.type, error.code), ("keyweir_error", "upstream_unreachable"))
        self.chat(self.client())

    def test_a_stream_that_stops(self):
        error = self.read_broken("stalling", extra_body={"mock": {"interval_ms": 2000}})
        self.assertEqual((error.type, error.code), ("keyweir_error", "upstream_timeout"))

    def test_half_a_json_answer_is_an_error(self):
        self.fails(openai.APIConnectionError, self.client("cut"))
