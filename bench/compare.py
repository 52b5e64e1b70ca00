#!/usr/bin/env python3
"""Compares servers side by side: the cost of writing a fleet, and the time of queries over it.

  compare.py                                            # Pharos, and Prometheus and VictoriaMetrics if they are found
  compare.py --only before,after --pharos before=OLD --pharos after=NEW

Servers take turns: in each round every one of them starts alone on an empty folder, receives the same samples by remote write and answers the same
queries, so that a machine that drifts hurts all alike. Each figure is the median over the rounds. A ratio is the first server's figure divided by another's.
Peers are found in $PEERS (default ../peers), then in the PATH. A query whose number of series or sum differs by more than 1 % from the first server's is marked.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/e2e"))

from pharos import BINARY, Service, Skipped, free_port, loadgen, peer


def pharos(binary):
    return lambda folder, port: [binary, "server", f"--config.file={folder}/empty.yml", f"--storage.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]


def prometheus(binary):
    return lambda folder, port: [binary, f"--config.file={folder}/empty.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
                                 "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y"]


def victoriametrics(binary):
    return lambda folder, port: [binary, f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]


def servers(args):
    """The servers to compare: a name and what starts each."""
    known = {"pharos": pharos(BINARY)}
    for name, binary, start in [("prometheus", "prometheus", prometheus), ("victoriametrics", "victoria-metrics", victoriametrics)]:
        try:
            known[name] = start(peer(binary))
        except Skipped:
            pass
    for pair in args.pharos:
        name, _, binary = pair.partition("=")
        known[name] = pharos(binary)
    wanted = args.only.split(",") if args.only else list(known)
    for name in wanted:
        if name not in known:
            print(f"skipped: {name} is not installed", file=sys.stderr)
    return {name: known[name] for name in wanted if name in known}


def run(tool, *words):
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr[-800:]}")
    return done.stdout


def measure(tool, command, args):
    """One round of one server: its figures by name, and what each query returned."""
    with tempfile.TemporaryDirectory(prefix="pharos-compare-") as folder:
        pathlib.Path(folder, "empty.yml").write_text("global: {}\n")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        server = Service(folder, "server", command(folder, port), url).start("/metrics")
        try:
            end = int(time.time()) // 15 * 15
            write = json.loads(run(tool, "write", "--url", f"{url}/api/v1/write", "--hosts", args.hosts, "--steps", args.steps, "--end", end, "--pid", server.process.pid))
            time.sleep(3)  # Background work that the writes caused is not the queries' fault.
            rows = run(tool, "query", "--url", url, "--file", args.queries, "--end", end, "--range", args.range, "--repeat", args.repeat, "--nocache")
            answers = {row["name"]: row for row in map(json.loads, rows.splitlines())}
            disk = sum(file.stat().st_size for file in pathlib.Path(folder, "data").rglob("*") if file.is_file())
        finally:
            server.stop()
    figures = {
        "write: CPU, s/million": write["server_cpu_s_per_million"],
        "write: samples/s": write["samples_per_s"],
        "memory peak, B/series": write["server_rss_bytes_per_series"],
        "disk, B/sample": disk / write["samples"],
    }
    figures |= {f"{name}, ms": row["p50_ms"] for name, row in answers.items()}
    return figures, answers


def differs(mine, base):
    if mine["error"] or base["error"]:
        return mine["error"] or base["error"]
    same = mine["series"] == base["series"] and abs(mine["sum"] - base["sum"]) <= 0.01 * abs(base["sum"])
    return "" if same else "differs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=100, help="hosts of 432 series each")
    parser.add_argument("--steps", type=int, default=240, help="samples per series")
    parser.add_argument("--range", type=int, default=3600, help="seconds that a range query covers")
    parser.add_argument("--repeat", type=int, default=5, help="runs per query and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names of the servers to compare, separated by commas")
    parser.add_argument("--pharos", action="append", default=[], metavar="NAME=BINARY", help="another Pharos binary to compare")
    parser.add_argument("--queries", default=str(HERE / "queries.tsv"))
    parser.add_argument("--json", help="file for every figure of every round")
    args = parser.parse_args()
    tool, commands = loadgen(), servers(args)
    rounds = {name: [] for name in commands}
    for number in range(args.rounds):
        for name, command in commands.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            rounds[name].append(measure(tool, command, args))
    first, *others = rounds

    def median_ratio(figure, other):
        pairs = zip(rounds[first], rounds[other])
        return statistics.median(a[0][figure] / b[0][figure] if a[0][figure] and b[0][figure] else float("nan") for a, b in pairs)

    print(f"{'':28}" + "".join(f"{name:>16}" for name in rounds) + "".join(f"{'/ ' + name:>18}" for name in others))
    figures = list(rounds[first][0][0])
    for figure in figures:
        cells = "".join(f"{statistics.median(r[0][figure] or float('nan') for r in rounds[name]):>16.2f}" for name in rounds)
        ratios = "".join(f"{median_ratio(figure, other):>17.2f}x" for other in others)
        query = figure.removesuffix(", ms")
        notes = [f"{name}: {note}" for name in others if query in rounds[name][0][1] and (note := differs(rounds[name][0][1][query], rounds[first][0][1][query]))]
        print(f"{figure:28}{cells}{ratios}  {'; '.join(notes)}")
    for other in others:
        ratios = [median_ratio(figure, other) for figure in figures if figure.endswith(", ms")]
        print(f"queries, geometric mean {first} / {other}: {statistics.geometric_mean(ratios):.3f}x")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
