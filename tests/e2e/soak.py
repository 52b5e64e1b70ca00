#!/usr/bin/env python3
"""A soak: honest users beside hostile clients, in a cgroup of 512 MB.

    soak.py [--minutes 10] [--memory-mb 512] [--seed N] [--note FILE]

Honest users scrape, push and query, first alone (a tenth of the time), then beside hostile clients (soak/hostile.py) and a hostile
target, then alone again (a tenth), over as many samples as beside them. The server must live, must answer honest queries in the median
within twice the time that they take alone at the end, and must have every sample that it acknowledged. Needs root for the cgroup;
without one the resident memory is watched instead.
"""
import argparse
import http.server
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import pharos
import wire
from pharos import Pharos, check

HOSTILE = pathlib.Path(__file__).parent / "soak/hostile.py"
WIDE_SERIES = 4000
TARGETS = 5
QUERIES = [
    ("/api/v1/query", {"query": "count(up)"}),
    ("/api/v1/query", {"query": "sum by (job) (rate(honest_total[1m]))"}),
    ("/api/v1/query_range", {"query": "sum(honest_pushed)", "minutes": 5}),
    ("/api/v1/query_range", {"query": "avg by (job) (honest_total)", "minutes": 5}),
    ("/api/v1/labels", {}),
]


class Exporter(http.server.BaseHTTPRequestHandler):
    """Honest targets below `/honest`; below `/hostile` a protobuf body with a metric of 50,000 labels."""

    def do_GET(self):
        if self.path.startswith("/honest"):
            kind = "text/plain; version=0.0.4"
            body = "".join(f'honest_total{{i="{i}"}} {time.time():.0f}\n' for i in range(200)).encode()
        else:
            kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            labels = b"".join(wire.field(1, wire.field(1, b"l%d" % i) + wire.field(2, b"v")) for i in range(50_000))
            family = wire.field(1, b"hostile") + b"\x18\x01" + wire.field(4, labels)
            body = wire.varint(len(family)) + family
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Cgroup:
    """A cgroup with a limit on memory, of version 2 or 1; `None` where it cannot be made."""

    def __init__(self, folder, limit_file, usage_file):
        self.folder, self.limit_file, self.usage_file = folder, limit_file, usage_file

    @staticmethod
    def create(limit):
        name = f"pharos-soak-{os.getpid()}"
        for root, limit_file, usage_file in [("/sys/fs/cgroup", "memory.max", "memory.current"),
                                             ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")]:
            group = Cgroup(pathlib.Path(root) / name, limit_file, usage_file)
            try:
                group.folder.mkdir()
                # Opened for update, because elsewhere than in a file system of cgroups the file would be made.
                with open(group.folder / limit_file, "r+") as file:
                    file.write(str(limit))
                return group
            except OSError:
                group.remove()
        return None

    def run(self, command):
        """A command that enters the cgroup and becomes another one."""
        return ["sh", "-c", f"echo $$ > {self.folder}/cgroup.procs && exec \"$@\"", "sh", *command]

    def usage(self):
        return int((self.folder / self.usage_file).read_text())

    def remove(self):
        for _ in range(50):
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)


class SoakedPharos(Pharos):
    """A server inside of a cgroup."""

    group = None

    def command(self):
        command = super().command()
        return self.group.run(command) if self.group else command

    def status(self, key):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Pusher(threading.Thread):
    """Pushes a counter for each of some series and remembers what was acknowledged."""

    SERIES = 100

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.acknowledged, self.refused, self.running = server, 0, 0, True

    def run(self):
        while self.running:
            now, value = int(time.time() * 1000), float(self.acknowledged + 1)
            labels = lambda i: [("__name__", "honest_pushed"), ("i", str(i))]
            body = wire.snappy(b"".join(wire.series(labels(i), (value, now)) for i in range(self.SERIES)))
            while self.running:
                # A sender repeats what was not acknowledged, and what was perhaps written counts once.
                try:
                    status, _ = self.server.post("/api/v1/write", body, wire.HEADERS)
                except OSError:
                    status = 0
                if status in (200, 204):
                    self.acknowledged += 1
                    break
                self.refused += 1
                time.sleep(0.2)
            time.sleep(0.25)


class Reader(threading.Thread):
    """Asks honest queries one after the other and notes how long they take."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.times, self.failed, self.running = server, [], {}, True

    def run(self):
        while self.running:
            for path, params in QUERIES:
                params = dict(params)
                if "minutes" in params:
                    now = time.time()
                    params |= {"start": now - 60 * params.pop("minutes"), "end": now, "step": 5}
                began = time.monotonic()
                try:
                    status, _ = self.server.get(path, **params)
                except OSError as error:
                    status = type(error).__name__
                if status == 200:
                    self.times.append(time.monotonic() - began)
                else:
                    self.failed[status] = self.failed.get(status, 0) + 1
            time.sleep(0.1)


def fill_wide(server):
    """Many series for hostile queries to select."""
    for step in range(4):
        now = int(time.time() * 1000)
        rows = (wire.series([("__name__", "soak_wide"), ("i", f"{i:06}")], (float(i), now - step)) for i in range(WIDE_SERIES))
        status, body = server.post("/api/v1/write", wire.snappy(b"".join(rows)), wire.HEADERS)
        check(status in (200, 204), f"wide series: {status} {body}")
        time.sleep(0.05)


class Watch(threading.Thread):
    """Notes memory, threads and descriptors over time."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.rows, self.running, self.began = server, [], True, time.monotonic()

    def run(self):
        while self.running:
            try:
                group = self.server.group.usage() >> 20 if self.server.group else 0
                at = round(time.monotonic() - self.began)
                row = (at, self.server.status("VmRSS") >> 10, group, self.server.status("Threads"), self.server.descriptors())
                self.rows.append(row)
            except OSError:
                return
            time.sleep(1)


def ask(server, seconds):
    """The times of honest queries during some time, and those that failed."""
    readers = [Reader(server) for _ in range(2)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.alive():
        time.sleep(0.5)
    for reader in readers:
        reader.running = False
    for reader in readers:
        reader.join(60)
    failed = {}
    for reader in readers:
        for status, count in reader.failed.items():
            failed[status] = failed.get(status, 0) + count
    return [t for reader in readers for t in reader.times], failed


def config(port, with_hostile):
    honest = ", ".join(f"'127.0.0.1:{port}'" for _ in range(1))
    jobs = [f"- {{job_name: honest{n}, metrics_path: /honest/{n}, static_configs: [{{targets: [{honest}]}}]}}" for n in range(TARGETS)]
    if with_hostile:
        jobs.append(f"- {{job_name: hostile, metrics_path: /hostile, static_configs: [{{targets: [{honest}]}}]}}")
    return "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n" + "\n".join(jobs) + "\n"


def verify(server, pusher):
    """Every acknowledged value of every pushed series is there."""
    missing = []
    for attempt in range(60):
        status, body = server.get("/api/v1/query", query="honest_pushed[12h]")
        if status == 200:
            break
        time.sleep(1)
    check(status == 200, f"the pushed series cannot be read: {status} {body[:300]}")
    found = {row["metric"]["i"]: {float(v) for _, v in row["values"]} for row in json.loads(body)["data"]["result"]}
    for i in range(Pusher.SERIES):
        values = found.get(str(i), set())
        missing += [(i, n) for n in range(1, pusher.acknowledged + 1) if float(n) not in values]
    check(not missing, f"{len(missing)} acknowledged samples are missing, the first is {missing[:1]}")
    return pusher.acknowledged * Pusher.SERIES


def note(path, watch):
    lines = ["seconds\tresident MB\tcgroup MB\tthreads\tdescriptors"]
    lines += ["\t".join(str(value) for value in row) for row in watch.rows]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def soak(args, folder):
    exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    port = exporter.server_address[1]
    SoakedPharos.group = Cgroup.create(args.memory_mb << 20)
    server = SoakedPharos(folder, config(port, False), "--web.enable-lifecycle", *args.flag)
    clients = []
    try:
        server.start()
        fill_wide(server)
        pusher, watch = Pusher(server), Watch(server)
        pusher.start()
        watch.start()
        alone, failed_alone = ask(server, args.minutes * 60 / 10)
        server.config.write_text(config(port, True))
        check(server.post("/-/reload")[0] == 200, "the reload failed")
        sys.path.insert(0, str(HOSTILE.parent))
        import hostile
        for number, function in enumerate(hostile.CLIENTS):
            command = [sys.executable, HOSTILE, "127.0.0.1", str(server.port), str(args.seed + number), function.__name__]
            # The hostile clients share the machine with the server, which must not lack the CPU for it.
            clients.append(subprocess.Popen(["nice", "-n", "15", *map(str, command)], env={**os.environ, "HOSTILE_PAUSE": str(args.pause)}))
        beside, failed_beside = ask(server, args.minutes * 60 * 8 / 10)
        for client in clients:
            client.send_signal(signal.SIGKILL)
            client.wait()
        clients.clear()
        after, failed_after = ask(server, args.minutes * 60 / 10)
        pusher.running = False
        pusher.join(60)
        check(server.alive(), "the server is gone")
        samples = verify(server, pusher)
        watch.running = False
        if args.note:
            note(args.note, watch)
        usual, now = statistics.median(after), statistics.median(beside)
        peak = max(row[1] for row in watch.rows)
        shown = {"median alone at first ms": round(statistics.median(alone) * 1000, 1), "median alone at the end ms": round(usual * 1000, 1),
                 "median beside hostile clients ms": round(now * 1000, 1),
                 "worst ms": round(max(beside) * 1000), "queries": len(beside), "failed alone": [failed_alone, failed_after],
                 "failed beside": failed_beside, "acknowledged samples verified": samples, "pushes repeated": pusher.refused,
                 "peak resident MB": peak, "peak cgroup MB": max(row[2] for row in watch.rows), "resident MB at the end": watch.rows[-1][1],
                 "most threads": max(row[3] for row in watch.rows), "most descriptors": max(row[4] for row in watch.rows),
                 "refused memory": server.metric("pharos_request_memory_refused_total")}
        for key, value in shown.items():
            print(f"{key}: {value}", flush=True)
        check(server.group or peak <= args.memory_mb, f"{peak} MB resident")
        check(now <= 2 * usual, f"honest queries take {now / usual:.1f} times as long as usual")
    finally:
        for client in clients:
            client.kill()
        if server.process and server.process.poll() is None:
            server.kill()
        exporter.shutdown()
        if SoakedPharos.group:
            SoakedPharos.group.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two attacks of a client")
    parser.add_argument("--note", help="file for memory, threads and descriptors over time")
    parser.add_argument("--flag", action="append", default=[], help="a flag of the server")
    args = parser.parse_args()
    checks = pharos.Checks()
    with tempfile.TemporaryDirectory() as folder:
        checks.run("honest users beside hostile clients", soak, args, folder)
    checks.finish()


if __name__ == "__main__":
    main()
