#!/usr/bin/env python3
"""SIGKILL at a random moment under load, then a restart. Every acknowledged sample must be readable once, with its value.

  kill.py [--rounds 3] [--hosts 20] [--steps 240] [--torn]

A sample is acknowledged when the load generator's request got a 2xx; the generator sends everything else again after the
restart, so in the end all samples must be there exactly once. With --torn, random bytes are cut off or appended to
the newest segment of the log before each restart, as a crash of the machine could leave it; then only samples that were acknowledged
well before are expected, which the generator's retries make up for as well.

Every second round has windows of one minute and its last kill comes while blocks are being shipped; samples then must be there once, whether
from memory, from the log or from blocks, before and after the rest is shipped.
"""
import argparse
import json
import subprocess
import tempfile
import time

from pharos import Checks, Pharos, check, loadgen, seeded, wait_for


def newest_segment(server):
    return max((server.folder / "data/wal").glob("*.wal"), default=None)


def tear(server, rng):
    """Appends garbage to the log, like an interrupted write."""
    segment = newest_segment(server)
    with open(segment, "ab") as file:
        file.write(rng.randbytes(rng.randrange(1, 200)))


def verify(tool, server, shape):
    done = subprocess.run([tool, "verify", "--url", server.url, *shape], capture_output=True, text=True)
    check(done.returncode == 0, f"{done.stdout}{done.stderr}\n{server.tail()}")
    return done.stdout.strip()


def is_shipped(server, steps):
    """Whether every window but the open one is in a block. Samples are 15 seconds apart, so four fill a window."""
    blocks = sum(1 for _ in (server.folder / "data/bucket").rglob("data.parquet"))
    return blocks >= steps // 4 - 1 and server.metric("pharos_flush_waiting_windows") == 0


def one_round(tool, rng, args, number):
    with tempfile.TemporaryDirectory(prefix="pharos-kill-") as folder:
        ships = number % 2 == 0
        server = Pharos(folder, None, f"--storage.tsdb.min-block-duration={'1m' if ships else '10m'}").start()
        end = int(time.time()) // 15 * 15
        shape = ["--hosts", str(args.hosts), "--steps", str(args.steps), "--end", str(end)]
        writer = subprocess.Popen([tool, "write", "--url", f"{server.url}/api/v1/write", *shape, "--batch", "2000"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        kills = 0
        try:
            for _ in range(rng.randrange(1, 4)):
                time.sleep(rng.uniform(0.1, 1.2))
                if args.torn:
                    # A slow machine may have written nothing yet: then there is nothing to tear.
                    wait_for(lambda: newest_segment(server) or writer.poll() is not None, 30, "no log", server.log)
                if writer.poll() is not None:
                    break
                server.kill()
                kills += 1
                if args.torn:
                    tear(server, rng)
                server.start()
            out, err = writer.communicate(timeout=300)
            check(writer.returncode == 0, f"the writer failed: {err[-500:]}\n{server.tail()}")
            blocks = 0
            if ships:
                wait_for(lambda: server.metric("pharos_flush_blocks_total") > 0, 60, "nothing is shipped", server.log)
                time.sleep(rng.uniform(0, 1.5))
                blocks = server.metric("pharos_flush_blocks_total")
            server.kill()
            server.start()
            found = verify(tool, server, shape)
            if ships:
                wait_for(lambda: is_shipped(server, args.steps), 120, "windows wait to be shipped", server.log)
                found = verify(tool, server, shape)
            print(f"     {kills + 1} kills, {json.loads(out)['retries']} retries, {blocks:.0f} blocks at the last kill, {found}", flush=True)
        finally:
            writer.kill()
            server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--torn", action="store_true")
    args = parser.parse_args()
    rng, tool = seeded(), loadgen()
    checks = Checks()
    for number in range(1, args.rounds + 1):
        checks.run(f"round {number}", one_round, tool, rng, args, number)
    checks.finish()


if __name__ == "__main__":
    main()
