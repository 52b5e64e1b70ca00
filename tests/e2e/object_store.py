#!/usr/bin/env python3
"""An object store that becomes unavailable and returns. Writes continue, flushes wait and log it, and nothing is lost. Runs on a folder and on S3.

  object_store.py [--only local|minio|s3s-fs] [--hosts 10]

local: the bucket is a tmpfs that becomes read-only, then a folder that is replaced by a file. minio, s3s-fs: real S3 servers (in $PEERS), stopped and started
again; then the server restarts without its catalogue, which it rebuilds from the bucket.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import wire
from pharos import Checks, Pharos, Service, check, free_port, loadgen, peer, tmpfs, wait_for

WINDOW = "--storage.tsdb.min-block-duration=1m"
KEY, SECRET, BUCKET = "pharoskey", "pharossecret", "blocks"


class Load:
    """Samples that the load generator writes and verifies."""

    def __init__(self, tool, server, hosts):
        self.tool, self.server, self.parts, self.hosts = tool, server, [], hosts

    def write(self):
        """Writes half an hour, up to now, of new hosts."""
        shape = ["--hosts", str(self.hosts), "--first-host", str(len(self.parts) * 1000), "--steps", "120", "--end", str(int(time.time()) // 15 * 15)]
        done = subprocess.run([self.tool, "write", "--url", f"{self.server.url}/api/v1/write", *shape], capture_output=True, text=True, timeout=120)
        check(done.returncode == 0, f"the writer failed: {done.stderr[-500:]}\n{self.server.tail()}")
        check('"retries":0' in done.stdout, f"writes were refused: {done.stdout}")
        self.parts.append(shape)

    def verify(self):
        for shape in self.parts:
            done = subprocess.run([self.tool, "verify", "--url", self.server.url, *shape], capture_output=True, text=True, timeout=120)
            check(done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.server.tail()}")


def flushed(server):
    """Waits until all ended windows are in blocks."""
    wait_for(lambda: server.metric("pharos_flush_blocks_total") > 0 and server.metric("pharos_flush_waiting_windows") == 0
             and all_old_are_shipped(server), 150, "windows wait to be shipped", server.log)


def all_old_are_shipped(server):
    """Whether all samples except those of the newest two minutes are in blocks."""
    # 120 steps of 15 s: 30 minutes, of which at most two may be open or settling.
    shipped, taken = server.metric("pharos_flush_samples_total"), server.metric("pharos_head_samples_appended_total") + server.metric("pharos_head_replayed_samples_total")
    return shipped >= taken * 0.9


def away_and_back(server, load, take_away, bring_back):
    load.write()
    flushed(server)
    load.verify()
    failures = server.metric("pharos_flush_failures_total")
    take_away()
    load.write()
    wait_for(lambda: server.metric("pharos_flush_failures_total") > failures + 1, 90, "no failure is counted", server.log)
    check(server.logged("flush failed; samples stay in memory"), "the log does not report the failed flush")
    check(server.get("/-/ready")[0] == 200, "not ready")
    now = int(time.time() * 1000)
    status, text = server.post("/api/v1/write", wire.snappy(wire.series([("__name__", "while_away")], (1, now))), wire.HEADERS)
    check(status == 204, f"a write gets {status}: {text}")
    check(server.scalar("while_away", time=now / 1000) == 1, "a new sample is not found")
    blocks = server.metric("pharos_flush_blocks_total")
    bring_back()
    wait_for(lambda: server.metric("pharos_flush_blocks_total") > blocks, 120, "nothing is shipped after the return", server.log)
    flushed(server)
    load.verify()
    server.kill()
    server.start()
    load.verify()


def read_only(folder, tool, hosts):
    with tmpfs(f"{folder}/bucket", "200m") as bucket:
        config = f"scrape_configs: []\nobject_store: {{type: filesystem, directory: {bucket}}}\n"
        with Pharos(f"{folder}/server", config, WINDOW).start() as server:
            remount = lambda mode: subprocess.run(["mount", "-o", f"remount,{mode}", bucket], check=True)
            away_and_back(server, Load(tool, server, hosts), lambda: remount("ro"), lambda: remount("rw"))


def replaced(folder, tool, hosts):
    bucket, aside = pathlib.Path(folder) / "bucket", pathlib.Path(folder) / "aside"
    config = f"scrape_configs: []\nobject_store: {{type: filesystem, directory: {bucket}}}\n"

    def take_away():
        bucket.rename(aside)
        bucket.write_text("not a folder")

    def bring_back():
        bucket.unlink()
        aside.rename(bucket)

    with Pharos(f"{folder}/server", config, WINDOW).start() as server:
        away_and_back(server, Load(tool, server, hosts), take_away, bring_back)


def still_remembered(folder, *_):
    """The bucket becomes unavailable after a flush. Queries over flushed windows are answered from memory during the grace period, even after a restart."""
    bucket = pathlib.Path(folder) / "bucket"
    config = f"scrape_configs: []\nobject_store: {{type: filesystem, directory: {bucket}}}\n"
    # Windows of four minutes are remembered for two more.
    with Pharos(f"{folder}/server", config, "--storage.tsdb.min-block-duration=4m", "--query.timeout=10s").start() as server:
        at = int(time.time()) // 240 * 240 - 1200
        body = b"".join(wire.series([("__name__", "remembered"), ("n", str(n))], *((n, (at + 15 * i) * 1000) for i in range(60))) for n in range(50))
        status, text = server.post("/api/v1/write", wire.snappy(body), wire.HEADERS)
        check(status == 204, f"a write gets {status}: {text}")
        flushed(server)
        bucket.rename(f"{folder}/aside")
        bucket.write_text("not a folder")
        count = lambda: server.scalar("sum(count_over_time(remembered[20m]))", time=at + 900)
        check(count() == 3000, f"{count()} of 3000 samples")
        status, names = server.get(f"/api/v1/label/n/values?start={at}&end={at + 900}")
        check(status == 200 and len(json.loads(names)["data"]) == 50, f"{status} {names}")
        server.kill()
        # At startup, a file in place of the folder is a configuration error. A missing folder is created.
        bucket.unlink()
        server.start()
        check(count() == 3000, f"{count()} of 3000 samples after a restart")


def two_servers(folder, *_):
    """A second server on the same bucket refuses to start and names the owner. It can take the bucket over."""
    bucket = pathlib.Path(folder) / "bucket"
    config = f"scrape_configs: []\nobject_store: {{type: filesystem, directory: {bucket}}}\n"
    with Pharos(f"{folder}/first", config).start() as first:
        mine = (first.folder / "data/node-id").read_text()
        second = Pharos(f"{folder}/second", config)
        code, said = refusal(second)
        check(code != 0 and mine in said and (second.folder / "data/node-id").read_text() in said and "--storage.take-over-bucket" in said, f"{code}: {said[-800:]}")
        first.stop()
        first.start()
        first.stop()
        second.flags.append("--storage.take-over-bucket")
        with second.start():
            second.stop()
        code, said = refusal(first)
        check(code != 0 and "belongs to server" in said, f"{code}: {said[-800:]}")


def refusal(server):
    """Starts a server that must fail to start. Returns its exit code and log."""
    done = subprocess.run(server.command(), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def head_limit(folder, *_):
    """While the bucket is unavailable, memory fills up to its limit, and then writes get 429. Once it returns, writes work again and nothing is lost."""
    bucket = pathlib.Path(folder) / "bucket"
    config = f"scrape_configs: []\nlimits: {{max_head_memory: 30MiB}}\nobject_store: {{type: filesystem, directory: {bucket}}}\n"
    with Pharos(f"{folder}/server", config, WINDOW).start() as server:
        shutil.rmtree(bucket)
        bucket.write_text("not a folder")
        at = int(time.time()) // 60 * 60 - 1200

        def write(part):
            body = b"".join(wire.series([("__name__", "filling"), ("part", str(part)), ("n", f"{n:0100}")], (part, at * 1000)) for n in range(1000))
            return server.post("/api/v1/write", wire.snappy(body), wire.HEADERS)

        taken = 0
        while taken < 1000 and (answer := write(taken))[0] == 204:
            taken += 1
        status, text = answer
        check(status == 429 and "memory" in text, f"after {taken} requests: {status} {text}")
        count = lambda: server.scalar("count(last_over_time(filling[5m]))", time=at + 30)
        check(count() == taken * 1000, f"{count()} of {taken * 1000} samples")
        check(server.metric("pharos_head_refused_writes_total") > 0, "the refusal is not counted")
        bucket.unlink()
        wait_for(lambda: write(taken)[0] == 204, 120, "writes are still refused", server.log)
        check(count() == (taken + 1) * 1000, f"{count()} of {(taken + 1) * 1000} samples")
        print(f"     {taken} requests of 1,000 series until {text.strip()[:120]}", flush=True)


def minio(folder):
    port, data = free_port(), pathlib.Path(folder) / "objects"
    (data / BUCKET).mkdir(parents=True)
    return Service(folder, "minio", [peer("minio"), "server", data, "--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{free_port()}"],
                   f"http://127.0.0.1:{port}", {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}), data


def s3s_fs(folder):
    port, data = free_port(), pathlib.Path(folder) / "objects"
    (data / BUCKET).mkdir(parents=True)
    return Service(folder, "s3s-fs", [peer("s3s-fs"), "--host", "127.0.0.1", "--port", str(port), "--access-key", KEY, "--secret-key", SECRET, data],
                   f"http://127.0.0.1:{port}"), data


def s3(folder, tool, hosts, kind):
    service, data = kind(folder)
    service.start()
    config = (f"scrape_configs: []\nobject_store: {{type: s3, bucket: {BUCKET}, endpoint: '{service.url}', access_key: {KEY}, secret_key: {SECRET}, "
              "prefix: some/where, max_retries: 1, timeout_seconds: 10}\n")
    try:
        with Pharos(f"{folder}/server", config, WINDOW).start() as server:
            load = Load(tool, server, hosts)
            away_and_back(server, load, service.stop, service.start)
            check(any((data / BUCKET / "some/where").rglob("data.parquet*")), "no block below the prefix of the bucket")
            code, said = refusal(Pharos(f"{folder}/second", config))
            check(code != 0 and "belongs to server" in said, f"a second server on the bucket: {code}: {said[-800:]}")
            check(not (server.folder / "data/bucket").exists() or not any((server.folder / "data/bucket").rglob("*.parquet")), "blocks are on the local disk")
            # All is in blocks and dropped from memory but the newest: without a catalogue the bucket tells what there is.
            server.stop()
            for file in (server.folder / "data/meta").iterdir():
                file.unlink()
            server.start()
            check(server.logged("rebuilt from the blocks"), f"nothing about rebuilding\n{server.tail()}")
            load.verify()
            check(server.metric("pharos_object_store_requests_total") > 0, "no request to the object store")
    finally:
        service.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["local", "minio", "s3s-fs"])
    parser.add_argument("--hosts", type=int, default=10)
    args = parser.parse_args()
    checks, tool = Checks(), loadgen()

    def run(part, name, body, *rest):
        def within():
            with tempfile.TemporaryDirectory(prefix="pharos-store-") as folder:
                body(folder, tool, args.hosts, *rest)
        if args.only in (None, part):
            checks.run(name, within)

    run("local", "a bucket that becomes read-only", read_only)
    run("local", "a bucket that is replaced by a file", replaced)
    run("local", "a bucket that is away after flushing", still_remembered)
    run("local", "two servers on one bucket", two_servers)
    run("local", "memory's limit while the bucket is away", head_limit)
    run("minio", "S3 of MinIO stops and comes back", s3, minio)
    run("s3s-fs", "S3 of s3s-fs stops and comes back", s3, s3s_fs)
    checks.finish()


if __name__ == "__main__":
    main()
