#!/usr/bin/env python3
"""Hostile and broken input against a real server. It must answer with the right status and a message that names the mistake, and then keep working.

Remote write, queries, scraped expositions, damaged blocks, configuration mistakes.
"""
import gzip
import http.server
import json
import signal
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import zlib

import wire
from pharos import BINARY, Checks, Pharos, check, wait_for

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
limits:
  max_query_memory: 256KiB
  defaults: {{max_labels: 30, max_label_name_length: 100, max_label_value_length: 1000}}
  overrides: {{large: {{max_query_memory: 64MiB}}}}
scrape_configs:
{jobs}"""
MEMORY_MB = 800  # what the server may take at its peak under all this, a gzip bomb of 1 GB included


# --- a server of broken expositions -------------------------------------------------------------------------------


def gzip_bomb(size):
    """A gzip stream that expands to `size` bytes of comment lines."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = deflate.compress(b"# " + b"a" * 61 + b"\n") + deflate.compress((b"# " + b"a" * 61 + b"\n") * 16383) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + piece * (size >> 20)


GOOD = b"# TYPE good gauge\ngood 1\n"
EXPOSITIONS = {
    "good": GOOD,
    "malformed": b"# TYPE a counter\na{b=\"c\" 1\n",
    "truncated": b"a{b=\"unfinished",
    "binary": bytes(range(256)) * 100,
    "long_line": b"a{b=\"" + b"x" * 20_000_000 + b"\"} 1\n",
    "duplicate_labels": b"a{b=\"1\",b=\"2\"} 1\n",
    "many_labels": b"a{" + b",".join(b"l%d=\"1\"" % n for n in range(50_000)) + b"} 1\n",
}
BAD = [name for name in EXPOSITIONS if name != "good"] + ["bomb", "limited_bomb", "cut_short"]


class Exporter(http.server.BaseHTTPRequestHandler):
    bomb = gzip_bomb(1 << 30)

    def do_GET(self):
        name = self.path.strip("/")
        body = self.bomb if name.endswith("bomb") else EXPOSITIONS.get(name, GOOD)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        if name.endswith("bomb"):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body) + (1000 if name == "cut_short" else 0)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_):
        pass


def jobs(port):
    text = ""
    for name in ["good", *BAD]:
        text += f"- {{job_name: {name}, metrics_path: /{name}, label_limit: 40, label_value_length_limit: 2000"
        text += ", body_size_limit: 5MB" if name == "limited_bomb" else ""
        text += f", static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    return text


# --- checks --------------------------------------------------------------------------------------------------------


def next_request_works(server):
    server.alive()
    check(server.query("1 + 1")[0:1], "1 + 1 has no answer")


def post(server, path, body, headers, expected, says):
    """Posts, then checks the status and that the message contains one of the words in `says`. Returns both."""
    try:
        status, text = server.post(path, body, headers)
    except OSError as error:  # the server may answer and close while a large body is under way: the answer can get lost
        check(len(body) > 1 << 20, f"no answer: {error}")
        return None, ""
    expected = expected if isinstance(expected, tuple) else (expected,)
    check(status in expected, f"status {status}, expected {expected}: {text[:500]}")
    check(not says or any(word in text.lower() for word in says.split("|")), f"the message lacks {says!r}: {text[:500]}")
    return status, text


def write(server, body, expected, says="", tenant="bad", **headers):
    named = {**wire.HEADERS, "X-Scope-OrgID": tenant, **{k.replace("_", "-"): v for k, v in headers.items()}}
    post(server, "/api/v1/write", body, named, expected, says)
    next_request_works(server)


def writes(checks, server):
    now = int(time.time() * 1000)
    good = wire.series([("__name__", "m"), ("a", "b")], (1, now))

    def case(name, body, expected, says="", **headers):
        checks.run(f"remote write: {name}", lambda: write(server, body, expected, says, **headers))

    def labels(name, pairs, expected, says):
        case(name, wire.snappy(wire.series(pairs, (1, now))), expected, says)

    case("good", wire.snappy(good), 204)
    case("empty body", b"", 400)
    case("not snappy", b"\xff" * 1000, 400, "snappy")
    case("truncated snappy", wire.snappy(good)[:-5], 400, "snappy")
    case("truncated protobuf", wire.snappy(good[:-3]), 400)
    case("length past the end", wire.snappy(b"\x0a" + wire.varint(1 << 40) + b"abc"), 400)
    case("length that overflows", wire.snappy(b"\x0a" + b"\xff" * 9 + b"\x01"), 400)
    case("unknown wire type", wire.snappy(b"\x0f\x00"), 400)
    case("snappy that promises a terabyte", wire.varint(1 << 40) + b"\x00a", (400, 413), "snappy|large|limit|bytes")
    case("snappy bomb of 1 GB", wire.snappy_bomb(1 << 30), (400, 413), "large|limit|bytes")
    case("snappy bomb that lies about its size", wire.varint(100) + wire.snappy_bomb(1 << 20)[4:], 400, "snappy")
    case("100 MB body", wire.snappy(b"\x0a" * 100_000_000), 413, "large|limit|bytes")
    case("other content type", wire.snappy(good), 415, "content", Content_Type="text/plain")
    case("unknown protobuf message", wire.snappy(good), 415, "", Content_Type="application/x-protobuf;proto=a.b.C")
    case("other encoding", gzip.compress(good), (400, 415), "encoding|snappy|compression", Content_Encoding="gzip")
    labels("too many labels", [("__name__", "m")] + [(f"l{n:02}", "v") for n in range(40)], 400, "label")
    labels("long label name", [("__name__", "m"), ("n" * 101, "v")], 400, "label")
    labels("long label value", [("__name__", "m"), ("n", "v" * 1001)], 400, "label")
    labels("duplicate label names", [("__name__", "m"), ("a", "1"), ("a", "2")], 400, "label")
    labels("empty label name", [("__name__", "m"), ("", "1")], 400, "label")
    labels("no metric name", [("a", "1")], 400, "name")
    labels("name that is not UTF-8", [("__name__", "m"), (b"\xff\xfe", "1")], 400, "")
    case("year 9999", wire.snappy(wire.series([("__name__", "m")], (1, 253_402_300_799_000))), 400, "future|ahead|far|bounds")
    case("greatest timestamp", wire.snappy(wire.series([("__name__", "m")], (1, (1 << 63) - 1))), 400)
    case("least timestamp", wire.snappy(wire.series([("__name__", "m")], (1, -(1 << 63)))), 400)
    case("timestamp -1 in a tenant with recent samples", wire.snappy(wire.series([("__name__", "m")], (1, -1))), 400, "old|order|bounds")
    case("timestamp -1 in a new tenant", wire.snappy(wire.series([("__name__", "m")], (1, -1))), 204, tenant="new")
    span = b"\x08\x00\x10" + wire.varint((1 << 32) - 1)
    histogram = wire.field(4, b"\x08\x01" + wire.field(11, span) + b"\x78" + wire.varint(now))
    case("histogram span of four billion buckets", wire.snappy(wire.field(1, wire.field(1, wire.field(1, b"__name__") + wire.field(2, b"h")) + histogram)), 400)
    v2 = {"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "X_Prometheus_Remote_Write_Version": "2.0.0"}
    case("2.0: symbol past the end", wire.snappy(wire.field(4, b"") + wire.field(5, wire.field(1, b"\x01\x7f"))), 400, "symbol", **v2)
    case("2.0: odd number of references", wire.snappy(wire.field(4, b"") + wire.field(5, wire.field(1, b"\x00"))), 400, "", **v2)
    checks.run("remote write: the good series of a bad request is stored", partial, server, now)
    checks.run("remote write: NaN and stale markers", not_numbers, server, now)
    case("tenant name with a slash", wire.snappy(good), 400, "tenant", tenant="../etc")


def partial(server, now):
    body = wire.series([("__name__", "kept")], (7, now)) + wire.series([("__name__", "m"), ("a", "1"), ("a", "2")], (1, now))
    write(server, wire.snappy(body), 400, "label", tenant="anonymous")
    check(server.scalar("kept", time=now / 1000) == 7, "the good series is not there")


def not_numbers(server, now):
    nan, payload = struct.pack("<Q", 0x7FF8000000000001), struct.pack("<Q", 0xFFFFFFFFFFFFFFFF)
    body = b"".join(wire.series([("__name__", name)], (1, now - 2000), (bits, now - 1000))
                    for name, bits in [("was_nan", nan), ("was_odd", payload), ("was_stale", wire.STALE), ("was_inf", float("inf"))])
    write(server, wire.snappy(body), 204, tenant="anonymous")
    values = {name: [r["value"][1] for r in server.query(name, time=now / 1000)] for name in ("was_nan", "was_odd", "was_stale", "was_inf")}
    check(values == {"was_nan": ["NaN"], "was_odd": ["NaN"], "was_stale": [], "was_inf": ["+Inf"]}, f"{values}")


def ask(server, path, expected, says="", **params):
    body = urllib.parse.urlencode(params).encode()
    status, text = post(server, path, body, {"Content-Type": "application/x-www-form-urlencoded"}, expected, says)
    if status and path.startswith("/api/v1/query") and 400 <= status < 500 and status != 413:
        answer = json.loads(text)
        check(answer["status"] == "error" and answer["errorType"] and len(answer["error"]) < 5000, f"{text[:500]}")
    next_request_works(server)


def queries(checks, server):
    now, deep = int(time.time()), 100_000
    load(server, now)

    def case(name, expected, says="", path="/api/v1/query", **params):
        checks.run(f"query: {name}", lambda: ask(server, path, expected, says, **params))

    case("100,000 nested parentheses", 400, "nest|deep", query="(" * deep + "1" + ")" * deep)
    case("100,000 opening parentheses", 400, "", query="(" * deep)
    case("100,000 minus signs", (200, 400), "", query="-" * deep + "1")
    case("100,000 nested functions", 400, "", query="abs(" * deep + "1" + ")" * deep)
    case("100,000 additions", (200, 400), "", query="1" + "+1" * deep)
    case("100,000 nested parentheses to format", 400, "", path="/api/v1/format_query", query="(" * deep + "1" + ")" * deep)
    case("100,000 nested parentheses to parse", 400, "", path="/api/v1/parse_query", query="(" * deep + "1" + ")" * deep)
    case("a 100 MB query", (400, 413), "", query="a" * 100_000_000)
    checks.run("query: a large answer, compressed", compressed, server)
    case("everything, with a small budget", 422, "memory|budget|limit", query='{__name__=~".*",padding!=""}')
    case("everything, raw", 422, "memory|budget|limit", query='{__name__=~".+"}[1h]')
    case("everything times everything", 422, "memory|budget|limit|many", query='{__name__=~".+"} * on() group_left() {__name__=~".+"}')
    case("a regular expression bomb", 400, "regex|regular|large|limit|size", query='{a=~"((((a{1000}){1000}){1000}){1000})"}')
    case("an open regular expression", 400, "", query='{a=~"("}')
    case("nothing", 400, "", query="")
    case("a matcher of everything", 400, "empty", query="{}")
    case("a billion steps", 400, "11,000|resolution", path="/api/v1/query_range", query="1", start=0, end=now, step="1ms")
    case("an end before the start", 400, "end", path="/api/v1/query_range", query="1", start=now, end=now - 1, step=1)
    case("step 0", 400, "step|zero", path="/api/v1/query_range", query="1", start=0, end=1, step=0)
    case("a time that is none", 400, "time", query="1", time="yesterday")
    case("year 292,000,000", (200, 400), "", query="m[1h]", time="9223372036854775")
    case("infinite time", 400, "", query="1", time="Inf")
    case("a subquery of a billion steps", (400, 422), "", query="count_over_time(vector(1)[1000y:1ms])")
    case("remote read of garbage", 400, "", path="/api/v1/read", query="x")
    case("series without matchers", 400, "match", path="/api/v1/series")


def compressed(server):
    """A large response is the same with and without compression."""
    # It is over the budget of other tenants.
    ask(server, "/api/v1/series", 422, "max_query_memory", **{"match[]": "load_1"})
    tenant = {"X-Scope-OrgID": "large"}
    for url in [f"{server.url}/api/v1/series?match[]=%7Bpadding!=%22%22%7D", f"{server.url}/api/v1/series?match[]=load_1"]:
        plain = urllib.request.urlopen(urllib.request.Request(url, headers=tenant), timeout=30).read()
        check(len(plain) > 200_000, f"{url}: {len(plain)} bytes are not large")
        for encoding in ("gzip", "zstd"):
            with urllib.request.urlopen(urllib.request.Request(url, headers=tenant | {"Accept-Encoding": encoding}), timeout=30) as reply:
                body, name = reply.read(), reply.headers["Content-Encoding"]
            check(name == encoding and len(body) < len(plain), f"{url}: {name}, {len(body)} bytes")
            check(encoding != "gzip" or gzip.decompress(body) == plain, f"{url}: other content")
    next_request_works(server)


def load(server, now):
    """Writes 30,000 samples, more than one query may load."""
    for part in range(15):
        body = b"".join(wire.series([("__name__", f"load_{n % 10}"), ("n", f"{part}-{n}"), ("padding", "x" * 300)], (n, now * 1000 - 1000), (n, now * 1000))
                        for n in range(1000))
        for tenant in ("anonymous", "large"):
            write(server, wire.snappy(body), 204, tenant=tenant)


def scrapes(server):
    wait_for(lambda: server.scalar('count(up{job!="good"})') == len(BAD), 30, "not every target was scraped", server.log)
    wait_for(lambda: server.scalar('scrape_samples_scraped{job="good"}') == 1, 10, "the good target is not scraped")
    up = {r["metric"]["job"]: r["value"][1] for r in server.query("up")}
    check(up["good"] == "1", f"{up}")
    wrong = [name for name in BAD if up[name] != "0"]
    check(not wrong, f"taken as good: {wrong}")
    targets = json.loads(server.get("/api/v1/targets")[1])["data"]["activeTargets"]
    silent = [t["labels"]["job"] for t in targets if t["labels"]["job"] in BAD and not t["lastError"]]
    check(not silent, f"no error on {silent}")
    check(any("body" in t["lastError"] for t in targets if t["labels"]["job"] == "limited_bomb"), "the bomb's error does not name the limit")


def memory(server):
    status = open(f"/proc/{server.process.pid}/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
    print(f"     peak {peak} MB", flush=True)
    check(peak < MEMORY_MB, f"{peak} MB resident at the peak")


def damaged_blocks(folder):
    """Queries that need a corrupt or truncated block report it. Other queries work."""
    with Pharos(f"{folder}/blocks", "scrape_configs: []\n", "--storage.tsdb.min-block-duration=1m").start() as server:
        now = int(time.time()) // 60 * 60 - 600
        for name, at in (("whole", now), ("flipped", now + 120), ("short", now + 240)):
            body = b"".join(wire.series([("__name__", name), ("n", str(n))], *[(n * 1.1 + t, (at + t) * 1000) for t in range(0, 50, 5)]) for n in range(300))
            write(server, wire.snappy(body), 204, tenant="anonymous")
        blocks = lambda: list((server.folder / "data/bucket").rglob("data.parquet"))
        wait_for(lambda: len(blocks()) == 3, 60, "blocks are not shipped", server.log)
        wait_for(lambda: server.metric("pharos_head_series") == 0, 90, "blocks are not dropped from memory", server.log)
        server.stop()
        whole, flipped, short = sorted(blocks())  # ULIDs are in the order of shipping, oldest window first
        data = bytearray(flipped.read_bytes())
        for at in range(100, len(data) // 2, 50):
            data[at] ^= 0x55
        flipped.write_bytes(data)
        short.write_bytes(short.read_bytes()[:-40])
        server.start()
        check(server.scalar("count(whole)", time=now + 50) == 300, "the whole block is not read")
        for name, at, block in (("flipped", now + 170, flipped), ("short", now + 290, short)):
            status, text = server.get("/api/v1/query", query=f"sum(sum_over_time({name}[1m]))", time=at)
            check(status >= 400 or "warnings" in text, f"damage in {name} goes unnoticed: {status} {text[:300]}")
            check(block.parent.name in text, f"the answer does not name the block {block.parent.name}: {text[:500]}")
        next_request_works(server)
        check(server.scalar("count(whole)", time=now + 50) == 300, "the whole block is not read after errors")
        server.stop()
        (server.folder / "data/meta/raft.redb").unlink()
        server.start()
        check(server.logged(f"damaged block.*{short.parent.name}|{short.parent.name}.*damaged block"), f"nothing about the damaged block\n{server.tail()}")
        check(server.scalar("count(whole)", time=now + 50) == 300, "the catalogue was not rebuilt")


def damaged_log(folder):
    """A corrupt record in the log prevents a start with an error that names file, offset and repair. After the repair, samples before and after it are readable."""
    with Pharos(f"{folder}/log", "scrape_configs: []\n").start() as server:
        now = int(time.time())
        for name in ("before", "damaged", "behind"):
            for part in range(20):
                body = b"".join(wire.series([("__name__", name), ("n", f"{part}-{n}")], (n, now * 1000)) for n in range(100))
                write(server, wire.snappy(body), 204, tenant="anonymous")
            server.kill()
            server.start()
        server.stop()
        segments = sorted((server.folder / "data/wal").glob("*.wal"), key=lambda path: path.name)
        holding = [path for path in segments if b"damaged" in path.read_bytes() and b"behind" not in path.read_bytes()]
        check(holding, f"no segment of its own: {segments}")
        data = bytearray(holding[0].read_bytes())
        data[len(data) // 2] ^= 0xFF
        holding[0].write_bytes(data)
        server.start(wait=False)
        check(server.process.wait(20) not in (0, 101), f"it starts on a damaged log\n{server.tail()}")
        text = server.tail()
        check(holding[0].name in text and "offset" in text and "tool wal repair" in text, f"file, offset or repair are not named: {text}")
        done = subprocess.run([BINARY, "tool", "wal", "repair", server.folder / "data/wal"], capture_output=True, text=True, timeout=60)
        check(done.returncode == 0, f"repair: {done.returncode} {done.stdout}{done.stderr}")
        server.start()
        counts = {name: server.scalar(f"count({name})", time=now) for name in ("before", "damaged", "behind")}
        check(counts["before"] == counts["behind"] == 2000 and 0 < counts["damaged"] < 2000, f"{counts}\n{server.tail()}")


MISTAKES = [
    ("scrap_configs: []\n", 1, "scrape_configs"),
    ("global:\n  scrape_interval: soon\n", 2, "scrape_interval"),
    ("global: {scrape_interval: 1s, scrape_timeout: 2s}\n", 1, "timeout"),
    ("global:\n\tscrape_interval: 1s\n", 2, ""),
    ("scrape_configs:\n- static_configs: []\n", 2, "job_name"),
    ("scrape_configs:\n- job_name: a\n- job_name: a\n", 3, "a"),
    ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {action: replase}\n", 4, "replase"),
    ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {regex: '('}\n", 4, "regex"),
    ("scrape_configs:\n- job_name: a\n  metrics_path: [1]\n", 3, "metrics_path"),
    ("scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [x.txt]}]\n", 3, "x.txt"),
    ("remote_write:\n- {url: 'not a url'}\n", 2, "url"),
    ("object_store: {type: s4}\n", 1, "s4"),
    ("object_store: {type: s3}\n", 1, "bucket"),
    ("limits: {max_query_memory: lots}\n", 1, "max_query_memory"),
    ("a: &a [*a, *a]\n", 1, ""),
    ("a: [" * 10_000, 1, ""),
    ("\xff\xfe", 0, ""),
]


def config_mistakes(folder):
    for text, line, says in MISTAKES:
        path = f"{folder}/mistake.yml"
        with open(path, "w", encoding="latin-1") as file:
            file.write(text)
        done = subprocess.run([BINARY, "tool", "check", "config", path], capture_output=True, text=True, timeout=20)
        output = done.stdout + done.stderr
        check(done.returncode == 1, f"{text[:80]!r}: exit code {done.returncode}: {output[:500]}")
        check(f"mistake.yml:{line}" in output if line else "mistake.yml" in output, f"{text[:80]!r}: no file and line {line}: {output[:500]}")
        check(says in output, f"{text[:80]!r}: the message lacks {says!r}: {output[:500]}")
    with open(f"{folder}/fine.yml", "w") as file:
        file.write("global: {scrape_interval: 15s}\n")
    done = subprocess.run([BINARY, "tool", "check", "config", f"{folder}/fine.yml"], capture_output=True, text=True, timeout=20)
    check(done.returncode == 0, f"a good file: {done.stdout}{done.stderr}")
    done = subprocess.run([BINARY, "server", f"--config.file={folder}/mistake.yml", f"--storage.path={folder}/none"], capture_output=True, text=True, timeout=20)
    check(done.returncode not in (0, 101) and "mistake.yml" in done.stderr, f"the server starts with a bad file: {done.returncode} {done.stderr[:500]}")


def bad_reload(folder):
    good = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:1']}]}]\n"
    with Pharos(f"{folder}/reload", good, "--web.enable-lifecycle").start() as server:
        server.config.write_text("scrap_configs: []\n")
        status, text = server.post("/-/reload")
        check(status == 500 and "pharos.yml:1:1" in text, f"{status} {text}")
        check(server.metric("pharos_config_last_reload_successful") == 0, "the metric says that the reload succeeded")
        check("job_name: self" in server.get("/api/v1/status/config")[1], "the old configuration is gone")
        wait_for(lambda: server.query("up{job=\"self\"}"), 10, "the old configuration is not in force")
        server.config.write_text(good.replace("job_name: self", "job_name: other"))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.metric("pharos_config_last_reload_successful") == 1, 10, "SIGHUP does not reload", server.log)
        wait_for(lambda: server.query("up{job=\"other\"}"), 10, "the new configuration is not in force")


def main():
    checks = Checks()
    exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="pharos-bad-") as folder:
        with Pharos(f"{folder}/requests", CONFIG.format(jobs="")).start() as server:
            writes(checks, server)
            queries(checks, server)
            checks.run("memory stays bounded under requests", memory, server)
        with Pharos(f"{folder}/scrapes", CONFIG.format(jobs=jobs(exporter.server_port))).start() as server:
            checks.run("broken expositions", scrapes, server)
            checks.run("memory stays bounded under scrapes", memory, server)
        checks.run("damaged blocks", damaged_blocks, folder)
        checks.run("a damaged log", damaged_log, folder)
        checks.run("configuration mistakes", config_mistakes, folder)
        checks.run("a bad reload leaves the old configuration", bad_reload, folder)
    checks.finish()


if __name__ == "__main__":
    main()
