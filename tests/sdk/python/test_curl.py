"""curl as people use it: what the demo prints, and the ways of sending and leaving that only curl has."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from fixture import DEADLINE, MESSAGES, TOKEN, Process, TestCase, free_port, wait_until


def run(*command, data=None, expected=0):
    """Standard output of a command that ends as expected."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE)
    if done.returncode != expected:
        raise AssertionError(f"{command} ended with {done.returncode}, not {expected}\n{done.stdout}\n{done.stderr}")
    return done.stdout.decode()


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = Path(tempfile.mkdtemp(prefix="keyweir-sdk-"))
        cls.addClassCleanup(shutil.rmtree, directory)
        cls.demo = Process(directory, "demo", "--port-base", str(free_port()), name="demo")
        cls.addClassCleanup(cls.demo.end)
        cls.demo.wait_for(lambda: "Ctrl-C" in cls.demo.text(), "the demo says what to do")
        cls.lines = [line for line in cls.demo.text().splitlines() if line.startswith("curl ")]

    def shown(self, line):
        return run("sh", "-c", line.replace("curl ", "curl -sS --fail-with-body ", 1))

    def test_the_completion_works_as_printed_again_and_again(self):
        for _ in range(20):
            answer = json.loads(self.shown(self.lines[0]))
            self.assertTrue(answer["choices"][0]["message"]["content"])

    def test_the_stream_works_as_printed_again_and_again(self):
        for _ in range(5):
            events = self.shown(self.lines[1]).split("\n\n")
            self.assertEqual(events[-2:], ["data: [DONE]", ""])
            self.assertEqual(sum('"content":"T' in event for event in events), 20)

    def test_the_statistics_work_as_printed(self):
        self.assertEqual(len(self.lines), 3)
        self.assertTrue(json.loads(self.shown(self.lines[2])))

    def test_the_other_addresses_answer(self):
        text = self.demo.text()
        metrics = re.search(r"^Metrics: +(\S+)$", text, re.M)[1]
        self.assertIn("keyweir_requests_total", run("curl", "-sS", metrics))
        admin, token = re.search(r"^Admin: +(\S+) +token: (\S+)$", text, re.M).groups()
        status = ["-o", "/dev/null", "-w", "%{http_code}"]
        self.assertEqual(run("curl", "-sS", *status, f"{admin}stats", "-H", f"Authorization: Bearer {token}"), "200")
        self.assertEqual(run("curl", "-sS", *status, f"{admin}stats", "-H", "Authorization: Bearer wrong"), "401")
        client = re.search(r"^Client token: (\S+)$", text, re.M)[1]
        self.assertTrue(all(client in line for line in self.lines[:2]))


class Curl(TestCase):
    pools = {"good": {"keys": ["sk-ok-1"]}, "replayed": {"keys": ["sk-429-1", "sk-429-2", "sk-ok-1"]}}

    def curl(self, *options, pool="good", data=None, expected=0, body=None):
        """Answer, and what `-w` tells, of a chat completion."""
        send = ["-d", json.dumps({"model": "m", "messages": MESSAGES, **body})] if body is not None else []
        url = f"{self.server.url}/{pool}/v1/chat/completions"
        headers = ["-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"]
        tell = ["-w", "\n%{http_code} %{http_version}"]
        return run("curl", "-sS", *options, *headers, *send, *tell, url, data=data, expected=expected).rsplit("\n", 1)

    def large(self, size=2 << 20):
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * size}]}).encode()

    def assert_arrived(self, body, attempts):
        seen = self.mock.stats()["last"]
        self.assertEqual([one["body_bytes"] for one in seen], [len(body)] * attempts)
        self.assertEqual(len({one["body_sha256"] for one in seen}), 1)

    def test_expect_100_continue(self):
        body = self.large()
        # Without `100 Continue` curl would wait for an hour, far beyond this test's deadline.
        wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "3600", "--data-binary", "@-"]
        answer, told = self.curl(*wait, data=body)
        self.assertIn("mock of a language model", answer)
        self.assertEqual(told, "200 1.1")
        self.assert_arrived(body, 1)

    def test_expectation_of_a_request_that_is_refused(self):
        wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "3600", "--data-binary", "@-"]
        url = f"{self.server.url}/v1/chat/completions"
        told = run("curl", "-sS", *wait, "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", url, data=self.large())
        self.assertEqual(told, "401 0")

    def test_chunked_upload_of_unknown_length_is_sent_again(self):
        body = self.large()
        answer, told = self.curl("-X", "POST", "-T", "-", pool="replayed", data=body)
        self.assertIn("mock of a language model", answer)
        self.assertEqual(told, "200 1.1")
        self.assert_arrived(body, 3)

    def test_http2_by_prior_knowledge(self):
        answer, told = self.curl("--http2-prior-knowledge", body={"stream": True})
        self.assertTrue(answer.endswith("data: [DONE]\n\n"))
        self.assertEqual(told, "200 2")

    def test_http10_gets_no_chunks(self):
        answer, told = self.curl("--http1.0", "-i", body={"stream": True})
        self.assertTrue(answer.endswith("data: [DONE]\n\n"))
        self.assertNotIn("transfer-encoding", answer.lower())
        self.assertEqual(told.split()[0], "200")
        self.assertIn("mock of a language model", self.curl("--http1.0", body={})[0])

    def test_leaving_in_the_middle(self):
        for version in ["--http1.1", "--http2-prior-knowledge"]:
            with self.subTest(version=version):
                self.mock.reset()
                endless = {"stream": True, "mock": {"events": 100_000, "interval_ms": 20}}
                # 28: the time was up.
                answer, _ = self.curl(version, "-N", "--max-time", "1", body=endless, expected=28)
                self.assertIn('"content":"T', answer)
                wait_until(lambda: self.mock.stats()["streams_cancelled"] == 1, "the provider's stream is cancelled")

    def test_two_requests_on_one_connection(self):
        url = f"{self.server.url}/v1/models"
        told = run("curl", "-sS", "-H", f"x-api-key: {TOKEN}", "-w", "\n%{num_connects}\n", url, url)
        self.assertEqual(told.splitlines()[1::2], ["1", "0"])

    def test_a_broken_stream_is_no_clean_end(self):
        # 18: a part of the answer is missing.
        answer, _ = self.curl("-N", body={"stream": True, "mock": {"die_after": 5}}, expected=18)
        self.assertIn("keyweir_error", answer.rstrip().splitlines()[-1])
        self.assertNotIn("[DONE]", answer)
