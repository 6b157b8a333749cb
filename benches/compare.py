#!/usr/bin/env python3
"""Compares keyweir with bare Pingora and with no proxy at all, on this machine, in one run.

The protocol and how to read the table: docs/benchmarks.md. Only the standard library is needed.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "bench-client-token-000000000000000000000000"
PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS, IDLE = 64, 1000
TICKS = os.sysconf("SC_CLK_TCK")
# name, bytes of the request's body, requests per round
BODIES = [("0.5 KB", 512, 40_000), ("100 KB", 100_000, 16_000)]
STRACED = 4_000  # requests


def main():
    options = arguments()
    # All is on loopback; a proxy of the environment has no part in it.
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    keyweir, tool = build(options)
    load = os.getloadavg()[0]
    if load > 1:
        say(f"the load average is {load:.1f}: trust only the ratios, and those not much")
    with tempfile.TemporaryDirectory(prefix="keyweir-bench-") as directory, contextlib.ExitStack() as stack:
        lab = Lab(keyweir, tool, pathlib.Path(directory), options.targets)
        mock = stack.enter_context(lab.mock())
        results = {name: [] for name in options.targets}
        for number in range(options.rounds):
            # In random order, so that no target always runs on a warm or a throttled machine.
            for name in random.sample(options.targets, len(options.targets)):
                say(f"round {number + 1} of {options.rounds}: {name}")
                results[name].append(lab.measure(name, mock, options.scale))
        ready = lab.time_to_ready(1000, options.rounds) if "keyweir" in options.targets else []
    write(results, ready, options)
    print(table(results, ready))


def parser(about, rounds):
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=["release", "demo"], default="release", help="cargo profile to build")
    parser.add_argument("--rounds", type=int, default=5, help=f"{rounds} (default: 5)")
    parser.add_argument("--keyweir", type=pathlib.Path, help="this binary instead of building one")
    return parser


def arguments():
    known = parser(__doc__, "interleaved rounds")
    known.add_argument("--scale", type=float, default=1.0, help="factor on the number of requests (default: 1)")
    known.add_argument("--targets", type=lambda text: text.split(","), default=["direct", "bare", "keyweir"],
                       help="any of direct,bare,keyweir (default: all)")
    options = known.parse_args()
    if unknown := set(options.targets) - {"direct", "bare", "keyweir"}:
        known.error(f"unknown target {', '.join(unknown)}: choose from direct, bare, keyweir")
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(options):
    """Paths of keyweir and the tool, built now if need be."""
    say(f"building with the {options.profile} profile")
    tool = cargo(ROOT / "benches/tool", "keyweir-bench", options.profile)
    return options.keyweir or cargo(ROOT, "keyweir", options.profile), tool


def cargo(package, binary, profile):
    command = ["cargo", "build", "--locked", "--profile", profile, "--bin", binary, "--message-format=json"]
    built = subprocess.run(command, cwd=package, stdout=subprocess.PIPE, text=True, check=True)
    artifacts = (json.loads(line) for line in built.stdout.splitlines())
    paths = [a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == binary]
    return pathlib.Path(paths[-1])


class Lab:
    """Starts what is measured and measures it."""

    def __init__(self, keyweir, tool, directory, targets):
        self.keyweir, self.tool, self.directory, self.targets = keyweir, tool, directory, targets
        self.cores = len(os.sched_getaffinity(0)) > 1
        if not self.cores:
            say("one core only: nothing is pinned, and the proxy shares it with its load")

    def pinned(self, core, command):
        command = [str(word) for word in command]
        return ["taskset", "-c", str(core), *command] if self.cores and shutil.which("taskset") else command

    @contextlib.contextmanager
    def process(self, name, core, command):
        """A server in the background, its output in a file of its own."""
        path = self.directory / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(self.pinned(core, command), stdout=log, stderr=log, cwd=self.directory)
        try:
            yield process
        except Exception:
            say(f"--- end of {name}'s log:\n" + path.read_text(errors="replace")[-2000:])
            raise
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def mock(self):
        port = free_port()
        with self.process("mock", LOAD_CORE, [self.keyweir, "mock", "--listen", f"127.0.0.1:{port}"]) as process:
            wait_for(process, lambda: http_status(port, "/mock/stats") == 200)
            # Remembering requests is for tests; here it would only heat the core.
            body = json.dumps({"requests": 0}).encode()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/mock/record", data=body).close()
            yield port, process.pid

    @contextlib.contextmanager
    def target(self, name, mock, keys=100):
        """The target's port and process id. `direct` is the mock itself."""
        mock_port, mock_pid = mock
        port = free_port()
        if name == "direct":
            yield mock_port, mock_pid
        elif name == "bare":
            command = [self.tool, "bare", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{mock_port}",
                       "--key", "sk-ok-0", "--threads", 1]
            with self.process(name, PROXY_CORE, command) as process:
                wait_for(process, lambda: accepts(port))
                yield port, process.pid
        else:
            config = self.configure(port, [mock_port], keys)
            with self.process(name, PROXY_CORE, [self.keyweir, "run", "-c", config]) as process:
                wait_for(process, lambda: http_status(port, "/readyz") == 200)
                yield port, process.pid

    def configure(self, port, mock_ports, keys):
        """A configuration with everything on: client token, metrics, access log, request log of errors."""
        home = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        config = {
            "server": {
                "proxy": {"listen": [f"127.0.0.1:{port}"]},
                "admin": {"listen": f"127.0.0.1:{free_port()}", "token": "bench-admin-token-0000000000000000000000000"},
                "metrics": {"listen": f"127.0.0.1:{free_port()}"},
                "threads": 1,
            },
            "log": {"level": "warn", "access": str(home / "access.log")},
            "store": {"url": f"sqlite://{home}/keyweir.db"},
            "keys_file": "keys.yaml",
            "default_pool": "bench",
            "clients": {"tokens": [{"name": "bench", "token": TOKEN}]},
            "pools": {"bench": {"provider": "generic", "targets": [{"url": f"http://127.0.0.1:{at}/v1"} for at in mock_ports]}},
        }
        # JSON is YAML.
        (home / "keyweir.yaml").write_text(json.dumps(config, indent=2))
        (home / "keys.yaml").write_text(json.dumps({"bench": [f"sk-ok-{at}" for at in range(keys)]}))
        (home / "keys.yaml").chmod(0o600)
        return home / "keyweir.yaml"

    def client(self, command, port, token, *more):
        command = [self.tool, command, "--to", f"127.0.0.1:{port}", "--token", token, *more]
        return self.pinned(LOAD_CORE, command)

    def run_client(self, *command):
        done = subprocess.run(self.client(*command), stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def measure(self, name, mock, scale):
        token = "sk-ok-0" if name == "direct" else TOKEN
        figures = {}
        with self.target(name, mock) as (port, pid):
            # Memory first: connections opened in what a load test left behind would look free.
            if name != "direct":
                figures["idle"] = self.idle_memory(port, pid, token)
            for body, size, requests in BODIES:
                requests = max(CONNECTIONS, int(requests * scale))
                self.run_client("load", port, token, "--requests", requests // 10, "--body", size)
                figures[body] = self.cpu(port, pid, token, requests, size)
            if name != "direct":
                figures["syscalls"] = self.syscalls(port, pid, token)
            figures["stream"] = self.run_client("stream", port, token)
        return figures

    def idle_memory(self, port, pid, token):
        self.run_client("load", port, token, "--requests", 100, "--connections", 1)
        before = resident_kib(pid)
        command = self.client("idle", port, token, "--connections", IDLE)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            if holder.stdout.readline() != "ready\n":
                raise RuntimeError("the idle connections could not be opened")
            held = resident_kib(pid)
            holder.communicate()
        return {"before_kib": before, "held_kib": held, "kib_per_connection": (held - before) / IDLE}

    def cpu(self, port, pid, token, requests, size):
        before = cpu_times(pid)
        result = self.run_client("load", port, token, "--requests", requests, "--body", size,
                                 "--connections", CONNECTIONS)
        user, system = (after - start for after, start in zip(cpu_times(pid), before))
        return result | {"user_us": user / requests * 1e6, "all_us": (user + system) / requests * 1e6}

    def syscalls(self, port, pid, token):
        """Per request and name, counted by strace; `None` where it is missing or may not trace."""
        if not shutil.which("strace"):
            return None
        counts = self.directory / "strace.txt"
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", counts, "-p", str(pid)], stderr=subprocess.PIPE)
        try:
            tracer.stderr.readline()  # "strace: Process … attached"
            self.run_client("load", port, token, "--requests", STRACED, "--connections", CONNECTIONS)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
        rows = [line.split() for line in counts.read_text().splitlines()] if counts.exists() else []
        calls = {row[-1]: int(row[3]) / STRACED for row in rows if len(row) >= 5 and row[3].isdigit()}
        calls.pop("total", None)
        return calls or None

    def time_to_ready(self, keys, rounds):
        """Milliseconds from exec to the first 200 of /readyz, once per round."""
        times = []
        with self.mock() as (mock_port, _):
            for _ in range(rounds):
                port = free_port()
                config = self.configure(port, [mock_port], keys)
                start = time.monotonic()
                with self.process("keyweir", PROXY_CORE, [self.keyweir, "run", "-c", config]) as process:
                    wait_for(process, lambda: http_status(port, "/readyz") == 200)
                    times.append((time.monotonic() - start) * 1000)
        return times


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def http_status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(process, ready, seconds=30):
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready within {seconds} s")
        time.sleep(0.001)


def cpu_times(pid):
    """User and system seconds of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def write(results, ready, options):
    """Everything measured, with what is needed to judge it."""
    directory = ROOT / "benches/results"
    directory.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    path = directory / f"{now:%Y%m%dT%H%M%SZ}.json"
    about = {"time": now.isoformat(), "profile": options.profile, "scale": options.scale, "load": os.getloadavg()}
    for key, command in [("lscpu", ["lscpu"]), ("kernel", ["uname", "-rv"]), ("commit", ["git", "rev-parse", "HEAD"])]:
        with contextlib.suppress(OSError):
            about[key] = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    path.write_text(json.dumps({"about": about, "rounds": results, "ready_ms": ready}, indent=1))
    say(f"raw results: {path}")


def figures(rounds):
    """(row's name, median) of all that was measured."""
    def median(pick):
        values = [value for value in map(pick, rounds) if value is not None]
        return statistics.median(values) if values else None

    rows = {}
    for body, _, _ in BODIES:
        rows[f"user CPU, µs/request, {body}"] = median(lambda r: r[body]["user_us"])
        rows[f"all CPU, µs/request, {body}"] = median(lambda r: r[body]["all_us"])
        rows[f"requests/s, {body}"] = median(lambda r: r[body]["per_second"])
        rows[f"p50, µs, {body}"] = median(lambda r: r[body]["p50"])
        rows[f"p99, µs, {body}"] = median(lambda r: r[body]["p99"])
    rows["system calls/request"] = median(lambda r: sum(r["syscalls"].values()) if r.get("syscalls") else None)
    rows["event transit p50, µs"] = median(lambda r: r["stream"]["p50"])
    rows["event transit p99, µs"] = median(lambda r: r["stream"]["p99"])
    rows["KiB per idle connection"] = median(lambda r: r["idle"]["kib_per_connection"] if "idle" in r else None)
    rows["RSS before load, MiB"] = median(lambda r: r["idle"]["before_kib"] / 1024 if "idle" in r else None)
    return rows


def table(results, ready):
    """Medians as Markdown, with the ratio that matters."""
    columns = {name: figures(rounds) for name, rounds in results.items()}
    compared = {"bare", "keyweir"} <= columns.keys()
    header = ["", *columns, *(["keyweir / bare"] if compared else [])]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for row in next(iter(columns.values())):
        values = [column[row] for column in columns.values()]
        line = [row, *("–" if value is None else f"{value:,.1f}" for value in values)]
        if compared:
            bare, keyweir = columns["bare"][row], columns["keyweir"][row]
            line.append(f"{keyweir / bare:.2f}" if bare and keyweir is not None else "–")
        lines.append(line)
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    if ready:
        text += f"\n\nTime to ready with 1,000 keys: {statistics.median(ready):.0f} ms."
    if any(rounds[0].get("syscalls", {}) is None for rounds in results.values()):
        text += "\n\nSystem calls were not counted: strace is not installed or may not trace."
    return text


if __name__ == "__main__":
    main()
