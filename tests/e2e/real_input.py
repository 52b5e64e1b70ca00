#!/usr/bin/env python3
"""A real node_exporter, scraped every second by Pharos, with one-minute windows, and by Prometheus. Both must give the same answers.

  real_input.py [--minutes 10]

Asks both with `promtool query`. Values may differ by the moment of the scrape; sets of series and labels may not. All the while it asks
Pharos for what windows held that are over: moving from memory to blocks must change no answer.
Needs prometheus, promtool (in $PEERS) and prometheus-node-exporter.
"""
import argparse
import pathlib
import subprocess
import tempfile
import time

from pharos import Checks, Pharos, Service, check, free_port, peer, wait_for

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""

# Queries whose answers must have the same series in both; name, query.
QUERIES = [
    '{job="node"}', 'up', 'rate(node_cpu_seconds_total[1m])', 'sum by (mode) (rate(node_cpu_seconds_total[30s]))',
    'count by (__name__) ({job="node"})', 'node_memory_MemTotal_bytes', 'topk(3, node_filesystem_size_bytes)',
    'node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes', 'max_over_time(node_load1[1m])',
    'label_replace(node_uname_info, "short", "$1", "release", "(\\\\d+).*")', 'absent(nothing)',
    '1 - avg by (instance) (irate(node_cpu_seconds_total{mode="idle"}[10s]))', 'scrape_samples_scraped',
    'node_filesystem_avail_bytes{fstype!~"tmpfs|rootfs"} offset 20s', 'changes(node_boot_time_seconds[1m])',
]
# Queries whose values must be equal as well.
EXACT = ['count by (__name__) ({job="node"})', 'node_memory_MemTotal_bytes', 'up', 'node_boot_time_seconds',
         'scrape_samples_scraped', 'count({job="node"})']
# What must not change when a window moves to a block; % is the end of the window.
LASTING = ['count(count_over_time({job="node"}[1m] @ %))', 'sum(count_over_time({job="node"}[1m] @ %))',
           'sum(sum_over_time(node_cpu_seconds_total[1m] @ %))', 'sum(last_over_time({__name__=~"node_network.*"}[1m] @ %))']


def promtool(*args):
    done = subprocess.run([peer("promtool"), *args], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"promtool {' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


def series_of(text):
    """The series of a printed answer, without values."""
    return sorted(line.split(" =>")[0] for line in text.splitlines() if " =>" in line or line.startswith("{"))


def same(what, ours, theirs):
    missing, extra = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    check(not missing and not extra, f"{what}: missing {missing[:5]}, extra {extra[:5]}")
    check(len(ours) == len(theirs), f"{what}: {len(ours)} series here, {len(theirs)} there")


class Watch:
    """Records the first answer about each ended window and compares later ones with it."""

    def __init__(self, server, began):
        self.server, self.first, self.window, self.compared = server, {}, began // 60 * 60 + 120, 0

    def look(self):
        while self.window + 3 <= time.time():
            self.first[self.window] = self.ask(self.window)
            self.window += 60
        for window, answer in self.first.items():
            now = self.ask(window)
            check(now == answer, f"the window that ended at {window} changed: {answer} became {now}")
            self.compared += 1

    def ask(self, end):
        return [self.server.scalar(query.replace("%", str(end))) for query in LASTING]


def instant(ours, theirs, at):
    for query in QUERIES:
        a, b = (promtool("query", "instant", f"--time={at}", url, query) for url in (ours, theirs))
        same(query, series_of(a), series_of(b))
    for query in EXACT:
        a, b = (sorted(line.split(" @[")[0] for line in promtool("query", "instant", f"--time={at}", url, query).splitlines())
                for url in (ours, theirs))
        same(query, a, b)


def ranges(ours, theirs, start, end):
    for query in QUERIES:
        a, b = (promtool("query", "range", f"--start={start}", f"--end={end}", "--step=15s", url, query) for url in (ours, theirs))
        same(query, series_of(a), series_of(b))
    for query in EXACT:
        a, b = (promtool("query", "range", f"--start={start}", f"--end={end}", "--step=15s", url, query) for url in (ours, theirs))
        check(sorted(a.splitlines()) == sorted(b.splitlines()), f"{query}: other values:\n{a[:600]}\n{b[:600]}")


def metadata(ours, theirs, start, end):
    span = [f"--start={start}", f"--end={end}"]
    for matcher in ('{job="node"}', 'node_cpu_seconds_total{cpu="0"}', '{__name__=~"node_n.*",device!=""}'):
        a, b = (promtool("query", "series", *span, f"--match={matcher}", url).splitlines() for url in (ours, theirs))
        same(f"series {matcher}", a, b)
    for name in ("__name__", "job", "instance", "device", "mode", "nothing"):
        a, b = (promtool("query", "labels", *span, url, name).splitlines() for url in (ours, theirs))
        same(f"labels {name}", a, b)


def spacing(server, start, end):
    """Checks that `up` has one sample per second. Gaps are only allowed where the machine was slow."""
    stamps = [t for t, _ in server.query(f'up{{job="node"}}[{int(end - start)}s]', time=end)[0]["values"]]
    steps = [b - a for a, b in zip(stamps, stamps[1:])]
    check(min(steps) > 0.5, f"samples {min(steps)} s apart")
    late = [s for s in steps if s > 1.6]
    check(len(late) <= len(steps) / 50, f"{len(late)} of {len(steps)} gaps: {late[:10]}")


def check_metrics(server):
    text = server.get("/metrics")[1]
    done = subprocess.run([peer("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"promtool check metrics: {done.stdout}{done.stderr}")


def flushed(server, minutes):
    blocks, failures = server.metric("pharos_flush_blocks_total"), server.metric("pharos_flush_failures_total")
    check(blocks >= minutes - 2, f"{blocks} blocks in {minutes} minutes\n{server.tail()}")
    check(failures == 0, f"{failures} failed flushes")
    oldest = server.metric("pharos_store_blocks_queried_total")
    check(oldest > 0, "no query has read a block")


def restarted(server, watch):
    """Checks for the same answers after a restart, which replays the log."""
    server.stop()
    server.start()
    watch.look()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    checks, services = Checks(), []
    with tempfile.TemporaryDirectory(prefix="pharos-real-") as folder:
        exporter, prometheus = free_port(), free_port()
        config = CONFIG.format(port=exporter)
        (pathlib.Path(folder) / "prometheus.yml").write_text(config)
        try:
            services.append(Service(folder, "node_exporter", [
                peer("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{exporter}"], f"http://127.0.0.1:{exporter}").start())
            theirs = Service(folder, "prometheus", [
                peer("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus",
                f"--web.listen-address=127.0.0.1:{prometheus}"], f"http://127.0.0.1:{prometheus}").start("/-/ready")
            services.append(theirs)
            with Pharos(f"{folder}/pharos", config, "--storage.tsdb.min-block-duration=1m").start() as server:
                began = time.time()
                watch = Watch(server, int(began))

                def watched():
                    while time.time() < began + args.minutes * 60:
                        watch.look()
                        time.sleep(5)
                    print(f"     {watch.compared} answers about {len(watch.first)} windows compared", flush=True)

                checks.run("windows answer the same from memory and from blocks", watched)
                end = int(time.time()) - 5
                start = int(began) + 10
                checks.run("flushes happened", flushed, server, args.minutes)
                checks.run("promtool query instant", instant, server.url, theirs.url, end)
                checks.run("promtool query instant in the past", instant, server.url, theirs.url, start + 65)
                checks.run("promtool query range", ranges, server.url, theirs.url, start + 60, end)
                checks.run("promtool query series and labels", metadata, server.url, theirs.url, start, end)
                checks.run("one sample a second", spacing, server, start, end)
                checks.run("promtool check metrics", check_metrics, server)
                checks.run("the same after a restart", restarted, server, watch)
                checks.run("the target is up", wait_for, lambda: '"health":"up"' in server.get("/api/v1/targets")[1], 10, "not up")
        finally:
            for service in services:
                service.stop()
    checks.finish()


if __name__ == "__main__":
    main()
