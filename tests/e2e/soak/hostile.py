"""Hostile clients of the soak: each function does one thing that must harm nobody else, and returns.

They run in processes of their own (`python3 hostile.py HOST PORT SEED NAMES…`), for as long as their parent lets them.
"""
import http.client
import os
import pathlib
import random
import socket
import struct
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import wire  # noqa: E402

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WRITE_V2 = {**wire.HEADERS, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
OTLP = {"Content-Type": "application/x-protobuf"}


class Client:
    """What hostile clients share: the address of the server and a seeded generator."""

    def __init__(self, host, port, seed):
        self.address, self.random = (host, port), random.Random(seed)

    def send(self, method, path, body=b"", headers=None, seconds=30):
        connection = http.client.HTTPConnection(*self.address, timeout=seconds)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def query(self, expression, path="/api/v1/query", tenant=None, **params):
        headers = {**FORM, **({"X-Scope-OrgID": tenant} if tenant else {})}
        return self.send("POST", path, urllib.parse.urlencode({"query": expression, **params}), headers)

    def open(self):
        return socket.create_connection(self.address, timeout=10)


def range_of(seconds):
    now = time.time()
    return {"start": now - seconds, "end": now, "step": max(1, seconds // 1000)}


def invented_tenants(client):
    """Queries of tenants that do not exist."""
    for _ in range(20):
        client.query("count({__name__=~'.+'})", tenant=f"t{client.random.randrange(1 << 40)}")


def heavy_queries(client):
    """Queries that hold as much as they can: joins, selections and counts of values over a range."""
    query = client.random.choice([
        "count(soak_wide and on (i) soak_wide)",
        "count(soak_wide + on (i) group_left () soak_wide)",
        "topk(2000, soak_wide)",
        "count_values('v', soak_wide)",
        "quantile by (i) (0.5, soak_wide)",
        "sort_by_label(soak_wide, 'i')",
        "label_replace(soak_wide, 'x', '$1$1$1$1', 'i', '(.*)')",
        "max_over_time(soak_wide[5m:1s])",
    ])
    client.query(query, "/api/v1/query_range", **range_of(600))


def regexes(client):
    """Selectors whose regular expressions are large once they are compiled."""
    pattern = "(" + "|".join(f"[a-z]{{{50 + i}}}x" for i in range(60)) + ")"
    matchers = ",".join(f'l{i}=~"{pattern}"' for i in range(20))
    client.query("{__name__=~'.+'," + matchers + "}")
    client.send("POST", "/api/v1/series", urllib.parse.urlencode({"match[]": "{a=~'.+'," + matchers + "}"}), FORM)


def remote_read_regexes(client):
    """A remote read of a few kilobytes with many regular expressions."""
    matcher = wire.field(3, b"\x08\x02" + wire.field(2, b"a") + wire.field(3, b"([a-z]{1,200}|[0-9]{1,300})+"))
    query = b"\x08\x00\x10" + wire.varint(int(time.time() * 1000)) + matcher * 200
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    client.send("POST", "/api/v1/read", wire.snappy(wire.field(1, query)), headers)


def readers_that_stop(client):
    """Large responses that nobody reads."""
    body = urllib.parse.urlencode({"query": "soak_wide", **range_of(600)})
    head = f"POST /api/v1/query_range HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    held = []
    for _ in range(8):
        connection = client.open()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall((head + body).encode())
        held.append(connection)
    time.sleep(5)
    for connection in held:
        connection.close()


def pushes_that_grow(client):
    """A short push of remote write 2.0 whose references repeat a long symbol."""
    symbols = [b"", b"__name__", b"hostile", b"a", b"x" * 200_000]
    refs = wire.field(1, bytes([1, 2, 3, 4]))
    series = wire.field(5, refs + wire.field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + wire.varint(1)))
    body = b"".join(wire.field(4, symbol) for symbol in symbols) + series * 2000
    client.send("POST", "/api/v1/write", wire.snappy(body), WRITE_V2)


def bombs(client):
    """A body that becomes much longer when it is decompressed."""
    client.send("POST", "/api/v1/write", wire.snappy_bomb(32 << 20), wire.HEADERS)
    client.send("POST", "/api/v1/read", wire.snappy_bomb(2 << 20), {"Content-Encoding": "snappy"})


def otlp_attributes(client):
    """A data point with very many attributes."""
    text = lambda i: wire.field(7, wire.field(1, b"k%d" % i) + wire.field(2, wire.field(1, b"v")))
    now = struct.pack("<Q", time.time_ns())
    point = b"".join(text(i) for i in range(20_000)) + b"\x19" + now + b"\x21" + struct.pack("<d", 1.0)
    metric = wire.field(1, b"hostile") + wire.field(5, wire.field(1, point))
    request = wire.field(1, wire.field(2, wire.field(2, metric)))
    client.send("POST", "/api/v1/otlp/v1/metrics", request, OTLP)


def forms(client):
    """Forms of very many fields, and bodies that lack their last byte."""
    client.send("POST", "/api/v1/query", "&a" * (1 << 20), FORM)
    held = []
    for path, length in [("/api/v1/query", 4 << 20), ("/api/v1/read", 2 << 20), ("/api/v1/write", 8 << 20)] * 4:
        connection = client.open()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\nContent-Length: {length}\r\n\r\n"
        try:
            connection.sendall(head.encode() + b"a" * (length - 1))
        except OSError:
            pass  # refused before its end
        held.append(connection)
    time.sleep(3)
    for connection in held:
        connection.close()


def slow_connections(client):
    """Connections that send six bytes."""
    held = []
    for _ in range(150):
        try:
            connection = client.open()
            connection.sendall(b"GET / ")
            held.append(connection)
        except OSError:
            break
    time.sleep(5)
    for connection in held:
        connection.close()


def garbage(client):
    """Random bytes at every door."""
    for path in ["/api/v1/write", "/api/v1/read", "/api/v1/otlp/v1/metrics", "/api/v1/query", "/federate", "/nowhere"]:
        client.send("POST", path, os.urandom(client.random.randrange(1 << 16)), wire.HEADERS)


CLIENTS = [invented_tenants, heavy_queries, regexes, remote_read_regexes, readers_that_stop, pushes_that_grow, bombs,
           otlp_attributes, forms, slow_connections, garbage]


def main():
    host, port, seed, names = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    client = Client(host, port, seed)
    chosen = [function for function in CLIENTS if function.__name__ in names]
    pause = float(os.environ.get("HOSTILE_PAUSE", "0.2"))
    while True:
        try:
            client.random.choice(chosen)(client)
        except (OSError, http.client.HTTPException):
            pass  # a hostile client may be refused, cut off or kept waiting
        time.sleep(pause)


if __name__ == "__main__":
    main()
