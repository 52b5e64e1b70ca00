#!/usr/bin/env python3
"""Failures of a cluster of real processes under load. No acknowledged sample is lost or duplicated, and every answer is right or an error.

  cluster.py --short                 what CI runs, under three minutes
  cluster.py                         all scenarios, most of an hour
  cluster.py --only wipe scale       some of them
  cluster.py --short --tls           with TLS between the nodes
  cluster.py --list

3 meta, 3 ingesters (replication factor 3), 2 agents, 2 stores, 1 frontend and 1 compactor, blocks of one minute, the object store is a folder. The load
generator writes all along, a probe counts the time without writes, a reader checks answers (cluster_load.py). Each scenario has a cluster of its own, and
ends with `loadgen verify`. The partition needs root (network namespaces); it is skipped without.
"""
import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time

from cluster_load import Load
from cluster_nodes import Bridge, Cluster, certificates, flushed, placements
from pharos import Checks, check, loadgen, seeded, wait_for

DOWN = 8  # seconds that a killed node stays away
STOPPED = 20  # seconds of SIGSTOP and of a partition


def report(load, what, since):
    writes, reads = load.gaps(since)
    print(f"     {what}: {writes:.2f} s without writes, {reads:.2f} s without reads", flush=True)
    return writes, reads


def a_while(cluster, load, _, since):
    wait_until(since + DOWN)
    load.wait_rounds(2)


def another_leads(cluster, load, old, since):
    """Waits until the other meta nodes have elected a leader."""
    wait_for(lambda: cluster.status()["meta"]["leader"] not in (None, old.identity), 60, "no other node of meta leads")
    print(f"     another leads meta {time.monotonic() - since:.2f} s after {old.name} was killed", flush=True)
    load.wait_rounds(2)


def kill_and_return(cluster, load, node, until=a_while):
    """Kills a node with SIGKILL, restarts it after a while, and reports what clients saw."""
    since = time.monotonic()
    gone(node)
    until(cluster, load, node, since)
    seen = report(load, f"kill -9 of {node.name}", since)
    back(node)
    took = cluster.settle()
    load.verify(last=15)
    print(f"     {node.name} is back and all is in sync {took:.1f} s after it was ready", flush=True)
    return seen


def wait_until(moment):
    time.sleep(max(0, moment - time.monotonic()))


def kill_each(cluster, load, rng):
    """SIGKILL of a node of every role in turn, including both the leader and a follower of meta."""
    gaps = []
    leader = cluster.meta_leader()
    other = rng.choice([node for node in cluster.of("meta") if node is not leader])
    for node in [leader, other, *(rng.choice(cluster.of(role)) for role in ("agent", "ingester", "ingester", "store", "frontend", "compactor"))]:
        writes, reads = kill_and_return(cluster, load, node)
        # One frontend only: without it there are no reads.
        gaps.append((node.name, writes, 0.0 if node.role == "frontend" else reads))
    worst = max(max(writes, reads) for _, writes, reads in gaps)
    print(f"     the longest time without writes or reads: {worst:.2f} s", flush=True)
    check(worst < 10, f"clients were without an answer for {worst:.1f} s: {gaps}")


def kill_all(cluster, load, rng):
    """SIGKILL of all processes at once, like a power failure."""
    load.wait_rounds(10)
    for node in cluster.nodes.values():
        node.stopped_by_test = True
        node.process.send_signal(signal.SIGKILL)
    for node in cluster.nodes.values():
        node.process.wait()
    for node in cluster.nodes.values():
        node.start(wait=False)
    for node in cluster.nodes.values():
        node.wait_ready()
        node.stopped_by_test = False
    print(f"     all is in sync {cluster.settle():.1f} s after the last was ready", flush=True)
    load.wait_rounds(5)


def sigstop(cluster, load, rng):
    """SIGSTOP for 20 seconds: the node hangs, but its connections stay open."""
    for node in (rng.choice(cluster.of("ingester")), cluster.meta_leader(), rng.choice(cluster.of("store")), cluster.of("agent")[0]):
        since = time.monotonic()
        node.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(since + STOPPED)
        finally:
            node.process.send_signal(signal.SIGCONT)
        load.wait_rounds(2)
        report(load, f"SIGSTOP of {node.name}", since)
        cluster.settle()
        load.verify(last=20)


def partition(cluster, load, rng):
    """A network partition isolates an ingester, twice. It keeps running, but must not answer with its stale samples."""
    node = cluster["ingester-2"]
    for _ in range(2):
        since = time.monotonic()
        cluster.network.cut(node.number)
        try:
            wait_until(since + STOPPED)
            load.wait_rounds(2)
            report(load, f"{node.name} is cut off", since)
        finally:
            cluster.network.heal(node.number)
        print(f"     all is in sync {cluster.settle():.1f} s after the network healed", flush=True)
        load.verify(last=20)


def wipe(cluster, load, rng):
    """An ingester loses its whole disk and returns with a new identity. Then it loses only its log and returns empty with the old identity."""
    load.wait_rounds(10)
    node = cluster["ingester-1"]
    old = node.identity
    gone(node)
    shutil.rmtree(node.folder / "data")
    load.wait_rounds(3)
    wait_for(lambda: cluster.members()[old]["state"] == "down", 60, "the wiped node is not seen to be down")
    cluster.command("remove", old)
    back(node)
    check(node.identity != old, "a wiped node has its old identity")
    print(f"     a new node has everything {cluster.settle():.1f} s after it was ready", flush=True)

    other = cluster["ingester-2"]
    gone(other)
    shutil.rmtree(other.folder / "data/wal")
    back(other)
    print(f"     one that lost its log has everything {cluster.settle():.1f} s after it was ready", flush=True)
    # Each of the two alone must have what only the third has known from the beginning: it goes, and then either of them.
    third = cluster["ingester-3"]
    gone(third)
    load.wait_rounds(3)
    for node in (cluster["ingester-1"], cluster["ingester-2"]):
        gone(node)
        # Writes wait for a second replica; what was acknowledged is read from the one that is left.
        wait_for(lambda: load.answers(), 30, "nothing is read from the ingester that is left")
        load.verify()
        back(node)
        wait_for(lambda: all(len(shard["inSync"]) >= 2 for shard in cluster.status()["shards"]), 60, "no second replica is in sync", node.log)
    back(third)
    cluster.settle()


def gone(node):
    node.stopped_by_test = True
    node.kill()


def back(node):
    node.start()
    node.stopped_by_test = False


def meta_leader_while_flushing(cluster, load, rng):
    """SIGKILL of the meta leader during the commit of blocks, for three windows in a row."""
    for _ in range(3):
        blocks = lambda: sum(node.metric("pharos_flush_blocks_total") for node in cluster.of("ingester"))
        before = blocks()
        leader = cluster.meta_leader()
        wait_for(lambda: blocks() > before, 150, "nothing is flushed")
        kill_and_return(cluster, load, leader, another_leads)
    flushed(cluster)


def no_majority(cluster, load, rng):
    """Two of three meta nodes are down. Reads and writes continue with the last view, and delayed flushes happen afterwards."""
    away = rng.sample(cluster.of("meta"), 2)
    since = time.monotonic()
    for node in away:
        gone(node)
    wait_until(since + 75)  # a window ends, and its blocks cannot be committed
    writes, reads = report(load, f"{away[0].name} and {away[1].name} are away", since)
    check(writes < 10 and reads < 10, f"{writes:.1f} s without writes, {reads:.1f} s without reads")
    load.verify(last=30)
    for node in away:
        node.start(wait=False)
    for node in away:
        node.wait_ready()
        node.stopped_by_test = False
    print(f"     all is in sync {cluster.settle():.1f} s after they were ready", flush=True)
    flushed(cluster)


def object_store_away(cluster, load, rng):
    """The object store is unavailable for three windows, because a file replaces its folder."""
    flushed(cluster)
    load.wait_rounds(5)
    aside = cluster.folder / "aside"
    since = time.monotonic()
    cluster.bucket.rename(aside)
    cluster.bucket.write_text("not a folder")
    failures = lambda: sum(node.metric("pharos_flush_failures_total") for node in cluster.of("ingester"))
    wait_for(lambda: failures() > 0, 150, "no failure of a flush is counted")
    wait_until(since + 200)
    writes, _ = report(load, "no object store for 200 s", since)
    check(writes < 10, f"{writes:.1f} s without writes")
    cluster.bucket.unlink()
    aside.rename(cluster.bucket)
    began = time.monotonic()
    flushed(cluster, 240)
    print(f"     what waited is shipped {time.monotonic() - began:.1f} s after the return", flush=True)
    load.verify()
    kill_and_return(cluster, load, rng.choice(cluster.of("ingester")))


def scale(cluster, load, rng):
    """Scales from 3 to 5 to 3 ingesters. Drains both original and new ones."""
    load.wait_rounds(10)
    for name in ("ingester-4", "ingester-5"):
        before = placements(cluster.status())
        began, ingesters = time.monotonic(), len(cluster.of("ingester"))
        node = cluster.add("ingester")
        wait_for(lambda: any(node.identity in shard["inSync"] for shard in cluster.status()["shards"]), 120, f"{name} gets no shard", node.log)
        balanced(cluster)
        after = placements(cluster.status())
        moved, share = len(after - before), len(after) / (ingesters + 1)
        print(f"     {name} joined: {moved} of {len(after)} replicas moved (its share is {share:.0f}), balanced and in sync after {time.monotonic() - began:.1f} s", flush=True)
        check(moved <= share * 1.1 + 1, f"{moved} replicas moved at a join, the share is {share:.0f}")
        load.verify(last=20)
    for name in ("ingester-1", "ingester-4"):
        since = time.monotonic()
        took = cluster.drain(cluster[name])
        print(f"     {name} drained in {took:.1f} s", flush=True)
        cluster.settle()
        report(load, f"drain and stop of {name}", since)
        load.verify(last=30)


def balanced(cluster, seconds=180):
    """Waits until the shards are balanced. No ingester may then have more than 1.25 times the mean number of replicas."""
    def is_balanced():
        status = cluster.status()
        return status["moves"] == 0 and not status["learning"] and not cluster.unsettled()
    wait_for(is_balanced, seconds, "the replicas are not balanced")
    held = [sum(node.identity in shard["inSync"] for shard in cluster.status()["shards"]) for node in cluster.of("ingester")]
    check(max(held) <= 1.25 * sum(held) / len(held), f"the ingesters hold {held} replicas")


def rolling(cluster, load, rng):
    """A rolling restart: every node stops gracefully and starts again, one at a time."""
    worst = 0.0
    for node in list(cluster.nodes.values()):
        since = time.monotonic()
        node.stopped_by_test = True
        took = node.terminate()
        node.start()
        node.stopped_by_test = False
        cluster.settle()
        writes, reads = load.gaps(since)
        print(f"     {node.name} stopped in {took:.1f} s; {writes:.2f} s without writes, {reads:.2f} s without reads", flush=True)
        worst = max(worst, writes)
    check(worst < 10, f"{worst:.1f} s without writes")
    load.verify()


def many_kills(cluster, load, rng):
    """SIGKILL of an ingester a dozen times. Measures how long writes and reads fail."""
    seen = [kill_and_return(cluster, load, rng.choice(cluster.of("ingester"))) for _ in range(12)]
    for what, times in zip(("writes", "reads"), zip(*seen)):
        ordered = sorted(times)
        print(f"     without {what}: median {ordered[len(ordered) // 2]:.2f} s, longest {ordered[-1]:.2f} s", flush=True)


def drain_many_series(cluster, load, rng):
    """Drains one of four ingesters, each of which holds about 100,000 series."""
    hosts = 134_000 // load.series
    cluster.add("ingester")
    balanced(cluster)
    shape = ["--first-host", "100000", "--hosts", str(hosts), "--steps", "4", "--interval", "5", "--end", str(int(time.time()) // 5 * 5)]
    agent, frontend = cluster.of("agent")[0], cluster.of("frontend")[0]
    done = subprocess.run([load.tool, "write", "--url", f"{agent.url}/api/v1/write", *shape], capture_output=True, text=True, timeout=300)
    check(done.returncode == 0, f"the writer failed: {done.stderr[-800:]}")
    node, since = cluster["ingester-1"], time.monotonic()
    series = node.metric("pharos_head_series")
    took = cluster.drain(node)
    cluster.settle()
    report(load, f"drain of {node.name} with {series:.0f} series took {took:.1f} s", since)
    done = subprocess.run([load.tool, "verify", "--url", frontend.url, *shape], capture_output=True, text=True, timeout=300)
    check(done.returncode == 0, f"{done.stdout}{done.stderr}")


def short(cluster, load, rng):
    """A two-minute run: kills an ingester and the meta leader, adds a node, drains one."""
    load.wait_rounds(3)
    kill_and_return(cluster, load, rng.choice(cluster.of("ingester")))
    kill_and_return(cluster, load, cluster.meta_leader())
    node = cluster.add("ingester")
    wait_for(lambda: any(node.identity in shard["inSync"] for shard in cluster.status()["shards"]), 60, "the new ingester gets no shard", node.log)
    print(f"     drained in {cluster.drain(cluster['ingester-1'], 90):.1f} s", flush=True)
    cluster.settle(60)


SCENARIOS = {
    "kill": kill_each,
    "power-cut": kill_all,
    "stop": sigstop,
    "partition": partition,
    "wipe": wipe,
    "meta-flush": meta_leader_while_flushing,
    "no-majority": no_majority,
    "object-store": object_store_away,
    "scale": scale,
    "rolling": rolling,
    "many-kills": many_kills,
    "many-series": drain_many_series,
}


def run(tool, rng, scenario, args):
    folder = tempfile.mkdtemp(prefix="pharos-cluster-")
    network = Bridge(apart=[15]) if scenario is partition else None  # 11 to 13 are meta, 14 is ingester-1
    done = False
    try:
        flags = certificates(folder) if args.tls else []
        with Cluster(folder, network=network, flags=flags) as cluster:
            cluster.start()
            with Load(cluster, tool) as load:
                load.wait_rounds(3)
                scenario(cluster, load, rng)
                load.check_workers()
                load.finish()
            check(not cluster.complaints(), f"in the logs: {cluster.complaints()[:5]}")
        done = True
    finally:
        if done and not args.keep:
            shutil.rmtree(folder)
        else:
            print(f"     logs and data are in {folder}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tls", action="store_true", help="nodes show each other certificates; needs openssl")
    parser.add_argument("--keep", action="store_true", help="keep logs and data also of what passes")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name:14}{body.__doc__.splitlines()[0]}" for name, body in SCENARIOS.items()))
        return
    os.environ.setdefault("RUST_BACKTRACE", "1")
    rng, tool, checks = seeded(), loadgen(), Checks()
    if args.short:
        checks.run("a short life of a cluster", run, tool, rng, short, args)
    else:
        for name in args.only or SCENARIOS:
            checks.run(name, run, tool, rng, SCENARIOS[name], args)
    checks.finish()


if __name__ == "__main__":
    main()
