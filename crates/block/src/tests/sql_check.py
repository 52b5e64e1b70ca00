"""Prints, for each metric of the block in the folder argv[1], how many samples it has and their sum, as SQL sees them.

The statement is the one of crates/block/README.md. Stale markers are null in `vi` and NaN in `vd`; neither is counted.
"""
import pathlib
import re
import sys

try:
    import duckdb
except ImportError:
    print("duckdb is not installed")
    sys.exit(3)

folder = pathlib.Path(sys.argv[1])
readme = pathlib.Path(__file__).resolve().parents[2] / "README.md"
statement = re.search(r"```sql\n(.*?)```", readme.read_text(), re.S).group(1)
statement = statement.replace("block/", f"{folder}/")
for name, count, total in duckdb.sql(statement).fetchall():
    print(f"{name}\t{count}\t{total!r}")
