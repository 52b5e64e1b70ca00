#!/usr/bin/env python3
"""PromQL test scripts against the real binary.

  conformance.py [--floor 1666] [--jobs 4]

Our own scripts run through `pharos tool promqltest`. Prometheus's scripts are an extra: a runner in $PROMQLTEST (default ../shared/promqltest) sends
them to a server over HTTP, one tenant per store, and a second time with the @ modifier on every selector. Either run fails when fewer than the floor pass.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from pharos import BINARY, ROOT, Checks, Pharos, Skipped, check

SCRIPTS = ROOT / "crates/promql/tests/scripts"
EXTRA = pathlib.Path(os.environ.get("PROMQLTEST", ROOT.parent / "shared/promqltest"))
# Prometheus's scripts use timestamps near the epoch and far in the future.
CONFIG = "global: {}\nlimits: {max_future_time: 0s}\n"
FEATURES = "promql-experimental-functions,promql-duration-expr,promql-extended-range-selectors,promql-binop-fill-modifiers,promql-delayed-name-removal"


def own():
    """All scripts of the repository pass."""
    scripts = sorted(SCRIPTS.glob("*.test"))
    check(scripts, f"no scripts in {SCRIPTS}")
    done = subprocess.run([BINARY, "tool", "promqltest", *scripts], capture_output=True, text=True, timeout=120)
    check(done.returncode == 0, f"{done.stderr[-4000:]}")
    check(done.stdout.count("SUCCESS") == len(scripts), f"{len(scripts)} scripts ran:\n{done.stdout[-1000:]}")


def extra(folder, floor, jobs, *flags):
    """Enough evaluations of Prometheus's scripts pass over HTTP."""
    tool = EXTRA / "promqltest_http.py"
    if not tool.is_file():
        raise Skipped(f"{tool} does not exist")
    with Pharos(f"{folder}/{'at' if flags else 'plain'}", CONFIG, f"--enable-feature={FEATURES}").start() as server:
        done = subprocess.run([sys.executable, tool, "--tenant-header", "X-Scope-OrgID", "--url", server.url, "--jobs", str(jobs),
                               "--verbose", *flags, EXTRA / "testdata"], capture_output=True, text=True, timeout=900)
        last = done.stdout.strip().rsplit("\n", 1)[-1]
        print(f"     {last}", flush=True)
        check(last and last.split()[0].isdigit(), f"no count in the output: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        failures = "\n".join(line for line in done.stdout.splitlines() if " 0 failed " not in line)
        check(int(last.split()[0]) >= floor, f"fewer than {floor} evaluations passed\n{failures[:4000]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floor", type=int, default=1666)
    parser.add_argument("--jobs", type=int, default=4)
    args = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="pharos-promql-") as folder:
        checks.run("our PromQL scripts", own)
        checks.run("Prometheus's PromQL scripts over HTTP", extra, folder, args.floor, args.jobs)
        checks.run("Prometheus's PromQL scripts over HTTP with @", extra, folder, args.floor, args.jobs, "--check-at")
    checks.finish()


if __name__ == "__main__":
    main()
