"""Starts real processes for the end-to-end checks and talks to them. Standard library only."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
BINARY = os.environ.get("PHAROS", str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/pharos"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Pharos:
    """One server process on a data folder; it can be killed and started again."""

    def __init__(self, folder, config=None, *flags):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.config = self.folder / "pharos.yml"
        self.config.write_text(config or "global: {}\n")
        self.flags = list(flags)
        self.process = None
        self.log = self.folder / "log"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, wait=True, seconds=120):
        command = [BINARY, "server", f"--config.file={self.config}", f"--storage.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}", *self.flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(self.log, "ab"))
        if wait:
            self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=120):
        wait_for(lambda: self.alive() and self.is_ready(), seconds, f"{self.url} is not ready", self.log)

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"pharos exited with {self.process.returncode}:\n{self.tail()}")
        return True

    def is_ready(self):
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(seconds)

    def tail(self, size=4000):
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def get(self, path, **params):
        target = f"{self.url}{path}" + (("?" + urllib.parse.urlencode(params, doseq=True)) if params else "")
        return request(urllib.request.Request(target))

    def post(self, path, body=b"", headers=None, method="POST"):
        return request(urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method))

    def query(self, expression, **params):
        status, body = self.get("/api/v1/query", query=expression, **params)
        answer = json.loads(body)
        assert status == 200, f"{expression}: {status} {answer}"
        return answer["data"]["result"]

    def metric(self, name):
        """The sum of a metric of the server itself."""
        total, found = 0.0, False
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name) and line[len(name):len(name) + 1] in ("{", " "):
                total, found = total + float(line.rsplit(" ", 1)[1]), True
        assert found, f"no metric {name}"
        return total


def request(what, seconds=60):
    try:
        with urllib.request.urlopen(what, timeout=seconds) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def wait_for(condition, seconds, message, log=None):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            detail = log.read_text(errors="replace")[-4000:] if log and log.exists() else ""
            raise AssertionError(f"{message} after {seconds} s\n{detail}")
        time.sleep(0.1)


def loadgen():
    """Builds the load generator of ../shared/bench."""
    target = pathlib.Path(os.environ.get("LOADGEN_TARGET", tempfile.gettempdir() + "/loadgen-target"))
    manifest = SHARED / "bench/loadgen/Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", str(manifest), "--target-dir", str(target)], check=True)
    return str(target / "release/loadgen")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def seeded():
    """A source of randomness whose seed is printed, so that a failure can be run again with SEED=…."""
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}", flush=True)
    return random.Random(seed)
