"""The mock provider and keyweir as processes of their own, for the tests of one class.

Both listen on free ports of 127.0.0.1 with their files in a temporary directory, and exactly they are ended with the
class. A test class names its pools; nothing of a pool is shared with another class.
"""

import atexit
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from openai import AsyncOpenAI, OpenAI

KEYWEIR = os.environ.get("KEYWEIR", "keyweir")
TOKEN = "kw-token-of-the-sdk-tests"
ADMIN_TOKEN = "kwa-admin-token-of-the-sdk-tests"
MODEL = "gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "Hello"}]
# For what should take no time at all: only a hang reaches it.
DEADLINE = 20


def free_port():
    """A free port below the range that outgoing connections take theirs from."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def wait_until(condition, what, deadline=DEADLINE):
    """Returns the first true value of `condition`."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline} s: {what}")


def ask(url, data=None, headers=None):
    """Status and body of a plain HTTP request; status 0 = no connection."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


class Process:
    """A child process with its output in a file."""

    def __init__(self, directory, *arguments, name):
        self.output = Path(directory) / f"{name}.out"
        with self.output.open("wb") as output:
            self.child = subprocess.Popen(
                [KEYWEIR, *arguments], cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        atexit.register(self.end)

    def text(self):
        return self.output.read_text(errors="replace")

    def wait_for(self, condition, what):
        def reached():
            if self.child.poll() is not None:
                raise AssertionError(f"{what}: ended with {self.child.returncode}\n{self.text()}")
            return condition()

        try:
            return wait_until(reached, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def end(self):
        atexit.unregister(self.end)
        self.child.terminate()
        try:
            self.child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Mock:
    """The mock provider (docs/mock.md)."""

    def __init__(self, directory):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process(directory, "mock", "--listen", f"127.0.0.1:{port}", name="mock")
        self.process.wait_for(lambda: ask(f"{self.url}/mock/stats")[0] == 200, "the mock answers")

    def stats(self):
        return json.loads(ask(f"{self.url}/mock/stats")[1])

    def reset(self):
        """Forgets what arrived, so that a test sees only its own requests."""
        ask(f"{self.url}/mock/reset", {})

    def requests(self):
        return self.stats()["requests"]


class Server:
    """keyweir in front of a mock."""

    def __init__(self, directory, mock, pools, proxy=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = f"127.0.0.1:{free_port()}"
        settings = {
            name: {"targets": [f"{mock.url}/v1"], **{key: value for key, value in pool.items() if key != "keys"}}
            for name, pool in pools.items()
        }
        config = {
            "server": {
                "proxy": {"listen": [f"127.0.0.1:{self.port}", *(proxy or [])]},
                "admin": {"listen": self.admin, "token": ADMIN_TOKEN},
                "metrics": {"listen": f"127.0.0.1:{free_port()}"},
                "shutdown": {"grace": "1s"},
            },
            "log": {"access": "off"},
            "clients": {"tokens": [{"name": "sdk", "token": TOKEN}]},
            "keys_file": "keys.yaml",
            "default_pool": next(iter(pools)),
            "pools": settings,
        }
        # JSON is YAML.
        (directory / "keyweir.yaml").write_text(json.dumps(config))
        (directory / "keys.yaml").write_text(json.dumps({name: pool["keys"] for name, pool in pools.items()}))
        self.process = Process(directory, "run", "-c", "keyweir.yaml", name="keyweir")
        self.process.wait_for(lambda: ask(f"http://{self.admin}/readyz")[0] == 200, "keyweir is ready")


class TestCase(unittest.TestCase):
    """Tests against one keyweir with the pools of the class."""

    pools = {"good": {"keys": ["sk-ok-1"]}}

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="keyweir-sdk-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.mock = Mock(cls.directory)
        cls.addClassCleanup(cls.mock.process.end)
        cls.server = Server(cls.directory, cls.mock, cls.pools, cls.listeners())
        cls.addClassCleanup(cls.server.process.end)

    @classmethod
    def listeners(cls):
        """Further proxy listeners of the class's server."""
        return []

    def setUp(self):
        self.mock.reset()

    def client(self, pool="good", **options):
        """The SDK's client of a pool; without retries of its own unless asked for."""
        client = OpenAI(**self.options(pool, options))
        self.addCleanup(client.close)
        return client

    def async_client(self, pool="good", **options):
        return AsyncOpenAI(**self.options(pool, options))

    def options(self, pool, options):
        base_url = f"{self.server.url}/{pool}/v1"
        return {"base_url": base_url, "api_key": TOKEN, "max_retries": 0, "timeout": DEADLINE, **options}

    def chat(self, client, **options):
        return client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **options})


def text_of(chunks):
    """The content of a stream's chunks."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
