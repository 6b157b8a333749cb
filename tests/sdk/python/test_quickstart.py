"""docs/quickstart.md as a newcomer follows it: init, check, run, curl."""

import json
import re
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from fixture import DEADLINE, KEYWEIR, Mock, Process, ask, free_port
from openai import OpenAI


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="keyweir-sdk-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def keyweir(self, *arguments, expected=0):
        done = subprocess.run([KEYWEIR, *arguments], cwd=self.directory, capture_output=True, timeout=DEADLINE)
        output = (done.stdout + done.stderr).decode()
        self.assertEqual(done.returncode, expected, output)
        return output

    def init(self):
        (self.directory / "keys.txt").write_text("# mine\nsk-429-first\r\nsk-ok-second\n\nsk-ok-second\n")
        return self.keyweir("init", "--provider", "generic", "--keys", "keys.txt", "--dir", "new")

    def adapt(self, replaced):
        """Edits the configuration as the newcomer's editor would."""
        path = self.directory / "new" / "keyweir.yaml"
        text = path.read_text()
        for old, new in replaced.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        path.write_text(text)

    def test_from_nothing_to_an_answer(self):
        said = self.init()
        mock = Mock(self.directory)
        self.addCleanup(mock.process.end)
        ports = {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in [8080, 8081, 8082]}
        self.adapt({"http://127.0.0.1:8000/v1": f"{mock.url}/v1", **ports})
        self.assertIn("keyweir check -c new/keyweir.yaml", said)
        self.assertIn("2 keys", self.keyweir("check", "-c", "new/keyweir.yaml"))

        self.assertIn("keyweir run -c new/keyweir.yaml", said)
        server = Process(self.directory, "run", "-c", "new/keyweir.yaml", name="keyweir")
        self.addCleanup(server.end)
        admin = ports["127.0.0.1:8081"]
        server.wait_for(lambda: ask(f"http://{admin}/readyz")[0] == 200, "keyweir is ready")

        [line] = re.findall(r"^ *\d\. (curl .*)$", said, re.M)
        line = line.replace("127.0.0.1:8080", ports["127.0.0.1:8080"]).replace("curl", "curl -sS", 1)
        models = subprocess.run(["sh", "-c", line], capture_output=True, timeout=DEADLINE)
        self.assertIn("gpt-4o", models.stdout.decode(), models.stderr)

        token = re.search(r"^Client token: (\S+)$", said, re.M)[1]
        with OpenAI(base_url=f"http://{ports['127.0.0.1:8080']}/v1", api_key=token, max_retries=0) as client:
            messages = [{"role": "user", "content": "Hello"}]
            answer = client.chat.completions.create(model="gpt-4o", messages=messages)
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(set(mock.stats()["keys"]), {"sk-429-first", "sk-ok-second"})
        for secret in ["sk-429-first", "sk-ok-second", token]:
            self.assertNotIn(secret, server.text())

    def test_the_files_are_private_and_not_overwritten(self):
        self.init()
        files = [self.directory / "new" / name for name in ["keyweir.yaml", "keys.yaml"]]
        before = [file.read_text() for file in files]
        for file in files:
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        said = self.keyweir("init", "--provider", "generic", "--dir", "new", expected=1)
        self.assertIn("exists already", said)
        self.assertEqual([file.read_text() for file in files], before)

    def test_every_mistake_is_named_with_its_place(self):
        self.init()
        self.adapt({"provider: generic": "provder: generic", "clients:": "lgo: {}\nclients:"})
        said = self.keyweir("check", "-c", "new/keyweir.yaml", expected=1)
        for mistake in ["provder", "lgo"]:
            self.assertRegex(said, rf"(?m)^new/keyweir\.yaml:\d+:\d+: .*{mistake}")
        # `run` says the same and does not start.
        said = self.keyweir("run", "-c", "new/keyweir.yaml", expected=1)
        self.assertIn("provder", said)

    def test_the_first_run_makes_the_tokens(self):
        mock = Mock(self.directory)
        self.addCleanup(mock.process.end)
        proxy, admin, metrics = (f"127.0.0.1:{free_port()}" for _ in range(3))
        listen = {"proxy": {"listen": [proxy]}, "admin": {"listen": admin}, "metrics": {"listen": metrics}}
        config = {"server": listen, "pools": {"mine": {"targets": [f"{mock.url}/v1"]}}, "keys_file": "keys.yaml"}
        (self.directory / "keyweir.yaml").write_text(json.dumps(config))
        (self.directory / "keys.yaml").write_text("mine:\n  - sk-ok-1\n")
        server = Process(self.directory, "run", name="keyweir")
        self.addCleanup(server.end)
        server.wait_for(lambda: ask(f"http://{admin}/readyz")[0] == 200, "keyweir is ready")
        kept = self.directory / "first-run.txt"
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        tokens = dict(re.findall(r"(admin|client) token: (\S+)", kept.read_text()))
        self.assertIn("first-run.txt", server.text())
        bearer = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
        self.assertEqual(ask(f"http://{proxy}/v1/models", headers=bearer["client"])[0], 200)
        self.assertEqual(ask(f"http://{proxy}/v1/models", headers=bearer["admin"])[0], 401)
        self.assertEqual(ask(f"http://{proxy}/v1/models")[0], 401)
        self.assertEqual(ask(f"http://{admin}/stats", headers=bearer["admin"])[0], 200)
        for token in tokens.values():
            self.assertNotIn(token, server.text())
