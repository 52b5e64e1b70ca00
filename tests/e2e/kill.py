#!/usr/bin/env python3
"""kill -9 at a random moment under load, restart, verify: every acknowledged sample is there, once, with its value.

  kill.py [--rounds 3] [--hosts 20] [--steps 240] [--torn]

A sample is acknowledged when the load generator's request got a 2xx; the generator sends everything else again after the
restart, so in the end all samples must be there exactly once. With --torn, random bytes are cut off or appended to
the newest segment of the log before each restart, as a crash of the machine could leave it; then only samples that were acknowledged
well before are expected, which the generator's retries make up for as well.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from pharos import Pharos, check, loadgen, seeded


def newest_segment(server):
    return max((server.folder / "data/wal").glob("*.wal"), default=None)


def tear(server, rng):
    """Leaves garbage behind the last record, as an interrupted write does."""
    segment = newest_segment(server)
    with open(segment, "ab") as file:
        file.write(rng.randbytes(rng.randrange(1, 200)))


def one_round(tool, rng, args, number):
    with tempfile.TemporaryDirectory(prefix="pharos-kill-") as folder:
        server = Pharos(folder, None, "--storage.tsdb.min-block-duration=10m").start()
        end = int(time.time()) // 15 * 15
        shape = ["--hosts", str(args.hosts), "--steps", str(args.steps), "--end", str(end)]
        writer = subprocess.Popen([tool, "write", "--url", f"{server.url}/api/v1/write", *shape, "--batch", "2000"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        kills = 0
        try:
            for _ in range(rng.randrange(1, 4)):
                time.sleep(rng.uniform(0.1, 1.2))
                if writer.poll() is not None:
                    break
                server.kill()
                kills += 1
                if args.torn:
                    tear(server, rng)
                server.start()
            out, err = writer.communicate(timeout=300)
            check(writer.returncode == 0, f"the writer failed: {err[-500:]}\n{server.tail()}")
            server.kill()
            server.start()
            verified = subprocess.run([tool, "verify", "--url", server.url, *shape], capture_output=True, text=True)
            check(verified.returncode == 0, f"round {number}: {verified.stdout}{verified.stderr}\n{server.tail()}")
            print(f"round {number}: {kills + 1} kills, {json.loads(out)['retries']} retries, {verified.stdout.strip()}", flush=True)
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
    for number in range(1, args.rounds + 1):
        one_round(tool, rng, args, number)
    print(f"{args.rounds} passed, 0 failed")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
