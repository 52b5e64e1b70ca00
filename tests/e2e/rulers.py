#!/usr/bin/env python3
"""Rule groups move between rulers without a missed or doubled evaluation, while rulers are drained, killed and started again.

  rulers.py [--groups 40] [--interval 5] [--rounds 1]

Each group records one series, and one of them has an alert that fires from the beginning. What is looked at, by PromQL over the whole run: each series has one sample an
interval; after a drain none is missing, after a kill those of a few seconds. The alert fires in every sample, and has been active since the same moment.
"""
import argparse
import tempfile
import time

from cluster_nodes import Cluster
from pharos import Checks, check, seeded, wait_for

LAYOUT = {"meta": 1, "ingester": 1, "store": 1, "ruler": 3, "frontend": 1}
# Until a killed ruler is missed and others own its groups, seconds: two of heartbeats, two of margin, and some for a busy machine.
TAKEN_OVER = 6


def config(cluster_folder, rules):
    return f"scrape_configs: []\nrule_files: [{rules}]\nobject_store: {{type: filesystem, directory: {cluster_folder}/bucket}}\n"


def rule_file(groups, interval):
    text = "groups:\n"
    for number in range(groups):
        text += f"- name: group-{number}\n  interval: {interval}s\n  rules:\n  - {{record: 'beat_{number}', expr: 'vector({number})'}}\n"
        text += f"  - {{alert: 'Always{number}', expr: 'vector(1) > 0', for: {interval}s}}\n"
    return text


class Run:
    def __init__(self, cluster, options, rng):
        self.cluster, self.options, self.rng, self.events = cluster, options, rng, []

    def note(self, kind, node):
        self.events.append((time.time(), kind))
        print(f"     {time.strftime('%H:%M:%S')} {kind}: {node.name}", flush=True)

    def all(self):
        frontend, interval = self.cluster["frontend-1"], self.options.interval
        # A range of two intervals: a group that is late by one interval needs no longer wait.
        wait_for(lambda: frontend.scalar('count(ALERTS{alertstate="firing"})') == self.options.groups, 12 * interval + 60, "not all alerts fire")
        self.began = time.time()
        for _ in range(self.options.rounds):
            for stop in (self.drain, self.kill):
                time.sleep(3 * interval)
                node = self.rng.choice(self.cluster.of("ruler"))
                stop(node)
                time.sleep(3 * interval)
                node.start()
                node.stopped_by_test = False
                self.note("return", node)
        time.sleep(3 * interval)
        self.ended = time.time()

    def drain(self, node):
        self.note("drain", node)
        node.stopped_by_test = True
        print(f"     {node.name} ended after {node.terminate():.1f} s", flush=True)

    def kill(self, node):
        self.note("kill", node)
        node.stopped_by_test = True
        node.kill()


def evaluations(run):
    interval, span = run.options.interval, round(run.ended - run.began)
    found = run.cluster["frontend-1"].query(f'{{__name__=~"beat_.*"}}[{span}s]', time=run.ended)
    check(len(found) == run.options.groups, f"{len(found)} of {run.options.groups} groups have samples")
    kills = [at for at, kind in run.events if kind == "kill"]
    twice, missed, after_kill = [], [], 0
    for series in found:
        times = [t for t, _ in series["values"]]
        for earlier, later in zip(times, times[1:]):
            gaps = round((later - earlier) / interval) - 1
            killed = any(earlier - interval <= at <= later for at in kills)
            after_kill += gaps if killed else 0
            if later - earlier < interval * 0.9:
                twice.append((series["metric"]["__name__"], earlier, later))
            if gaps > (TAKEN_OVER // interval + 1 if killed else 0):
                missed.append((series["metric"]["__name__"], earlier, gaps, "kill" if killed else "no kill"))
    print(f"     {sum(len(s['values']) for s in found)} evaluations; {after_kill} missed after {len(kills)} kills of {run.options.groups} groups", flush=True)
    check(not twice, f"evaluated twice: {twice[:5]}")
    check(not missed, f"missed: {len(missed)}, such as {missed[:8]}")


def alerts(run):
    span, frontend = round(run.ended - run.began), run.cluster["frontend-1"]
    pending = frontend.query(f'count_over_time(ALERTS{{alertstate="pending"}}[{span}s])', time=run.ended)
    check(not pending, f"firing alerts became pending: {pending[:3]}")
    moved = frontend.query(f'changes(ALERTS_FOR_STATE[{span}s]) > 0', time=run.ended)
    check(not moved, f"alerts began again: {moved[:3]}")


def shown(run):
    """Every node shows the groups of all rulers once."""
    status, body = run.cluster["meta-1"].get("/api/v1/rules", exclude_alerts="true")
    check(status == 200 and body.count('"file"') == run.options.groups, f"{status}: {body.count(chr(34) + 'file' + chr(34))} groups")
    owned = {node.name: node.metric("pharos_ruler_groups") for node in run.cluster.of("ruler")}
    print(f"     groups known by each ruler: {owned}", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--groups", type=int, default=40)
    options.add_argument("--interval", type=int, default=5)
    options.add_argument("--rounds", type=int, default=1)
    options = options.parse_args()
    checks, rng = Checks(), seeded()
    with tempfile.TemporaryDirectory() as folder:
        rules = f"{folder}/rules.yml"
        with open(rules, "w", encoding="utf-8") as file:
            file.write(rule_file(options.groups, options.interval))
        with Cluster(folder, LAYOUT, factor=1, config=config(folder, rules)) as cluster:
            cluster.start()
            run = Run(cluster, options, rng)
            checks.run("rulers come and go", run.all)
            for name, function in [("each evaluation took place once", evaluations), ("alerts fire on", alerts), ("all nodes show all groups", shown)]:
                checks.run(name, function, run)
            checks.run("no log has a complaint", lambda: check(not cluster.complaints(), cluster.complaints()[:5]))
    checks.finish()


if __name__ == "__main__":
    main()
