#!/usr/bin/env bash
# Runs deploy/docker-compose.yml unchanged, with images that are built here, because no registry may be reachable: up, query, scale, drain, kill, down, and
# up again with the old volumes.
#
#   tests/e2e/compose.sh [--source] [--keep]
#
# --source builds the image of Pharos from deploy/Dockerfile, like `docker-compose up` does for a user: it compiles everything in a container, with this
# machine's compiler under the name of the official image. Without it, the image contains $PHAROS.
#
# Not in CI, because debootstrap and Docker need root. Setup: apt-get install -y docker.io docker-compose debootstrap iptables
# Uses a running Docker daemon, or starts one in $DOCKER_FOLDER (default /tmp/pharos-docker) and stops it at the end. $PHAROS (default
# target/release/pharos) must run on Debian 12. MinIO comes from $PEERS (default ../peers), or ../shared/tools/peers.sh builds it there. Without either
# the script is skipped with exit code 77.
# Stand-ins carry the names that the compose file uses: Debian from debootstrap; HAProxy, Python and node_exporter from Debian packages; MinIO from source.
# Grafana cannot be built here. Its stand-in only shows that its files are where Grafana expects them, and compose.py runs the queries of the
# dashboards instead. Existing images are used as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PHAROS="${PHAROS:-${CARGO_TARGET_DIR:-$PWD/target}/release/pharos}"
peers=${PEERS:-$PWD/../peers}
docker_folder=${DOCKER_FOLDER:-/tmp/pharos-docker}
folder=$(mktemp -d)
daemon= source=
[ "${1:-}" != --source ] || { source=yes; shift; }
finish() {
  [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon" || true; }
  rm -rf "$folder"
}
trap finish EXIT

diff <(sed '/^FROM debian/,$!d; /^COPY --from=build/d' deploy/Dockerfile) <(sed '/^FROM debian/,$!d; /BINARY/d' deploy/Dockerfile.binary) \
  || { echo "the Dockerfiles differ after the base image"; exit 1; }

if ! docker info >/dev/null 2>&1; then
  mkdir -p "$docker_folder"
  dockerd --data-root "$docker_folder/root" --exec-root "$docker_folder/exec" --pidfile "$docker_folder/pid" >"$docker_folder/log" 2>&1 &
  daemon=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
  docker info >/dev/null 2>&1 || { tail "$docker_folder/log"; exit 1; }
fi

there() { docker image inspect "$1" >/dev/null 2>&1; }
# stand_in NAME: builds from the Dockerfile on stdin, with $folder/context as context.
stand_in() {
  there "$1" && return
  mkdir -p "$folder/context"
  cat >"$folder/context/Dockerfile"
  docker build --quiet --network host -t "$1" "$folder/context"
  rm -rf "$folder/context"
}

if ! there debian:bookworm-slim; then
  # The mirror is the one that apt on this machine uses. Without one, debootstrap takes its default.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | head -1)
  debootstrap --variant=minbase --include=ca-certificates bookworm "$folder/root" ${mirror:+"$mirror"} >"$folder/debootstrap.log" \
    || { tail "$folder/debootstrap.log"; exit 1; }
  tar -C "$folder/root" -c . | docker import - debian:bookworm-slim
  rm -rf "$folder/root"
fi
package() { echo "RUN apt-get update && apt-get install -y --no-install-recommends $1 && rm -rf /var/lib/apt/lists/*"; }
stand_in haproxy:2.6 <<DOCKERFILE
FROM debian:bookworm-slim
$(package haproxy)
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
stand_in python:3.11-slim <<DOCKERFILE
FROM debian:bookworm-slim
$(package python3)
DOCKERFILE
stand_in prom/node-exporter:v1.9.1 <<DOCKERFILE
FROM debian:bookworm-slim
$(package prometheus-node-exporter)
USER nobody
ENTRYPOINT ["prometheus-node-exporter"]
DOCKERFILE
minio=$(sed -n 's/.*image: \(minio.*\)/\1/p' deploy/docker-compose.yml)
if ! there "$minio"; then
  if [ ! -x "$peers/minio" ]; then
    [ -x ../shared/tools/peers.sh ] || { echo "skipped: no image $minio, no $peers/minio, and no ../shared/tools/peers.sh to build it"; exit 77; }
    ../shared/tools/peers.sh "$peers" minio
  fi
  mkdir -p "$folder/context" && cp "$peers/minio" "$folder/context/"
  printf 'FROM debian:bookworm-slim\nCOPY minio /usr/local/bin/\nENTRYPOINT ["minio"]\n' | stand_in "$minio"
fi
grafana=$(sed -n 's/.*image: \(grafana.*\)/\1/p' deploy/docker-compose.yml)
stand_in "$grafana" <<'DOCKERFILE'
FROM python:3.11-slim
WORKDIR /
USER 472
CMD ["python3", "-c", "import http.server as h; h.ThreadingHTTPServer(('', 3000), h.SimpleHTTPRequestHandler).serve_forever()"]
DOCKERFILE

# Pharos itself is always rebuilt.
if [ -n "$source" ]; then
  rust=$(sed -n 's/^FROM \(rust:.*\)-.*/\1/p' deploy/Dockerfile)-bookworm
  if ! there "$rust"; then
    mkdir -p "$folder/context" && cp -r "$(rustc --print sysroot)" "$folder/context/rust"
    # Cargo downloads crates in the container and must trust what this machine trusts, for example a proxy's authority.
    cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$folder/context/roots.pem"
  fi
  stand_in "$rust" <<DOCKERFILE
FROM debian:bookworm-slim
$(package "gcc g++ make libc6-dev")
COPY rust /usr/local
COPY roots.pem /usr/local/share/roots.pem
ENV SSL_CERT_FILE=/usr/local/share/roots.pem CARGO_HTTP_CAINFO=/usr/local/share/roots.pem
DOCKERFILE
  docker build --network host -f deploy/Dockerfile -t pharos-e2e:latest .
else
  mkdir -p "$folder/pharos/target/release" && cp -r deploy "$folder/pharos/" && cp "$PHAROS" "$folder/pharos/target/release/pharos"
  docker build --quiet -f deploy/Dockerfile.binary -t pharos-e2e:latest "$folder/pharos"
fi
export PHAROS_IMAGE=pharos-e2e:latest
python3 tests/e2e/compose.py "$@"
