"""Helpers of the end-to-end checks: start real processes and talk to them. Standard library only."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
BINARY = os.environ.get("PHAROS", str(RELEASE / "pharos"))


class Skipped(Exception):
    """The check cannot run here. The text says why."""


class Checks:
    """Runs named checks, prints each outcome and a summary: `N passed, M failed`."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0
        # A timeout must still stop what was started and unmount what was mounted.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))

    def run(self, name, function, *args):
        """Runs one check. It passes when the function returns. An exception is printed, and the next check runs."""
        began = time.monotonic()
        try:
            function(*args)
        except Skipped as reason:
            self.skipped += 1
            print(f"skip {name}: {reason}", flush=True)
            return
        except Exception as error:  # any failure of a check is a result, not the end of the script
            self.failed += 1
            print(f"FAIL {name}: {error}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            return
        self.passed += 1
        print(f"ok   {name} ({time.monotonic() - began:.1f} s)", flush=True)

    def finish(self):
        """Prints the summary and exits, with code 1 if a check failed."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        sys.exit(1 if self.failed else 0)


class Service:
    """Another server (Prometheus, an S3 server, an exporter) as a process with a log file. It can be restarted."""

    def __init__(self, folder, name, command, url, env=None):
        self.command, self.url, self.env = [str(part) for part in command], url, {**os.environ, **(env or {})}
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.name, self.process = name, None

    def start(self, path="/", seconds=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env)
        wait_for(lambda: self.answers(path), seconds, f"{self.name} does not answer", self.log)
        return self

    def answers(self, path):
        check(self.process.poll() is None, f"{self.name} exited with {self.process.returncode}")
        try:
            return request(urllib.request.Request(self.url + path), 5)[0] < 500
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def peer(name):
    """The path of another project's program, from $PEERS (default ../peers) or the PATH."""
    folder = pathlib.Path(os.environ.get("PEERS", ROOT.parent / "peers"))
    for candidate in (folder / name, folder / "s3s/bin" / name, folder / "bin" / name):
        if candidate.is_file():
            return str(candidate)
    found = shutil.which(name)
    if not found:
        raise Skipped(f"{name} is not installed")
    return found


@contextlib.contextmanager
def tmpfs(folder, size):
    """Mounts a small file system in memory, whose size limits root, too. Skips the check where mounting is not allowed."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        raise Skipped("tmpfs cannot be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Pharos:
    """A server process with a data folder. It can be killed and restarted."""

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

    def command(self):
        return [BINARY, "server", f"--config.file={self.config}", f"--storage.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", *self.flags]

    def start(self, wait=True, seconds=120):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=log)
        if wait:
            self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=120):
        wait_for(lambda: self.alive() and self.is_ready(), seconds, f"{self.url} is not ready", self.log)

    def alive(self):
        """Returns True, or fails with the end of the log if the process is gone."""
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
        """Stops the process with SIGTERM and returns its exit code. Kills it after a timeout."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"pharos outlived SIGTERM by {seconds} s\n{self.tail()}") from None
        return self.process.returncode if self.process else None

    def logged(self, pattern):
        """Whether the log contains a match."""
        return re.search(pattern, self.log.read_text(errors="replace")) is not None

    def tail(self, size=4000):
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def get(self, path, **params):
        target = f"{self.url}{path}" + (("?" + urllib.parse.urlencode(params, doseq=True)) if params else "")
        return request(urllib.request.Request(target))

    def post(self, path, body=b"", headers=None, method="POST"):
        return request(urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method))

    def query(self, expression, **params):
        status, body = self.get("/api/v1/query", query=expression, **params)
        check(status == 200, f"{expression}: {status} {body[:1000]}")
        return json.loads(body)["data"]["result"]

    def scalar(self, expression, **params):
        """The value of a query with at most one series; 0 without one."""
        result = self.query(expression, **params)
        return float(result[0]["value"][1]) if result else 0.0

    def metric(self, name):
        """The sum of all series of one of the server's own metrics."""
        total, found = 0.0, False
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name) and line[len(name):len(name) + 1] in ("{", " "):
                total, found = total + float(line.rsplit(" ", 1)[1]), True
        check(found, f"no metric {name}")
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()


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
    """The path of the load generator: $LOADGEN, or bench/ built in release mode.

    Naming both packages gives the dependencies the features that the server's build has, so that none is compiled twice.
    """
    if "LOADGEN" in os.environ:
        return os.environ["LOADGEN"]
    build = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "pharos", "-p", "pharos-bench", "--bin", "loadgen"]
    subprocess.run(build, cwd=ROOT, check=True)
    return str(RELEASE / "loadgen")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def seeded():
    """A random generator. Prints its seed, so that SEED=… can repeat a failed run."""
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}", flush=True)
    return random.Random(seed)
