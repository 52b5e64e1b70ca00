#!/usr/bin/env python3
"""SQL over the block files agrees with PromQL: runs the documented statement in DuckDB for every metric.

  duckdb_check.py [--hosts 10]

DuckDB is installed into a virtual environment below the temporary folder; without a package index the check is skipped.
"""
import argparse
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import wire
from pharos import ROOT, Checks, Pharos, Skipped, check, loadgen, wait_for

PROGRAM = "import duckdb, json, sys; print(json.dumps(duckdb.sql(sys.stdin.read()).fetchall()))"


def duckdb(folder):
    """A Python interpreter with DuckDB."""
    home = pathlib.Path(folder) / "venv"
    subprocess.run([sys.executable, "-m", "venv", home], check=True, capture_output=True)
    done = subprocess.run([home / "bin/pip", "install", "--quiet", "--only-binary", ":all:", "duckdb"], capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"duckdb cannot be installed: {done.stderr[-200:]}")
    return home / "bin/python"


def statement(bucket):
    """The documented statement for this bucket and all metrics."""
    sql = re.search(r"(?:```sql\n|samples\.sql\n)(.*?)```", (ROOT / "docs/src/getting-started.md").read_text(), re.S)
    check(sql, "docs/src/getting-started.md has no SQL statement")
    text = sql.group(1).replace("tour/bucket/", f"{bucket}/")
    check(str(bucket) in text and "LIKE 'node_load%'" in text, f"the documented statement is not as expected:\n{text}")
    return text.replace("LIKE 'node_load%'", "LIKE '%'")


def odd_values(server, end):
    """Writes fractions, very large and small numbers, an infinity and stale markers."""
    body = b"".join(wire.series([("__name__", name)], *[(v, (end - 60 * n) * 1000) for n, v in enumerate(values)]) for name, values in {
        "odd_fractions": [0.1, 0.25, -3.75, 1e-9, 123456.789], "odd_great": [1e300, 3e300], "odd_wide": [2.0 ** 63, 1e17, 3, -7],
        "odd_stale": [1.5, wire.STALE, 2.5, wire.STALE, 4], "odd_infinite": [1, math.inf, 2, 3, 4], "odd_constant": [7] * 20,
        "odd_zero": [-0.0, 0.0, -0.0], "odd_tiny": [5e-324, 1e-308],
    }.items())
    status, text = server.post("/api/v1/write", wire.snappy(body), wire.HEADERS)
    check(status == 204, f"{status} {text}")


def same(folder, tool, hosts):
    python = duckdb(folder)
    with Pharos(f"{folder}/server", "scrape_configs: []\n", "--storage.tsdb.min-block-duration=10m").start() as server:
        end = int(time.time()) // 600 * 600 - 15
        shape = ["--hosts", str(hosts), "--steps", "160", "--end", str(end)]
        subprocess.run([tool, "write", "--url", f"{server.url}/api/v1/write", *shape], check=True, capture_output=True)
        odd_values(server, end)
        bucket = server.folder / "data/bucket"
        appended = server.metric("pharos_head_samples_appended_total")
        wait_for(lambda: server.metric("pharos_flush_samples_total") >= appended, 120, "not everything is shipped", server.log)
        done = subprocess.run([python, "-c", PROGRAM], input=statement(bucket), capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, f"DuckDB: {done.stderr[-1500:]}")
        rows = {row[0]: row[1:] for row in json.loads(done.stdout)}
        names = json.loads(server.get("/api/v1/label/__name__/values")[1])["data"]
        check(sorted(rows) == names, f"names differ: {sorted(set(rows) ^ set(names))[:10]}")
        wrong = []
        for name in names:
            count, total, newest = rows[name]
            ours = [server.scalar(f"{what}({{__name__='{name}'}}[2h])".join(("sum(", ")")), time=end) for what in ("count_over_time", "sum_over_time")]
            if ours[0] != count or not (math.isclose(ours[1], total, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(ours[1]) and math.isnan(total))) or newest > end:
                wrong.append(f"{name}: SQL {rows[name]}, PromQL {ours}")
        check(not wrong, f"{len(wrong)} of {len(names)} metrics differ: " + "; ".join(wrong[:5]))
        print(f"     {len(names)} metrics, {sum(r[0] for r in rows.values())} samples", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10)
    args = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="pharos-duckdb-") as folder:
        checks.run("the documented SQL", same, folder, loadgen(), args.hosts)
    checks.finish()


if __name__ == "__main__":
    main()
