#!/usr/bin/env python3
"""The cost of scraping: CPU time and memory of Pharos and Prometheus while both scrape the same targets.

  scrape_cost.py [--targets 500] [--interval 15] [--seconds 300] [--warmup 60]

Prints a table. Fails only when a target is not scraped. Needs prometheus in $PEERS.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))

from pharos import Checks, Pharos, Service, check, free_port, loadgen, peer, wait_for


def config(exporters, targets, interval):
    one = "  - targets: ['127.0.0.1:{port}']\n    labels: {{instance: 'host-{i}', __metrics_path__: '/host/{i}/metrics'}}\n"
    groups = "".join(one.format(port=exporters, i=i) for i in range(targets))
    return (f"global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\n"
            f"scrape_configs:\n- job_name: fleet\n  static_configs:\n{groups}")


def cpu_seconds(pid):
    """User and system time of a process in seconds."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def compare(args):
    with tempfile.TemporaryDirectory(prefix="pharos-scrape-") as folder:
        port, prometheus_port = free_port(), free_port()
        exporters = Service(folder, "exporters",
                            [loadgen(), "exporters", "--listen", f"127.0.0.1:{port}", "--interval", args.interval],
                            f"http://127.0.0.1:{port}").start("/host/0/metrics")
        text = config(port, args.targets, args.interval)
        server = Pharos(f"{folder}/pharos", text)
        prometheus_config = server.folder / "prometheus.yml"
        prometheus_config.write_text(text)
        prometheus = Service(folder, "prometheus",
                             [peer("prometheus"), f"--config.file={prometheus_config}", f"--storage.tsdb.path={folder}/tsdb",
                              f"--web.listen-address=127.0.0.1:{prometheus_port}", "--log.level=warn"],
                             f"http://127.0.0.1:{prometheus_port}")
        try:
            server.start()
            prometheus.start("/-/ready")
            pids = {"pharos": server.process.pid, "prometheus": prometheus.process.pid}
            time.sleep(args.warmup)
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            began = time.monotonic()
            time.sleep(args.seconds)
            took = time.monotonic() - began
            used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            wait_for(lambda: server.query("count(up == 1)")[0]["value"][1] == str(args.targets), 60, "targets are down", server.log)
            series = int(server.query("count({job=\"fleet\"})")[0]["value"][1])
            print(f"     {args.targets} targets, {series} series, every {args.interval} s, {took:.0f} s on {os.cpu_count()} cores")
            for name, pid in pids.items():
                per_million = used[name] / (series * took / args.interval) * 1e6
                print(f"     {name:<11} {used[name]:7.2f} CPU s, {per_million:5.2f} a million samples, {resident_mib(pid):6.0f} MiB")
            print("     " + json.dumps({"cpu_ratio": round(used["pharos"] / used["prometheus"], 3)}), flush=True)
            check(series >= args.targets * 400, f"only {series} series")
        finally:
            server.kill()
            prometheus.stop()
            exporters.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--interval", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--warmup", type=int, default=60)
    args = parser.parse_args()
    checks = Checks()
    checks.run("scraping beside Prometheus", compare, args)
    checks.finish()


if __name__ == "__main__":
    main()
