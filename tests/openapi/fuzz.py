"""Fuzzes the admin listener from its own OpenAPI document, with schemathesis.

The server, with a mock provider and all its files in a temporary directory, is this run's own: whatever is done to it
ends with it. Nothing is asked of other machines, for no pool has proxies or targets but on 127.0.0.1.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sdk/python"))

import fixture  # noqa: E402

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SEED = 1
IS_LONG = bool(os.environ.get("KEYWEIR_TEST_ALL"))
AMOUNT = (
    ["--phases", "coverage,fuzzing,stateful", "--max-examples", "100"]
    if IS_LONG
    else ["--phases", "coverage,fuzzing", "--max-examples", "3", "--no-shrink"]
)
POOLS = {"good": {"keys": ["sk-ok-1", "sk-429-2"]}, "spare": {"keys": ["sk-401-3"]}}
HEADERS = {"Authorization": f"Bearer {fixture.ADMIN_TOKEN}"}
# What a setting may be given by mistake or malice.
VALUES = [
    *(True, -1, 0, 1, 2**64 - 1, 1e308, "", "x", "\0", "<script>alert(1)</script>", "' OR 1=1 --"),
    *("0s", "1s", "-1s", "99999999999h", "300%", "a" * 100_000, [], [""], ["x"], [None], ["http://127.0.0.1:1"]),
    *({}, {"x": 1}, {"": None}, [{"": 1}], [[[]]], ["a"] * 10_000),
]


class Admin:
    """The admin API of a server, for the holder of the admin token."""

    def __init__(self, server):
        self.url = f"http://{server.admin}/api/v1"

    def ask(self, method, path, body=None):
        """Status and body; every answer but a 5xx is an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **HEADERS}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=fixture.DEADLINE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                assert error.code < 500, f"{method} {path} {str(body)[:200]}: {error.code} {error.read()}"
                return error.code, json.load(error)


def seed(server, admin):
    """Puts keys, a token and logged requests beside what the files provide; returns the keys' ids."""
    for pool in POOLS:
        keys = [{"key": f"sk-ok-added-{pool}-{number}"} for number in range(20)]
        status, told = admin.ask("POST", f"pools/{pool}/keys", {"keys": keys})
        assert status == 201, told
    admin.ask("POST", "tokens", {"name": "added"})
    for _ in range(5):
        message = {"model": fixture.MODEL, "messages": fixture.MESSAGES}
        fixture.ask(f"{server.url}/good/v1/chat/completions", message, {"Authorization": f"Bearer {fixture.TOKEN}"})
    return [key["id"] for pool in POOLS for key in admin.ask("GET", f"pools/{pool}/keys")[1]["items"]]


def fuzz_settings(admin):
    """Gives each setting values of every kind: in the document its body is an object with any fields."""
    choose = random.Random(SEED)
    for path in ("settings", "pools/good/settings"):
        for field in admin.ask("GET", path)[1]["settings"]:
            for value in VALUES if IS_LONG else choose.sample(VALUES, 2):
                status, told = admin.ask("PUT", path, {field: value})
                assert status in (200, 409, 422), f"{field} {str(value)[:200]}: {status} {told}"
            status, told = admin.ask("PUT", path, {field: None})
            assert status == 200, f"{field} could not be reset: {told}"


def fuzz(server, directory, arguments):
    """The run of schemathesis; returns its exit code."""
    shutil.copy(HERE / "schemathesis.toml", directory)
    document = f"http://{server.admin}/api/v1/openapi.json"
    header = f"Authorization: {HEADERS['Authorization']}"
    command = [SCHEMATHESIS, "run", document, "--header", header, "--seed", str(SEED), *AMOUNT, *arguments]
    return subprocess.run(command, cwd=directory, check=False).returncode


def main():
    directory = Path(tempfile.mkdtemp(prefix="keyweir-openapi-"))
    mock = fixture.Mock(directory)
    server = fixture.Server(directory, mock, POOLS)
    admin = Admin(server)
    try:
        ids = seed(server, admin)
        (directory / "keys.txt").write_text("".join(f'"{key}"\n' for key in ids))
        fuzz_settings(admin)
        code = fuzz(server, directory, sys.argv[1:])
        status, told = admin.ask("GET", "pools")
        assert status == 200 and server.process.child.poll() is None, f"afterwards: {status} {told}"
        assert "panicked" not in server.process.text(), server.process.text()
    finally:
        server.process.end()
        mock.process.end()
        shutil.rmtree(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
