#!/usr/bin/env python3
"""Random PromQL over random data. Pharos must answer like Prometheus: the same bits, annotations and error texts.

  differential.py --queries 20000 --seed 1            # against a real Prometheus (in $PEERS)
  differential.py --record 1500 --seed 1              # writes the corpus: data, queries and Prometheus's answers
  differential.py --cluster --queries 20000 --seed 1  # one process against a cluster of three replicas, to the bit
  differential.py                                     # replays the corpus, needs no Prometheus

Series and queries are made from the seed (differential/data.py, grammar.py) and go to both servers by remote write. What differs is made
smaller and printed. Numbers may differ by 1e-12 of their size, where the order of additions is not defined; such queries are counted.
differential/known.jsonl holds differences that are explained.
"""
import argparse
import base64
import concurrent.futures
import contextlib
import gzip
import json
import pathlib
import random
import sys
import tempfile
import time

from cluster_nodes import Cluster
from pharos import Checks, Pharos, Service, check, free_port, peer
from wire import HEADERS, snappy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "differential"))
import data
import grammar
import started
from answers import Known, Server

HERE = pathlib.Path(__file__).resolve().parent / "differential"
CORPUS = HERE / "corpus.jsonl.gz"
FEATURES = ("promql-experimental-functions,promql-duration-expr,promql-delayed-name-removal,promql-extended-range-selectors,"
            "promql-binop-fill-modifiers")
PROMETHEUS_ONLY = ",st-storage,xor2-encoding,histograms-st-encoding,use-start-timestamps"
BATCH = 200  # queries a task
AGAIN = 12  # how often Prometheus is asked again, when the answers differ
RANDOM = "Prometheus itself answers differently each time: the order of series is that of a Go map"


@contextlib.contextmanager
def prometheus(folder, bodies):
    """Starts a Prometheus and loads the data."""
    port = free_port()
    config = pathlib.Path(folder) / "prometheus.yml"
    config.write_text("global: {}\n")
    service = Service(folder, "prometheus", [
        peer("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/prometheus", f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver", "--storage.tsdb.retention.time=100y", "--storage.tsdb.min-block-duration=24h",
        "--storage.tsdb.max-block-duration=24h", f"--enable-feature={FEATURES}{PROMETHEUS_ONLY}", "--log.level=warn"], f"http://127.0.0.1:{port}")
    try:
        service.start("/-/ready")
        yield loaded(service.url, bodies)
    finally:
        service.stop()


@contextlib.contextmanager
def pharos(folder, bodies):
    with Pharos(f"{folder}/pharos", "global: {}\nlimits: {max_future_time: 0s}\n", f"--enable-feature={FEATURES}").start() as server:
        yield loaded(server.url, bodies)


@contextlib.contextmanager
def cluster(folder, bodies):
    """Starts a cluster. Where its shards are placed is random."""
    folder = pathlib.Path(folder) / "cluster"
    folder.mkdir()
    config = f"object_store: {{type: filesystem, directory: {folder}/bucket}}\nlimits: {{max_future_time: 0s}}\n"
    layout = {"meta": 1, "ingester": 3, "agent": 1, "store": 1, "frontend": 1}
    with Cluster(folder, layout, config=config, flags=[f"--enable-feature={FEATURES}"], window="2h").start() as nodes:
        loaded(nodes["agent-1"].url, bodies)
        yield Server(nodes["frontend-1"].url)


def loaded(url, bodies):
    """Loads the data. The first body is OTLP, the others are remote write."""
    server = Server(url)
    for number, body in enumerate(bodies):
        if number == 0:
            status, reply = server.post("/api/v1/otlp/v1/metrics", body, {"Content-Type": "application/x-protobuf"})
        else:
            status, reply = server.post("/api/v1/write", snappy(body), HEADERS)
        check(status in (200, 204), f"{url}: {status} {reply[:500]}")
    return server


class Findings:
    """The result of comparing two servers."""

    def __init__(self):
        self.asked, self.near, self.failed, self.explained, self.different = 0, 0, 0, {}, []

    def show(self, limit):
        for text, params, found in self.different[:limit]:
            print(f"  {text}\n    {json.dumps(params)}\n    {found[:1500]}", flush=True)
        explained = "".join(f"\n     explained, {count}: {reason}" for reason, count in self.explained.items())
        print(f"     {self.asked} queries, {self.failed} with an error, {self.near} with numbers that are almost equal, {len(self.different)} differ{explained}", flush=True)


class Comparison:
    """Two servers with the same data."""

    def __init__(self, theirs, ours, known):
        self.theirs, self.ours, self.known = theirs, ours, known

    def ask(self, text, params):
        return self.theirs.ask(text, params), self.ours.ask(text, params)

    def differs(self, text, params):
        """The difference, unless it is a known one."""
        found, _ = self.known.difference(text, *self.ask(text, params))
        return found if found and not self.reason(text, params, found) else None

    def reason(self, text, params, found):
        """The known difference that matches, if any."""
        first = self.theirs.ask(text, params)
        if any(self.known.difference(text, first, self.theirs.ask(text, params))[0] for _ in range(AGAIN)):
            return RANDOM
        return self.known.reason(text, params, found)

    def smallest(self, tree, params, tries=400):
        """Reduces a query to a smaller one that still differs."""
        if "start" in params and tree.kind not in (grammar.MATRIX, grammar.STRING):
            for at in ("start", "end"):
                instant = {"time": params[at], **({"lookback_delta": params["lookback_delta"]} if "lookback_delta" in params else {})}
                if self.differs(str(tree), instant):
                    params = instant
                    break
        if "lookback_delta" in params:
            less = {k: v for k, v in params.items() if k != "lookback_delta"}
            params = less if self.differs(str(tree), less) else params
        improved = True
        while improved and tries > 0:
            improved = False
            for candidate in sorted(tree.smaller(), key=lambda t: len(str(t))):
                tries -= 1
                if len(str(candidate)) < len(str(tree)) and self.differs(str(candidate), params):
                    tree, improved = candidate, True
                    break
                if tries <= 0:
                    break
        return str(tree), params

    def run(self, seed, numbers, wild):
        """Compares queries. Each is determined by the seed and its number."""
        findings = Findings()
        for number in numbers:
            tree, params = grammar.query(random.Random(f"{seed}/{number}"), wild)
            text = str(tree)
            theirs, ours = self.ask(text, params)
            found, near = self.known.difference(text, theirs, ours)
            findings.asked += 1
            findings.near += near
            findings.failed += theirs[0] != 200
            reason = found and self.reason(text, params, found)
            if reason:
                findings.explained[reason] = findings.explained.get(reason, 0) + 1
            elif found:
                text, params = self.smallest(tree, params)
                found = self.differs(text, params)
                if found:
                    findings.different.append((text, params, found))
                else:
                    findings.explained[RANDOM] = findings.explained.get(RANDOM, 0) + 1
        return findings


def merged(parts):
    total = Findings()
    for part in parts:
        total.asked, total.near, total.failed = total.asked + part.asked, total.near + part.near, total.failed + part.failed
        total.different += part.different
        for reason, count in part.explained.items():
            total.explained[reason] = total.explained.get(reason, 0) + count
    return total


def bodies_of(seed):
    series = data.series(random.Random(f"data {seed}"))
    # Names of what comes first are the least, so that both servers have all series in the same order.
    return [started.request(random.Random(f"started {seed}")), *data.requests(series)]


def differential(args, seed):
    with tempfile.TemporaryDirectory(prefix="pharos-differential-") as folder:
        bodies = bodies_of(seed)
        # Nothing excuses a difference between a cluster and one process.
        other, known = (cluster, Known()) if args.cluster else (prometheus, Known(HERE / "known.jsonl"))
        with other(folder, bodies) as theirs, pharos(folder, bodies) as ours:
            comparison = Comparison(theirs, ours, known)
            ranges = [range(at, min(at + BATCH, args.queries)) for at in range(0, args.queries, BATCH)]
            with concurrent.futures.ThreadPoolExecutor(args.threads) as pool:
                findings = merged(pool.map(lambda numbers: comparison.run(seed, numbers, args.wild), ranges))
            findings.show(args.show)
            if args.failures:
                with open(args.failures, "a") as out:
                    for text, params, found in findings.different:
                        out.write(json.dumps({"seed": seed, "query": text, "params": params, "difference": found}, ensure_ascii=False) + "\n")
            check(not findings.different, f"{len(findings.different)} queries differ")
            check(not args.cluster or not findings.near, f"{findings.near} numbers of the cluster are only almost equal")


def record(args):
    """Records the corpus from Prometheus."""
    with tempfile.TemporaryDirectory(prefix="pharos-differential-") as folder:
        bodies = bodies_of(args.seed)
        with prometheus(folder, bodies) as theirs, gzip.GzipFile(CORPUS, "wb", 9, mtime=0) as out:
            known = Known(HERE / "known.jsonl")
            line = lambda item: out.write((json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n").encode())
            for body in bodies:
                line({"write": base64.b64encode(body).decode()})
            for number in range(args.record):
                tree, params = grammar.query(random.Random(f"{args.seed}/{number}"), args.wild)
                status, body = theirs.ask(str(tree), params)
                if any(known.difference(str(tree), (status, body), theirs.ask(str(tree), params))[0] for _ in range(3)):
                    continue
                line({"query": str(tree), "params": params, "status": status, "body": body.decode()})
    print(f"{CORPUS}: {CORPUS.stat().st_size} bytes")


def replay(args):
    """Compares Pharos with the recorded answers."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    bodies = [base64.b64decode(item["write"]) for item in items if "write" in item]
    known, findings = Known(HERE / "known.jsonl"), Findings()
    with tempfile.TemporaryDirectory(prefix="pharos-differential-") as folder, pharos(folder, bodies) as server:
        def one(item):
            theirs = item["status"], item["body"].encode()
            return item, theirs, known.difference(item["query"], theirs, server.ask(item["query"], item["params"]))
        with concurrent.futures.ThreadPoolExecutor(args.threads) as pool:
            for item, theirs, (found, near) in pool.map(one, [item for item in items if "query" in item]):
                findings.asked += 1
                findings.near += near
                findings.failed += theirs[0] != 200
                if found and not known.reason(item["query"], item["params"], found):
                    findings.different.append((item["query"], item["params"], found))
    findings.show(args.show)
    check(findings.asked > 0 and not findings.different, f"{len(findings.different)} of {findings.asked} queries differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, help="random queries a seed, against a real Prometheus or a cluster")
    parser.add_argument("--cluster", action="store_true", help="compare one process with a cluster instead of with Prometheus")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--wild", type=float, default=0.01, help="how often types are mistaken")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--show", type=int, default=20, help="differences to print")
    parser.add_argument("--failures", help="file to append differences to, as JSON")
    parser.add_argument("--record", type=int, metavar="QUERIES", help="write the corpus")
    args = parser.parse_args()
    if args.record:
        record(args)
        return
    checks = Checks()
    if args.queries:
        for seed in range(args.seed, args.seed + args.seeds):
            began = time.monotonic()
            checks.run(f"seed {seed}, {args.queries} queries", differential, args, seed)
    else:
        checks.run("the recorded answers of Prometheus", replay, args)
    checks.finish()


if __name__ == "__main__":
    main()
