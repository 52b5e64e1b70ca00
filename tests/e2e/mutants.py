#!/usr/bin/env python3
"""Sends mutants of the fuzzers to a running server, over HTTP and gRPC: it must answer each, and live.

    mutants.py [--requests 10000] [--seed N]

The mutants are those of fuzz/src/bin/mutate.rs ($MUTATE, or built here). Half of the requests go to the HTTP API, as pushes, queries and
scraped bodies; half to every gRPC method of proto/, with the cluster's token, as messages. curl sends the latter; without a curl that
speaks HTTP/2 they are left out.
"""
import argparse
import collections
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import tempfile
import threading
import urllib.parse

import wire
from pharos import ROOT, Checks, Pharos, Skipped, check, free_port

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SNAPPY, GZIP = {"Content-Encoding": "snappy"}, {"Content-Encoding": "gzip"}
PROTOBUF = "application/x-protobuf"
V2 = f"{PROTOBUF};proto=io.prometheus.write.v2.Request"
# What an answer to a hostile request may be. 500 would be a fault of the server.
EXPECTED = {200, 202, 204, 400, 404, 405, 413, 415, 422, 429, 503}
TOKEN = "secret"
# gRPC messages in a request of curl.
BATCH = 100


def mutate():
    if "MUTATE" in os.environ:
        return os.environ["MUTATE"]
    subprocess.run(["cargo", "build", "--quiet", "-p", "pharos-fuzz", "--bin", "mutate"], cwd=ROOT, check=True)
    return str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/mutate")


def mutants(target, count, seed):
    """Mutants of a fuzz target."""
    command = [mutate(), "write", target, str(count), str(ROOT / "fuzz/seeds" / target)]
    data = subprocess.run(command, env={**os.environ, "FUZZ_SEED": str(seed)}, check=True, stdout=subprocess.PIPE).stdout
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4:at + 4 + length])
        at += 4 + length
    check(len(found) == count, f"{len(found)} of {count} mutants")
    return found


def push(mutant):
    """A mutant of remote_write: its first byte says what it is, as in fuzz/src/remote_write.rs."""
    choice, body = (mutant[0] if mutant else 0), mutant[1:]
    as_sent, protocol = choice & 4, choice & 3
    if protocol < 2:
        kind = PROTOBUF if protocol == 0 else V2
        return "/api/v1/write", body if as_sent else wire.snappy(body), {"Content-Type": kind, **SNAPPY}
    kind = PROTOBUF if protocol == 2 else "application/json"
    return "/api/v1/otlp/v1/metrics", body, {"Content-Type": kind, **(GZIP if choice & 8 else {})}


def query(mutant, chance):
    """A mutant of a query, at one of the endpoints that parse one."""
    text = mutant.decode(errors="replace")
    path, name = chance.choice([("query", "query"), ("query_range", "query"), ("query_exemplars", "query"), ("format_query", "query"),
                                ("parse_query", "query"), ("series", "match[]"), ("labels", "match[]"), ("../../federate", "match[]")])
    path = "/federate" if "federate" in path else f"/api/v1/{path}"
    return path, urllib.parse.urlencode({name: text, "start": 0, "end": 1000, "step": 10, "timeout": "2s"}).encode(), FORM


def over_http(server, count, seed):
    chance = random.Random(seed)
    pushes, queries = mutants("remote_write", count // 2, seed), mutants("promql", count - count // 2, seed)
    requests = [push(mutant) for mutant in pushes] + [query(mutant, chance) for mutant in queries]
    reads = [("/api/v1/read", body, headers) for path, body, headers in requests if path == "/api/v1/write"]
    requests += reads[:count // 20]
    chance.shuffle(requests)
    statuses = collections.Counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for path, body, headers in requests:
        method = "GET" if path == "/federate" else "POST"
        target, sent = (f"{path}?{body.decode()}", None) if method == "GET" else (path, body)
        try:
            connection.request(method, target, sent, {**headers, "X-Scope-OrgID": chance.choice(["a", "b", "anonymous"])})
            response = connection.getresponse()
            response.read()
            status = response.status
        except (http.client.HTTPException, ConnectionError) as error:
            status = type(error).__name__
            connection.close()
        statuses[status] += 1
        server.alive()
    unexpected = {status: n for status, n in statuses.items() if status not in EXPECTED}
    print(f"{sum(statuses.values())} requests over HTTP: {dict(statuses)}", flush=True)
    check(not unexpected, f"unexpected answers: {unexpected}")


def methods():
    """Every gRPC method of the protocol, as a path."""
    found = []
    for file in sorted((ROOT / "proto").rglob("*.proto")):
        text = file.read_text()
        package = re.search(r"^package ([\w.]+);", text, re.M)
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
            found += [f"/{package.group(1)}.{service}/{name}" for name in re.findall(r"rpc (\w+)", body)]
    check(len(found) > 10, f"only {len(found)} methods of gRPC were found")
    return found


def over_grpc(server, port, count, seed, folder):
    curl = subprocess.run(["curl", "-V"], capture_output=True, text=True, check=False)
    if "HTTP2" not in curl.stdout:
        raise Skipped("curl does not speak HTTP/2")
    chance, statuses = random.Random(seed), collections.Counter()
    messages = [m for target in ("remote_write", "answers", "wal") for m in mutants(target, count // 3 + 1, seed)]
    chance.shuffle(messages)
    known, identity = methods(), json.loads(server.get("/api/v1/cluster")[1])["data"]["cluster"]
    for start in range(0, count, BATCH):
        lines = []
        for at, message in enumerate(messages[start:min(start + BATCH, count)]):
            # Some claim another length than they have.
            length = len(message) if chance.random() < 0.9 else chance.randrange(1 << 32)
            file = pathlib.Path(folder) / f"message-{at}"
            file.write_bytes(b"\0" + struct.pack(">I", length) + message)
            # Each has a host of its own: curl 7.88 cannot send a second request on a connection with prior knowledge of HTTP/2.
            host = f"mutant-{at}.test:{port}"
            lines += [f"url = http://{host}{chance.choice(known)}", f"resolve = {host}:127.0.0.1", f"data-binary = @{file}", "http2-prior-knowledge",
                      "max-time = 5", "header = \"content-type: application/grpc\"", "header = \"te: trailers\"",
                      f"header = \"x-pharos-join-token: {TOKEN}\"", f"header = \"x-pharos-cluster: {identity}\"",
                      "output = /dev/null", "write-out = \"%{http_code}\\n\"", "silent", "next"]
        config = pathlib.Path(folder) / "curl"
        config.write_text("\n".join(lines[:-1]) + "\n")
        done = subprocess.run(["curl", "-K", config], capture_output=True, text=True, check=False)
        statuses.update(done.stdout.split())
        server.alive()
    print(f"{sum(statuses.values())} requests over gRPC to {len(known)} methods: {dict(statuses)}", flush=True)
    check(statuses["200"] > count / 2, f"few calls were answered: {dict(statuses)}")


class Scraped(http.server.BaseHTTPRequestHandler):
    """A target with another mutant for every scrape."""

    bodies, served = [], 0

    def do_GET(self):
        mutant = Scraped.bodies[Scraped.served % len(Scraped.bodies)]
        Scraped.served += 1
        kinds = ["text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0",
                 "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"]
        self.send_response(200)
        self.send_header("Content-Type", kinds[(mutant[0] if mutant else 0) % 3])
        self.send_header("Content-Length", str(len(mutant[1:])))
        self.end_headers()
        self.wfile.write(mutant[1:])

    def log_message(self, *_):
        pass


def is_whole(server):
    """The server answers, and nothing in it panicked."""
    check(server.is_ready() and float(server.scalar("vector(1)")) == 1, "the server does not answer")
    check(not server.logged("panicked"), f"a panic is in the log:\n{server.tail()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        token = pathlib.Path(folder) / "token"
        token.write_text(TOKEN)
        cluster = free_port()
        Scraped.bodies = mutants("exposition", 500, args.seed)
        target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scraped)
        threading.Thread(target=target.serve_forever, daemon=True).start()
        config = "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n- job_name: mutants\n" \
                 f"  static_configs: [{{targets: ['127.0.0.1:{target.server_address[1]}']}}]\n"
        flags = [f"--cluster.listen-address=127.0.0.1:{cluster}", f"--cluster.token-file={token}"]
        with Pharos(pathlib.Path(folder) / "server", config, *flags) as server:
            server.start()
            half = args.requests // 2
            checks.run("mutants over HTTP", over_http, server, half, args.seed)
            checks.run("mutants over gRPC", over_grpc, server, cluster, args.requests - half, args.seed, folder)
            checks.run("the server is whole afterwards", is_whole, server)
            print(f"{Scraped.served} mutants were scraped", flush=True)
        target.shutdown()
    checks.finish()


if __name__ == "__main__":
    main()
