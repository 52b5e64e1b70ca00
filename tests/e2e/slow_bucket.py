#!/usr/bin/env python3
"""Native histograms in many small blocks of a slow bucket, read through two stores: a remote read and a range query end, each in time that is
proportional to what it reads, and nothing is read from a node that failed.

    slow_bucket.py                    # 1,000 blocks, 50 ms a request
    slow_bucket.py --blocks 180 --delay 0

The bucket is an S3 server of this script. It counts requests and bytes.
"""
import argparse
import collections
import http.client
import http.server
import re
import struct
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import cluster_nodes
import wire
from cluster_nodes import Cluster
from pharos import Checks, check, wait_for

STEP, SERIES = 10_000, 12


class Bucket(http.server.ThreadingHTTPServer):
    """Objects in memory, behind as much of S3 as a client needs: get, head, put, delete and list."""

    daemon_threads, request_queue_size = True, 256

    def __init__(self, delay):
        super().__init__(("127.0.0.1", 0), Handler)
        self.delay, self.objects, self.lock = delay, {}, threading.Lock()
        self.counts, self.bytes = collections.Counter(), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except ConnectionError:
                pass  # The client has enough.

    def do_GET(self):
        time.sleep(self.server.delay)
        self.server.counts[self.command] += 1
        url = urllib.parse.urlsplit(self.path)
        parts = urllib.parse.unquote(url.path).split("/", 2)
        key = parts[2] if len(parts) > 2 else ""
        if not key:
            return self.list(urllib.parse.parse_qs(url.query))
        found = self.server.objects.get(key)
        if found is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        body, tag, modified = found
        headers = [("ETag", tag), ("Last-Modified", modified)]
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or self.command == "HEAD":
            return self.answer(200, body, [*headers, ("Content-Length", str(len(body)))])
        first, last = asked.groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last) + 1, len(body)) if first and last else len(body)
        self.server.bytes += end - start
        self.answer(206, body[start:end], [*headers, ("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")])

    do_HEAD = do_GET

    def list(self, query):
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        contents, folders = [], set()
        with self.server.lock:
            keys = sorted(key for key in self.server.objects if key.startswith(prefix) and key > after)
        for key in keys[:1000]:
            body, tag, _ = self.server.objects[key]
            rest = key[len(prefix):]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                contents.append(f"<Contents><Key>{key}</Key><Size>{len(body)}</Size><ETag>{tag}</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>")
        folders = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{keys[999]}</NextContinuationToken>" if len(keys) > 1000 else "<IsTruncated>false</IsTruncated>"
        self.answer(200, f"<ListBucketResult><Prefix>{prefix}</Prefix>{more}{''.join(contents)}{folders}</ListBucketResult>".encode())

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def do_PUT(self):
        key, body = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).split("/", 2)[2], self.body()
        time.sleep(self.server.delay)
        with self.server.lock:
            if self.headers.get("If-None-Match") == "*" and key in self.server.objects:
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            tag = f'"{len(self.server.objects):x}-{len(body):x}"'
            self.server.objects[key] = (body, tag, self.date_time_string())
        self.answer(200, headers=[("ETag", tag)])

    def do_DELETE(self):
        with self.server.lock:
            self.server.objects.pop(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).split("/", 2)[2], None)
        self.answer(204)

    def do_POST(self):
        keys = re.findall(r"<Key>([^<]+)</Key>", self.body().decode())
        with self.server.lock:
            for key in keys:
                self.server.objects.pop(key, None)
        self.answer(200, b"<DeleteResult></DeleteResult>")


def zigzag(number):
    return wire.varint(number << 1 if number >= 0 else (-number << 1) - 1)


def histogram(count, timestamp):
    """A native histogram with 20 buckets that all grow by `count`."""
    spans = wire.field(11, b"\x10" + wire.varint(20))
    deltas = wire.field(12, zigzag(count) + zigzag(0) * 19)
    body = (b"\x08" + wire.varint(20 * count) + b"\x19" + struct.pack("<d", 1.5 * count) + b"\x20" + zigzag(3) + spans + deltas + b"\x78" + wire.varint(timestamp))
    return wire.field(4, body)


def labels(number):
    pairs = (("__name__", "latency"), ("i", str(number)))
    return b"".join(wire.field(1, wire.field(1, name.encode()) + wire.field(2, value.encode())) for name, value in pairs)


def write(node, start, blocks):
    connection = http.client.HTTPConnection(node.ip, cluster_nodes.WEB)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    for minute in range(blocks):
        times = range(start + minute * 60_000, start + (minute + 1) * 60_000, STEP)
        body = b"".join(wire.field(1, labels(i) + b"".join(histogram((t - start) // STEP + i + 1, t) for t in times)) for i in range(SERIES))
        connection.request("POST", "/api/v1/write", wire.snappy(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        check(answer.status in (200, 204), f"minute {minute}: {answer.status} {text[:300]}")


def run(options):
    bucket = Bucket(0)
    layout = {"meta": 1, "ingester": 1, "store": 2, "agent": 1, "frontend": 1}
    config = (f"scrape_configs: []\nobject_store: {{type: s3, bucket: b, endpoint: '{bucket.url}', access_key: k, secret_key: s}}\n"
              "limits: {defaults: {out_of_order_time_window: 5m}}\n")
    with tempfile.TemporaryDirectory(prefix="pharos-slow-bucket-") as folder, Cluster(folder, layout, config=config, factor=1) as cluster:
        cluster.start()
        start = (int(time.time()) // 60 - options.blocks - 20) * 60_000
        write(cluster["agent-1"], start, options.blocks)
        count = lambda: sum("/data.parquet" in key for key in bucket.objects)
        wait_for(lambda: bucket.objects and count() >= options.blocks - 10, 600, "blocks are not shipped")
        print(f"     {count()} files of blocks, {sum(len(body) for body, *_ in bucket.objects.values()) >> 10} KiB", flush=True)
        bucket.delay = options.delay / 1000
        frontend, end = cluster["frontend-1"], start + options.blocks * 60_000
        matcher = wire.field(3, wire.field(2, b"__name__") + wire.field(3, b"latency"))
        read = wire.snappy(wire.field(1, b"\x08" + wire.varint(start) + b"\x10" + wire.varint(end) + matcher))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Read-Version": "0.1.0"}
        query = urllib.parse.urlencode({"query": "histogram_quantile(0.9, sum(rate(latency[5m])))", "start": start / 1000, "end": end / 1000, "step": 60, "timeout": "300s"})

        def measured(name, what):
            before, bytes_before, began = sum(bucket.counts.values()), bucket.bytes, time.monotonic()
            with urllib.request.urlopen(what, timeout=300) as answer:
                body = answer.read()
            took, requests = time.monotonic() - began, sum(bucket.counts.values()) - before
            print(f"     {name}: {took:.1f} s, {requests} requests, {(bucket.bytes - bytes_before) >> 10} KiB from the bucket, {len(body) >> 10} KiB to the client", flush=True)
            check(took < options.limit, f"{name} took {took:.1f} s")
            check(requests < 16 * options.blocks, f"{name} sent {requests} requests for {options.blocks} blocks")
            return body

        for again in ("", ", again"):
            body = measured(f"remote read{again}", urllib.request.Request(f"{frontend.url}/api/v1/read", read, headers))
            check(len(body) > options.blocks * 60_000 // STEP * SERIES, f"{len(body)} bytes")
            body = measured(f"range query{again}", urllib.request.Request(f"{frontend.url}/api/v1/query_range?{query}"))
            check(body.count(b"[1") >= options.blocks - 6, f"{body[:300]}")
    bucket.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--delay", type=int, default=50, help="milliseconds a request")
    parser.add_argument("--limit", type=float, default=120, help="longest time of a read, seconds")
    options = parser.parse_args()
    checks = Checks()
    checks.run(f"histograms in {options.blocks} blocks behind {options.delay} ms a request", lambda: run(options))
    checks.finish()


if __name__ == "__main__":
    main()
