#!/usr/bin/env python3
"""Peak memory and time of queries over a long range, next to Prometheus.

  query_memory.py [--series 2000] [--hours 24] [--step 15] [--settle 30]

Both systems get the same counters by remote write, one system after the other, and run the same queries. Memory is the peak of the
process during a query, and its increase over the value before. Prints a table. Fails only when the sums differ. Needs Linux, and
prometheus in $PEERS.
"""
import argparse
import json
import os
import pathlib
import struct
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

import wire
from pharos import Checks, Pharos, Service, check, free_port, peer, request

QUERIES = [
    "sum by (code) (rate(http_requests_total[5m]))",
    "topk(5, rate(http_requests_total[5m]))",
    "sum(rate(http_requests_total[5m]) / on (pod) rate(http_requests_total[10m]))",
]
INTERVAL = 15
RATES = 11
# Series and times of a request.
BATCH = (200, 120)


def labels(i):
    return [("__name__", "http_requests_total"), ("code", ["200", "204", "400", "404", "500"][i % 5]),
            ("instance", f"10.0.0.{i // 100}:9100"), ("job", "api"), ("pod", f"api-{i}")]


def encoded(times):
    """The encoded samples at these times, for each rate."""
    def sample(rate, t):
        body = b"\x09" + struct.pack("<d", t // INTERVAL * (7.0 + rate)) + b"\x10" + wire.varint(t * 1000)
        return wire.field(2, body)
    return [b"".join(sample(rate, t) for t in times) for rate in range(RATES)]


def write(url, path, args, end):
    heads = [b"".join(wire.field(1, wire.field(1, n.encode()) + wire.field(2, v.encode())) for n, v in labels(i)) for i in range(args.series)]
    times = list(range(end - args.hours * 3600, end + 1, INTERVAL))
    for at in range(0, len(times), BATCH[1]):
        samples = encoded(times[at:at + BATCH[1]])
        for first in range(0, args.series, BATCH[0]):
            body = b"".join(wire.field(1, heads[i] + samples[i % RATES]) for i in range(first, min(args.series, first + BATCH[0])))
            status, text = request(urllib.request.Request(url + path, data=wire.snappy(body), headers=wire.HEADERS))
            check(status in (200, 204), f"write: {status} {text[:300]}")


def memory(pid, name):
    """A memory figure of a process in MiB."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def ask(url, pid, query, args, end):
    """Runs a query. Returns peak and growth of memory in MiB, seconds, and the sum of all values."""
    before = memory(pid, "VmRSS")
    with open(f"/proc/{pid}/clear_refs", "w") as refs:
        refs.write("5")
    target = urllib.parse.urlencode({"query": query, "start": end - args.hours * 3600, "end": end, "step": max(args.step, args.hours * 3600 // 11000 + 1)})
    began = time.monotonic()
    status, body = request(urllib.request.Request(f"{url}/api/v1/query_range?{target}"), 600)
    took = time.monotonic() - began
    peak = memory(pid, "VmHWM")
    check(status == 200, f"{query}: {status} {body[:300]}")
    result = json.loads(body)["data"]["result"]
    total = sum(float(value) for series in result for _, value in series["values"])
    return peak, peak - before, took, total


def measure(name, service, url, path, args, end):
    write(url, path, args, end)
    time.sleep(args.settle)
    figures = [ask(url, service.process.pid, query, args, end) for query in QUERIES]
    print(f"     {name:<11} resident afterwards {memory(service.process.pid, 'VmRSS'):7.0f} MiB", flush=True)
    return figures


def compare(args):
    end = int(time.time()) // INTERVAL * INTERVAL - 60
    found = {}
    with tempfile.TemporaryDirectory(prefix="pharos-memory-") as folder:
        port = free_port()
        server = Pharos(f"{folder}/pharos", None)
        prometheus_config = server.folder / "prometheus.yml"
        prometheus_config.write_text("global: {}\n")
        prometheus = Service(folder, "prometheus",
                             [peer("prometheus"), f"--config.file={prometheus_config}", f"--storage.tsdb.path={folder}/tsdb",
                              f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", "--web.enable-remote-write-receiver"],
                             f"http://127.0.0.1:{port}")
        try:
            server.start()
            found["pharos"] = measure("pharos", server, server.url, "/api/v1/write", args, end)
            server.stop()
            prometheus.start("/-/ready")
            found["prometheus"] = measure("prometheus", prometheus, prometheus.url, "/api/v1/write", args, end)
        finally:
            if server.process.poll() is None:
                server.kill()
            prometheus.stop()
    print(f"     {args.series} series, {args.hours} h, on {os.cpu_count()} cores; MiB at the peak (of which more than before), s")
    for at, query in enumerate(QUERIES):
        (peak, grew, took, total), (other_peak, other_grew, other_took, other_total) = found["pharos"][at], found["prometheus"][at]
        print(f"     {query}\n       pharos {peak:7.0f} ({grew:7.1f}) {took:6.2f}   prometheus {other_peak:7.0f} ({other_grew:7.1f}) {other_took:6.2f}"
              f"   ratio {peak / other_peak:.2f} ({grew / max(other_grew, 1):.2f})", flush=True)
        check(abs(total - other_total) <= 1e-9 * abs(total), f"{query}: the sums differ: {total} and {other_total}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--step", type=int, default=15)
    parser.add_argument("--settle", type=int, default=30)
    args = parser.parse_args()
    checks = Checks()
    checks.run("memory of queries over a long range beside Prometheus", compare, args)
    checks.finish()


if __name__ == "__main__":
    main()
