#!/usr/bin/env python3
"""The cost of replication: CPU seconds per million samples written, for one process and for clusters with replication factors 1 and 3 on this machine.

  cluster_cost.py [--hosts 50] [--steps 240] [--rounds 3]

Each round runs all three. Prints the medians. Fails only when samples are missing afterwards.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

from cluster_nodes import Cluster
from pharos import Checks, Pharos, check, loadgen
from scrape_cost import cpu_seconds

LAYOUT = {"meta": 1, "ingester": 3, "agent": 1, "store": 1, "frontend": 1}


def load(tool, push, read, args, end):
    shape = ["--hosts", str(args.hosts), "--steps", str(args.steps), "--end", str(end)]
    done = subprocess.run([tool, "write", "--url", f"{push}/api/v1/write", *shape], capture_output=True, text=True, timeout=900)
    check(done.returncode == 0, f"the writer failed: {done.stderr[-800:]}")
    written = json.loads(done.stdout)
    return written, ["verify", "--url", read, *shape]


def verify(tool, words):
    done = subprocess.run([tool, *words], capture_output=True, text=True, timeout=900)
    check(done.returncode == 0, f"{done.stdout[-400:]}{done.stderr[-400:]}")


def a_million(tool, processes, push, read, args):
    """CPU seconds per million samples, and samples per second."""
    end = int(time.time())
    before = sum(cpu_seconds(pid) for pid in processes)
    written, check_words = load(tool, push, read, args, end)
    used = sum(cpu_seconds(pid) for pid in processes) - before
    verify(tool, check_words)
    return used / written["samples"] * 1e6, written["samples_per_s"]


def single(tool, args):
    with tempfile.TemporaryDirectory(prefix="pharos-cost-") as folder:
        server = Pharos(f"{folder}/pharos", "scrape_configs: []\n")
        server.start()
        try:
            return a_million(tool, [server.process.pid], server.url, server.url, args)
        finally:
            server.stop()


def cluster(tool, args, factor):
    with tempfile.TemporaryDirectory(prefix="pharos-cost-") as folder, Cluster(folder, layout=LAYOUT, factor=factor, window="2h") as nodes:
        nodes.start()
        processes = [node.process.pid for node in nodes.nodes.values()]
        agent, frontend = nodes.of("agent")[0], nodes.of("frontend")[0]
        return a_million(tool, processes, agent.url, frontend.url, args)


def measure(args):
    tool, found = loadgen(), {"one process": [], "cluster, RF 1": [], "cluster, RF 3": []}
    for _ in range(args.rounds):
        found["one process"].append(single(tool, args))
        found["cluster, RF 1"].append(cluster(tool, args, 1))
        found["cluster, RF 3"].append(cluster(tool, args, 3))
    one = statistics.median(cpu for cpu, _ in found["cluster, RF 1"])
    print(f"{'':16}{'CPU s a million':>16}{'samples a s':>14}{'against RF 1':>14}")
    for name, rounds in found.items():
        cpu, rate = statistics.median(cpu for cpu, _ in rounds), statistics.median(rate for _, rate in rounds)
        print(f"{name:16}{cpu:16.2f}{rate:14.0f}{cpu / one:14.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    checks = Checks()
    checks.run("what replication costs", measure, args)
    checks.finish()


if __name__ == "__main__":
    main()
