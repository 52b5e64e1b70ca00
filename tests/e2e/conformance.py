#!/usr/bin/env python3
"""PromQL's own test scripts (../shared/promqltest) against a real server, each store a tenant.

  conformance.py [--floor 1666] [--jobs 4]

Runs them twice, the second time also with the @ modifier on every selector; either run fails below the floor.
"""
import argparse
import subprocess
import sys
import tempfile

from pharos import SHARED, Checks, Pharos, Skipped, check

# Limits that the scripts go beyond on purpose are off: samples near the epoch and far ahead of the clock.
CONFIG = "global: {}\nlimits: {max_future_time: 0s}\n"
FEATURES = "promql-experimental-functions,promql-duration-expr,promql-extended-range-selectors,promql-binop-fill-modifiers,promql-delayed-name-removal"


def suite(folder, floor, jobs, *flags):
    tool = SHARED / "promqltest/promqltest_http.py"
    if not tool.is_file():
        raise Skipped(f"{tool} is not there")
    with Pharos(f"{folder}/{'at' if flags else 'plain'}", CONFIG, f"--enable-feature={FEATURES}").start() as server:
        done = subprocess.run([sys.executable, tool, "--tenant-header", "X-Scope-OrgID", "--url", server.url, "--jobs", str(jobs),
                               "--verbose", *flags, SHARED / "promqltest/testdata"], capture_output=True, text=True, timeout=900)
        last = done.stdout.strip().rsplit("\n", 1)[-1]
        print(f"     {last}", flush=True)
        check(last and last.split()[0].isdigit(), f"no count: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        failures = "\n".join(line for line in done.stdout.splitlines() if " 0 failed " not in line)
        check(int(last.split()[0]) >= floor, f"the floor is {floor}\n{failures[:4000]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floor", type=int, default=1666)
    parser.add_argument("--jobs", type=int, default=4)
    args = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="pharos-promql-") as folder:
        checks.run("PromQL scripts", suite, folder, args.floor, args.jobs)
        checks.run("PromQL scripts with @", suite, folder, args.floor, args.jobs, "--check-at")
    checks.finish()


if __name__ == "__main__":
    main()
