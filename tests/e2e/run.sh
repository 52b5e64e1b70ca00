#!/usr/bin/env bash
# The end-to-end checks that every change must pass, with real processes, signals and disks. Needs Rust, a C compiler and Python 3.11, and builds missing
# binaries. The other scripts in this folder (real_input, prometheus_peer, object_store with S3, duckdb_check) need other programs: see README.md.
set -uo pipefail
cd "$(dirname "$0")/../.."
release=${CARGO_TARGET_DIR:-$PWD/target}/release
export PHAROS="${PHAROS:-$release/pharos}"
if [ ! -x "$PHAROS" ]; then
  cargo build --release --locked || exit 1
fi
# Built before the checks, so that none of them spends its time on it. Naming both packages gives their dependencies the features of the
# server's build: none is compiled twice.
if [ -z "${LOADGEN:-}" ]; then
  cargo build --release --locked --quiet -p pharos -p pharos-bench --bin loadgen || exit 1
  export LOADGEN=$release/loadgen
fi

failed=()
check() {
  local name=$1 limit=$2 script=$3 began=$SECONDS
  shift 3
  printf -- '-- %s\n' "$name"
  timeout --kill-after=10 "$limit" python3 "tests/e2e/$script" "$@" || failed+=("$name")
  printf -- '-- %s: %s s\n' "$name" $((SECONDS - began))
}

check "PromQL conformance" 180 conformance.py
check "differential PromQL" 120 differential.py
check "kill -9" 200 kill.py --rounds 3
check "kill -9 with a torn log" 120 kill.py --torn --rounds 1
check "bad input" 180 bad_input.py
check "full disk" 120 full_disk.py
check "object store away and back" 180 object_store.py --only local --hosts 5
check "lifecycle" 120 lifecycle.py
check "rules and alerts" 200 rules.py
check "rules of tenants" 90 rule_api.py
check "queries under way" 120 queries.py
check "scrapes" 120 scrapes.py --recorded
check "pushes" 60 pushes.py --recorded
check "receivers of notifications" 180 receivers.py
check "from a rule to a webhook" 60 notifications.py --only alone
check "a cluster" 240 cluster.py --short

began=$SECONDS
printf -- '-- %s\n' "web interface"
timeout --kill-after=10 600 tests/ui/run.sh --short || failed+=("web interface")
printf -- '-- %s: %s s\n' "web interface" $((SECONDS - began))

if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all end-to-end checks passed in $SECONDS s"
