#!/usr/bin/env python3
"""Measures keyweir with very many keys: start, memory, import, pages, and what clients notice of work on all keys.

What is measured and how to read it: docs/benchmarks.md. Only the standard library is needed.
"""

import contextlib
import datetime
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

import compare
from compare import PROXY_CORE, ROOT, TOKEN, free_port, http_status, resident_kib, say, wait_for

ADMIN_TOKEN = "bench-admin-token-0000000000000000000000000"
PAGES = 20  # times each page is asked for
WARM = 500  # requests before a phase's


def main():
    options = arguments()
    keyweir, tool = (options.keyweir, options.tool) if options.tool else compare.build(options)
    load = os.getloadavg()[0]
    if load > 1:
        say(f"the load average is {load:.1f}: trust only the ratios, and those not much")
    rounds = []
    with tempfile.TemporaryDirectory(prefix="keyweir-scale-") as directory:
        lab = compare.Lab(keyweir, tool, pathlib.Path(directory), ["keyweir"])
        with lab.mock() as (mock_port, _), lab.mock() as (other_port, other_pid):
            # Thousands of tests a second of another pool's keys are not to keep the load's own provider from its core.
            for thread in pathlib.Path(f"/proc/{other_pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
            for number in range(options.rounds):
                say(f"round {number + 1} of {options.rounds}")
                rounds.append(measure(lab, {"bench": mock_port, "other": other_port}, options))
    write(rounds, options)
    print(table(rounds, options))


def arguments():
    parser = compare.parser(__doc__, "rounds, each on a fresh database")
    parser.add_argument("--keys", type=int, default=100_000, help="keys of the pool (default: 100,000)")
    parser.add_argument("--seconds", type=float, default=5, help="length of each phase under load (default: 5)")
    parser.add_argument("--rate", type=int, default=500, help="requests per second under load (default: 500)")
    parser.add_argument("--tool", type=pathlib.Path, help="this keyweir-bench instead of building one")
    return parser.parse_args()


class Server:
    """A keyweir with everything on and a pool that is filled through its API."""

    def __init__(self, lab, mock_ports):
        self.lab, self.home = lab, pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
        self.proxy, self.admin, self.metrics = free_port(), free_port(), free_port()
        config = {
            "server": {
                "proxy": {"listen": [f"127.0.0.1:{self.proxy}"]},
                "admin": {"listen": f"127.0.0.1:{self.admin}", "token": ADMIN_TOKEN},
                "metrics": {"listen": f"127.0.0.1:{self.metrics}"},
                "threads": 1,
            },
            "log": {"level": "warn", "access": str(self.home / "access.log")},
            "store": {"url": f"sqlite://{self.home}/keyweir.db"},
            "default_pool": "bench",
            "clients": {"tokens": [{"name": "bench", "token": TOKEN}]},
            "pools": {
                name: {"provider": "generic", "targets": [{"url": f"http://127.0.0.1:{port}/v1"}]}
                for name, port in mock_ports.items()
            },
        }
        # JSON is YAML.
        (self.home / "keyweir.yaml").write_text(json.dumps(config, indent=2))

    @contextlib.contextmanager
    def run(self):
        """The process id, and the seconds it took to be ready."""
        start = time.monotonic()
        command = [self.lab.keyweir, "run", "-c", self.home / "keyweir.yaml"]
        with self.lab.process("keyweir", PROXY_CORE, command) as process:
            wait_for(process, lambda: http_status(self.proxy, "/readyz") == 200, 300)
            yield process.pid, time.monotonic() - start

    def ask(self, method, path, body=None, port=None, kind="text/plain"):
        """Seconds until the answer was there, and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.admin, timeout=600)
        start = time.monotonic()
        connection.request(method, path, body, {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        took = time.monotonic() - start
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]}")
        return took, text

    def import_keys(self, pool, lot, count):
        text = "".join(f"sk-ok-{lot}-{number:032}\n" for number in range(count))
        took, report = self.ask("POST", f"/api/v1/pools/{pool}/keys/import", text)
        added = json.loads(report)["added"]
        if added != count:
            raise RuntimeError(f"{added} of {count} keys were added")
        return took

    def test_keys(self, count):
        keys = json.loads(self.ask("GET", f"/api/v1/pools/other/keys?limit={count}")[1])["items"]
        body = json.dumps({"action": "test", "ids": [key["id"] for key in keys]})
        return self.ask("POST", "/api/v1/pools/other/keys/bulk", body, kind="application/json")[0]

    def pages(self, keys):
        """The slowest of several looks at each page (seconds)."""
        paths = {
            "first page of keys": "/api/v1/pools/bench/keys?limit=100",
            "last page of keys": f"/api/v1/pools/bench/keys?limit=100&cursor={keys - 100}",
            "keys by name": "/api/v1/pools/bench/keys?limit=100&q=abc",
            "keys by state": "/api/v1/pools/bench/keys?limit=100&state=cooling",
            "list of pools": "/api/v1/pools",
            "overview": "/api/v1/stats",
        }
        slowest = {name: max(self.ask("GET", path)[0] for _ in range(PAGES)) for name, path in paths.items()}
        return slowest | {"metrics": max(self.ask("GET", "/metrics", None, self.metrics)[0] for _ in range(PAGES))}

    def load(self, requests, rate):
        command = ("load", self.proxy, TOKEN, "--requests", requests, "--connections", 16, "--rate", rate)
        return self.lab.run_client(*command)


def measure(lab, mock_ports, options):
    server = Server(lab, mock_ports)
    figures = {}
    with server.run() as (pid, empty):
        figures |= {"start_empty": empty, "rss_empty": resident_kib(pid)}
        before = compare.cpu_times(pid)
        figures["import"] = server.import_keys("bench", "0", options.keys)
        figures["import_cpu"] = sum(compare.cpu_times(pid)) - sum(before)
        figures["rss_imported"] = resident_kib(pid)
    with server.run() as (pid, ready):
        figures |= {"start": ready, "start_cpu": sum(compare.cpu_times(pid)), "rss": resident_kib(pid)}
        figures["pages"] = server.pages(options.keys)
        figures["rss_pages"] = resident_kib(pid)
        figures["phases"] = phases(server, options, max(0.5, figures["import"] * 0.9))
        figures["rss_end"] = resident_kib(pid)
    return figures


def phases(server, options, once):
    """Latency under a steady load: idle, then with work on all keys going on, each beside an idle phase of its own."""
    works = {
        "import": lambda: server.import_keys("other", "1", options.keys),
        "export": lambda: server.ask("GET", "/api/v1/pools/bench/keys/export?format=json"),
        "reload": lambda: server.ask("POST", "/api/v1/reload"),
        "test of keys": lambda: server.test_keys(500),
        "list": lambda: server.ask("GET", "/api/v1/pools/bench/keys?limit=1000"),
        "scrape": lambda: server.ask("GET", "/metrics", None, server.metrics),
    }
    server.load(WARM, options.rate)
    found = {}
    for name, work in works.items():
        # An import is not repeated, so it is looked at for as long as it takes.
        requests = int(options.rate * (once if name == "import" else options.seconds))
        idle = server.load(requests, options.rate)
        with repeated(work, name != "import") as times:
            busy = server.load(requests, options.rate)
        found[name] = {"idle": idle, "busy": busy, "times": times}
    return found


@contextlib.contextmanager
def repeated(work, is_repeated):
    """Does the work in the background, once or again and again; how long each took."""
    times, over, failed = [], threading.Event(), []

    def go_on():
        try:
            while not over.is_set() and (is_repeated or not times):
                start = time.monotonic()
                work()
                times.append(time.monotonic() - start)
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=go_on)
    worker.start()
    try:
        yield times
    finally:
        over.set()
        worker.join()
    if failed:
        raise failed[0]


def write(rounds, options):
    """Everything measured, with what is needed to judge it."""
    directory = ROOT / "benches/results"
    directory.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    path = directory / f"scale-{now:%Y%m%dT%H%M%SZ}.json"
    about = {"time": now.isoformat(), "keys": options.keys, "load": os.getloadavg()}
    for key, command in [("lscpu", ["lscpu"]), ("kernel", ["uname", "-rv"]), ("commit", ["git", "rev-parse", "HEAD"])]:
        with contextlib.suppress(OSError):
            about[key] = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    path.write_text(json.dumps({"about": about, "rounds": rounds}, indent=1))
    say(f"raw results: {path}")


def table(rounds, options):
    """Medians as Markdown."""
    def median(pick):
        return statistics.median(pick(figures) for figures in rounds)

    def line(name, value):
        lines.append(f"| {name} | {value} |")

    lines = [f"| {options.keys:,} keys | median of {len(rounds)} |", "| --- | ---: |"]
    line("start, s (CPU s)", f"{median(lambda r: r['start']):.2f} ({median(lambda r: r['start_cpu']):.2f})")
    line("import, s (CPU s)", f"{median(lambda r: r['import']):.2f} ({median(lambda r: r['import_cpu']):.2f})")
    for key, name in [("rss_empty", "without keys"), ("rss_imported", "after the import"), ("rss", "after a start"),
                      ("rss_pages", "after all pages"), ("rss_end", "after all phases")]:
        line(f"RSS {name}, MiB", f"{median(lambda r: r[key]) / 1024:.0f}")
    for name in rounds[0]["pages"]:
        line(f"{name}, slowest of {PAGES}, ms", f"{median(lambda r: r['pages'][name]) * 1000:.1f}")
    lines += ["", "| meanwhile | times | seconds each | p99 idle, µs | p99, µs | ratio |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name in rounds[0]["phases"]:
        idle, busy = (median(lambda r: r["phases"][name][which]["p99"]) for which in ("idle", "busy"))
        ratio = median(lambda r: r["phases"][name]["busy"]["p99"] / r["phases"][name]["idle"]["p99"])
        times = [took for figures in rounds for took in figures["phases"][name]["times"]]
        lines.append(f"| {name} | {len(times)} | {statistics.median(times):.3f} | {idle:,.0f} | {busy:,.0f} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
