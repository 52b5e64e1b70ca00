#!/usr/bin/env bash
# Tests the web interface in Debian's chromium against a real server. `--short` runs what CI runs. Skips if chromium or npm is missing.
#   PHAROS       the binary (default: target/release/pharos)
#   CHROMIUM     the browser (default: /usr/bin/chromium)
#   UI_DIST      a build of the interface to test in place of the binary's, for example ../../ui/dist
#   UI_PICTURES  a folder that receives screenshots
set -euo pipefail
cd "$(dirname "$0")"
if [ ! -x "${CHROMIUM:=/usr/bin/chromium}" ] || ! command -v npm > /dev/null; then
  echo "skip: the web interface is tested where npm and chromium are installed"
  exit 0
fi
export CHROMIUM
[ -d node_modules ] || npm ci --no-audit --no-fund
if [ "${1:-}" = --short ]; then
  # The query page and the hostile texts break most easily.
  exec node --test --test-concurrency=1 --test-timeout=300000 --test-name-pattern='query|link|graph|hostile|prefix|alerts|tree' .
fi
exec node --test --test-concurrency=1 --test-timeout=300000 "$@" .
