#!/usr/bin/env python3
"""Targets move between agents without a missed or duplicate scrape: 200 targets every 5 seconds while agents are killed, added and drained.

  handoff.py [--minutes 10] [--targets 200]

What is looked at, by PromQL over the whole run: `up` of each target has one sample an interval; after a `kill -9` a target may miss one interval, after
anything else none; `count(up)` and `count(handoff_value)` at every second show that no series was marked stale but those of the targets that died and of
the one that was taken from the list.
"""
import argparse
import http.server
import json
import shutil
import tempfile
import threading
import time

from cluster_nodes import Cluster
from pharos import Checks, check, seeded, wait_for

INTERVAL = 5.0
SLACK = 1.0  # seconds that a scrape on a busy machine may be late
LAYOUT = {"meta": 3, "ingester": 3, "agent": 2, "store": 1, "frontend": 1}


class Targets:
    """All targets on one port, distinguished by path. `dead` targets close the connection."""

    def __init__(self, count):
        self.count, self.dead, self.hits = count, set(), {}
        targets = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                number = int(self.path.split("/")[2])
                targets.hits.setdefault(number, []).append(time.time())
                if number in targets.dead:
                    self.close_connection = True
                    return
                body = f"# TYPE handoff_value gauge\nhandoff_value {number}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def groups(self, gone=()):
        """The content of the discovery file."""
        port = self.server.server_address[1]
        return json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": {"__metrics_path__": f"/t/{n}/metrics", "instance": f"t-{n}"}}
                           for n in range(self.count) if n not in gone])


class Asked:
    """Queries about the run."""

    def __init__(self, node, start, end):
        self.node, self.start, self.end = node, start, end

    def samples(self, selector):
        """Raw samples by instance, as lists of (seconds, value)."""
        out, at = {}, self.start
        while at < self.end:
            stop = min(at + 120, self.end)
            for one in self.node.query(f"{selector}[{round((stop - at) * 1000)}ms]", time=f"{stop:.3f}"):
                out.setdefault(one["metric"]["instance"], []).extend((t, float(v)) for t, v in one["values"])
            at = stop
        return out

    def steps(self, expression):
        """A range query at every second, as (second, value). Steps without a result are 0."""
        found = {}
        at = int(self.start)
        while at < self.end:
            stop = min(at + 600, int(self.end))
            status, body = self.node.get("/api/v1/query_range", query=expression, start=at, end=stop, step=1)
            check(status == 200, f"{expression}: {status} {body[:500]}")
            for one in json.loads(body)["data"]["result"]:
                found.update({int(t): float(v) for t, v in one["values"]})
            at = stop + 1
        return [(second, found.get(second, 0.0)) for second in range(int(self.start), int(self.end))]


class Run:
    """The cluster, its targets and a record of what was done when."""

    def __init__(self, cluster, targets, rng):
        self.cluster, self.targets, self.rng, self.events = cluster, targets, rng, []

    def note(self, kind, what):
        self.events.append((time.time(), kind))
        print(f"     {time.strftime('%H:%M:%S')} {kind}: {what}", flush=True)

    def kill(self):
        node = self.rng.choice(self.cluster.of("agent"))
        self.note("kill", node.name)
        node.stopped_by_test = True
        node.kill()
        self.away = node

    def back(self):
        self.note("return", self.away.name)
        self.away.start()
        self.away.stopped_by_test = False

    def add(self):
        node = self.cluster.add("agent")
        self.note("add", node.name)

    def drain(self):
        """Stops an agent with SIGTERM. It hands its targets over before it exits."""
        node = self.rng.choice(self.cluster.of("agent"))
        self.note("drain", node.name)
        node.stopped_by_test = True
        took = node.terminate()
        print(f"     {node.name} ended after {took:.1f} s", flush=True)
        self.away = node

    def all(self, minutes):
        """Kills, restarts, adds and drains agents until the time is over, with a few intervals in between."""
        until = time.monotonic() + minutes * 60
        steps = [self.kill, self.back, self.drain, self.back]
        number = 0
        while time.monotonic() < until:
            if number == 4:
                self.add()
            else:
                steps[(number if number < 4 else number - 1) % 4]()
            number += 1
            time.sleep(self.rng.uniform(4, 6) * INTERVAL)


def intervals(run, asked, dead):
    """Checks for one sample per interval: no two are closer than half an interval, and at most one is missing after a kill."""
    found = asked.samples('up{job="handoff"}')
    check(len(found) == run.targets.count, f"{len(found)} targets of {run.targets.count} have samples")
    kills = [at for at, kind in run.events if kind == "kill"]
    twice, missed, after_kill, down = [], [], 0, []
    for instance, samples in found.items():
        if instance not in dead:
            down += [(instance, t) for t, value in samples if value != 1]
        times = sorted(t for t, _ in samples)
        for earlier, later in zip(times, times[1:]):
            distance = later - earlier
            if distance < INTERVAL / 2:
                twice.append((instance, earlier, later))
            killed = any(earlier - INTERVAL <= at <= later for at in kills)
            if distance > INTERVAL * 1.5 and killed:
                after_kill += 1
            if distance > INTERVAL * (2 if killed else 1) + SLACK:
                missed.append((instance, earlier, round(distance, 2), "kill" if killed else "no kill"))
    print(f"     {sum(map(len, found.values()))} samples of up; {after_kill} intervals missed after {len(kills)} kills of {run.targets.count} targets", flush=True)
    check(not twice, f"scraped twice in an interval: {len(twice)} times, such as {twice[:5]}")
    check(not missed, f"intervals missed: {len(missed)}, such as {sorted(missed, key=lambda m: -m[2])[:8]}; events {readable(run.events)}")
    check(not down, f"a living target was down: {len(down)} samples, such as {down[:5]}")


def counted(run, asked):
    """Checks the user's view: count_over_time over a minute is 12, or 13 depending on the edges, or 11 after a kill."""
    low = asked.node.scalar(f'min(min_over_time(count_over_time(up{{job="handoff"}}[1m])[{round(asked.end - asked.start) - 65}s:5s]))', time=asked.end)
    high = asked.node.scalar(f'max(max_over_time(count_over_time(up{{job="handoff"}}[1m])[{round(asked.end - asked.start) - 65}s:5s]))', time=asked.end)
    print(f"     count_over_time(up[1m]) is between {low:.0f} and {high:.0f}", flush=True)
    check(high <= 13, f"count_over_time(up[1m]) goes up to {high}")
    check(low >= 10, f"count_over_time(up[1m]) goes down to {low}")


def stale(run, asked, died, gone):
    """Checks that a series is stale exactly from the moment when its target died or was removed."""
    total = run.targets.count
    for name, drops in (("up", [gone]), ("handoff_value", [died, gone])):
        wrong = []
        for second, value in asked.steps(f'count({name}{{job="handoff"}})'):
            expected = total - sum(number for at, number in drops if second > at)
            settling = any(at - 1 <= second <= at + 3 * INTERVAL for at, _ in drops)
            if value != expected and not settling:
                wrong.append((second, value, expected))
        check(not wrong, f"{name} had wrong stale markers: {len(wrong)} seconds, such as {wrong[:5]}; events {readable(run.events)}")


def readable(events):
    return [f"{kind} {at:.1f}" for at, kind in events]


def scenario(folder, minutes, count, rng, checks):
    targets = Targets(count)
    sd = f"{folder}/targets.json"
    write = lambda text: (open(sd + ".new", "w").write(text), shutil.move(sd + ".new", sd))
    write(targets.groups())
    config = (f"global: {{scrape_interval: {INTERVAL:.0f}s, scrape_timeout: 4s}}\n"
              f"scrape_configs: [{{job_name: handoff, file_sd_configs: [{{files: ['{sd}'], refresh_interval: 5s}}]}}]\n"
              f"object_store: {{type: filesystem, directory: {folder}/bucket}}\n")
    with Cluster(folder, LAYOUT, config=config) as cluster:
        cluster.start()
        frontend = cluster["frontend-1"]
        wait_for(lambda: frontend.scalar('count(up{job="handoff"})') == count, 60, "not all targets are scraped")
        time.sleep(2 * INTERVAL)
        start = time.time()
        run = Run(cluster, targets, rng)
        run.all(minutes)
        cluster.settle()
        # A tenth of the targets die, and one leaves the list.
        targets.dead = set(range(0, count, 10))
        died = (time.time(), len(targets.dead))
        time.sleep(4 * INTERVAL)
        end = time.time()
        write(targets.groups(gone={1}))
        gone = (time.time(), 1)
        wait_for(lambda: frontend.scalar('count(up{job="handoff"})') == count - 1, 60, "the target that left the list is not stale")
        time.sleep(3 * INTERVAL)
        asked = Asked(frontend, start, end)
        checks.run("one sample an interval", intervals, run, asked, {f"t-{n}" for n in targets.dead})
        checks.run("count_over_time", counted, run, asked)
        checks.run("stale markers", stale, run, Asked(frontend, start, time.time() - 2), died, gone)
        checks.run("no panic", lambda: check(not cluster.complaints(), str(cluster.complaints()[:5])))
        early = sum(later - earlier < INTERVAL / 2 for times in targets.hits.values() for earlier, later in zip(times, times[1:]))
        print(f"     targets were asked {sum(map(len, targets.hits.values()))} times, {early} times twice in an interval", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--targets", type=int, default=200)
    args = parser.parse_args()
    checks, rng, folder = Checks(), seeded(), tempfile.mkdtemp(prefix="pharos-handoff-")
    failed = True
    try:
        checks.run("targets move between agents", scenario, folder, args.minutes, args.targets, rng, checks)
        failed = checks.failed > 0
    finally:
        if failed:
            print(f"     logs and data are in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    checks.finish()


if __name__ == "__main__":
    main()
