#!/usr/bin/env python3
"""A full disk under the write-ahead log. Writes are refused, no acknowledged sample is lost, and writes work again once there is space.

  full_disk.py [--size 48m]

The data folder is a small tmpfs, which limits root too. The load generator sends everything that was refused again, so that in the end
all samples must be there once.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import wire
from pharos import Checks, Pharos, check, loadgen, tmpfs, wait_for


def fill(path):
    """Fills the disk."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue


def probe(server, number):
    """Writes one sample. Returns status and body."""
    body = wire.snappy(wire.series([("__name__", "probe"), ("n", str(number))], (number, int(time.time() * 1000))))
    return server.post("/api/v1/write", body, wire.HEADERS)


def full(folder, tool):
    server = Pharos(folder, None).start()
    with server:
        end = int(time.time()) // 15 * 15
        shape = ["--hosts", "10", "--steps", "120", "--end", str(end)]
        before = subprocess.run([tool, "write", "--url", f"{server.url}/api/v1/write", *shape], capture_output=True, text=True)
        check(before.returncode == 0, before.stderr[-500:])

        ballast = pathlib.Path(folder) / "data/ballast"
        fill(ballast)
        refused, acknowledged = [], []
        for number in range(4000):
            status, text = probe(server, number)
            (acknowledged if status // 100 == 2 else refused).append((number, status, text))
            if len(refused) == 5:
                break
        check(refused, "every write was acknowledged on a full disk")
        check(all(status in (429, 503) for _, status, _ in refused), f"refused with {refused}")
        check(any(word in refused[0][2].lower() for word in ("space", "disk", "log")), f"the message does not say why: {refused[0][2]}")
        wait_for(lambda: server.logged("write-ahead log"), 5, "the log says nothing", server.log)
        check(server.metric("pharos_wal_failures_total") > 0, "no failure is counted")
        check(server.get("/-/healthy")[0] == 200, "not healthy")
        # A refused sample may show too: it is in memory and becomes durable when there is space, or is sent again.
        check(server.scalar("count(probe)") >= len(acknowledged), "queries do not show what was acknowledged")
        print(f"     {len(acknowledged)} writes fitted in, then {refused[0][1]}: {refused[0][2].strip()[:150]}", flush=True)

        more = ["--hosts", "5", "--first-host", "100", "--steps", "60", "--end", str(end)]
        writer = subprocess.Popen([tool, "write", "--url", f"{server.url}/api/v1/write", *more],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(2)
            check(writer.poll() is None, "the writer ended on a full disk")
            os.unlink(ballast)
            out, err = writer.communicate(timeout=60)
        finally:
            writer.kill()
        check(writer.returncode == 0, f"no writes after there was space again: {err[-500:]}\n{server.tail()}")
        check(json.loads(out)["retries"] > 0, "the writer was never refused")
        wait_for(lambda: probe(server, 10_000)[0] == 204, 10, "writes are still refused", server.log)

        for what in ("without a restart", "after kill -9"):
            for part in (shape, more):
                done = subprocess.run([tool, "verify", "--url", server.url, *part], capture_output=True, text=True)
                check(done.returncode == 0, f"{what}: {done.stdout}{done.stderr}\n{server.tail()}")
            found = {int(r["metric"]["n"]) for r in server.query("last_over_time(probe[1h])")}
            lost = {n for n, _, _ in acknowledged} - found
            check(not lost, f"{what}: acknowledged and lost: {sorted(lost)[:10]}")
            if what == "without a restart":
                server.kill()
                server.start()


def full_from_the_start(folder):
    """A restart on a full disk works or reports why it fails. With free space it works."""
    server = Pharos(folder, None).start()
    with server:
        check(probe(server, 1)[0] == 204, "the first write is refused")
        server.stop()
        ballast = pathlib.Path(folder) / "data/ballast"
        fill(ballast)
        server.start(wait=False)
        try:
            wait_for(lambda: server.process.poll() is not None or server.is_ready(), 20, "neither ready nor gone", server.log)
            if server.process.poll() is None:
                check(server.scalar("probe") == 1, "the sample is not there")
                server.kill()
            else:
                check(server.process.returncode not in (101, -6, -11), f"it crashed: {server.tail()}")
                check("space" in server.tail().lower(), f"it does not say why: {server.tail()}")
        finally:
            os.unlink(ballast)
        server.start()
        check(server.scalar("probe") == 1, "the sample is not there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="48m")
    args = parser.parse_args()
    checks = Checks()

    def within(name, body, *rest):
        def mounted():
            with tempfile.TemporaryDirectory(prefix="pharos-full-") as folder, tmpfs(f"{folder}/server/data", args.size):
                body(f"{folder}/server", *rest)
        checks.run(name, mounted)

    within("the disk fills up and is freed", full, loadgen())
    within("a start on a full disk", full_from_the_start)
    checks.finish()


if __name__ == "__main__":
    main()
