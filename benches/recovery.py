#!/usr/bin/env python3
"""Measures how soon what recovers is used again: a target that was away, one that failed, a provider, a limited key.

What is measured and how to read it: docs/benchmarks.md. Only the standard library is needed.
"""

import contextlib
import http.client
import json
import pathlib
import statistics
import tempfile
import time

import compare
from compare import LOAD_CORE, PROXY_CORE, TOKEN, free_port, http_status, say, wait_for

PAUSE = 0.02  # seconds between requests


def main():
    options = arguments()
    keyweir = options.keyweir or compare.cargo(compare.ROOT, "keyweir", options.profile)
    found = {name: [] for name in SCENES}
    with tempfile.TemporaryDirectory(prefix="keyweir-recovery-") as directory:
        lab = compare.Lab(keyweir, None, pathlib.Path(directory), [])
        for number in range(options.rounds):
            for name, scene in SCENES.items():
                say(f"round {number + 1} of {options.rounds}: {name}")
                with contextlib.ExitStack() as stack:
                    found[name].append(scene(Scene(lab, stack), options.seconds))
    print(table(found, options))


def arguments():
    parser = compare.parser(__doc__, "rounds of all scenes")
    parser.add_argument("--seconds", type=float, default=10, help="how long something is away (default: 10)")
    return parser.parse_args()


class Scene:
    """A keyweir whose pool has default settings, and the mocks behind it."""

    def __init__(self, lab, stack):
        self.lab, self.stack = lab, stack
        self.failed = 0

    def mock(self, port):
        process = self.stack.enter_context(
            self.lab.process(f"mock-{port}", LOAD_CORE, [self.lab.keyweir, "mock", "--listen", f"127.0.0.1:{port}"]))
        wait_for(process, lambda: http_status(port, "/mock/stats") == 200)
        return process

    def keyweir(self, targets, keys):
        self.port = free_port()
        config = self.lab.configure(self.port, targets, keys)
        process = self.stack.enter_context(
            self.lab.process("keyweir", PROXY_CORE, [self.lab.keyweir, "run", "-c", config]))
        wait_for(process, lambda: http_status(self.port, "/readyz") == 200)

    def ask(self, mock=None):
        """The status a client gets."""
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | ({"mock": mock} if mock else {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def ask_for(self, seconds):
        """Asks steadily for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.failed += self.ask() != 200
            time.sleep(PAUSE)

    def ask_until(self, is_back):
        """Asks steadily until it is back; the seconds that took."""
        begun = time.monotonic()
        while not is_back(status := self.ask()):
            self.failed += status != 200
            time.sleep(PAUSE)
        return time.monotonic() - begun


def served(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/mock/stats")
        stats = json.loads(connection.getresponse().read())
    return sum(key["requests"] for key in stats["keys"].values())


def outage(port, seconds):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("POST", "/mock/outage", json.dumps({"seconds": seconds, "status": 503}))
        connection.getresponse().read()


def target_away(scene, seconds):
    ports = free_port(), free_port(), free_port()
    mocks = [scene.mock(port) for port in ports]
    scene.keyweir(ports, 8)
    scene.ask_for(1)
    mocks[0].terminate()
    mocks[0].wait()
    scene.ask_for(seconds)
    scene.mock(ports[0])
    return scene.ask_until(lambda _: served(ports[0]) > 0), scene.failed


def target_failing(scene, seconds):
    ports = free_port(), free_port(), free_port()
    for port in ports:
        scene.mock(port)
    scene.keyweir(ports, 8)
    scene.ask_for(1)
    outage(ports[0], seconds)
    scene.ask_for(seconds + 0.05)
    before = served(ports[0])
    return scene.ask_until(lambda _: served(ports[0]) > before), scene.failed


def provider_away(scene, seconds):
    port = free_port()
    mock = scene.mock(port)
    scene.keyweir([port], 8)
    scene.ask_for(1)
    mock.terminate()
    mock.wait()
    scene.ask_for(seconds)
    scene.failed = 0
    scene.mock(port)
    return scene.ask_until(lambda status: status == 200), scene.failed


def key_limited(scene, _):
    port = free_port()
    scene.mock(port)
    scene.keyweir([port], 1)
    rest = 2
    scene.ask({"status": 429, "headers": {"Retry-After": str(rest)}})
    return scene.ask_until(lambda status: status == 200) - rest, None


SCENES = {
    "a target of three that was away": target_away,
    "a target of three that answered 503": target_failing,
    "the only target, away": provider_away,
    "a key that was limited, after its Retry-After": key_limited,
}


def table(found, options):
    lines = [f"| back again, after {options.seconds:g} s | seconds, median of {options.rounds} | slowest | failed requests |",
             "| --- | ---: | ---: | ---: |"]
    for name, rounds in found.items():
        times = [took for took, _ in rounds]
        failed = "" if rounds[0][1] is None else sum(failed for _, failed in rounds)
        lines.append(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} | {failed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
