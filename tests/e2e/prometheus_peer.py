#!/usr/bin/env python3
"""A real Prometheus writes to Pharos and reads from it. Both must give the same answers.

  prometheus_peer.py [--seconds 40]

One Prometheus scrapes node_exporter (or itself) and a server with native histograms and remote-writes to two tenants, by messages 1.0 and 2.0; others with
empty storage remote-read (read_recent) from each tenant. Their answers, Pharos's and the first one's own are compared.
Needs prometheus (in $PEERS).
"""
import argparse
import json
import pathlib
import shutil
import tempfile
import time
import urllib.parse
import urllib.request

from pharos import Checks, Pharos, Service, check, free_port, peer, request, wait_for

WRITER = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: self
  scrape_native_histograms: true
  static_configs: [{{targets: [{targets}]}}]
remote_write:
- url: {url}/api/v1/write
  headers: {{X-Scope-OrgID: one}}
  metadata_config: {{send_interval: 5s}}
  send_native_histograms: true
  send_exemplars: true
- url: {url}/api/v1/write
  headers: {{X-Scope-OrgID: two}}
  protobuf_message: io.prometheus.write.v2.Request
  send_native_histograms: true
  send_exemplars: true
"""
READER = """
remote_read:
- url: {url}/api/v1/read
  headers: {{X-Scope-OrgID: {tenant}}}
  read_recent: true
"""
QUERIES = [
    "up", "prometheus_build_info", "rate(prometheus_http_requests_total[20s])", "sum by (code) (prometheus_http_requests_total)",
    "process_resident_memory_bytes", "count by (__name__) ({job=\"self\"})", "sum_over_time(go_goroutines[15s])",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[20s])))",
    "prometheus_http_request_duration_seconds", "histogram_count(prometheus_http_request_duration_seconds)",
    "histogram_quantile(0.5, sum(rate(prometheus_http_request_duration_seconds[20s])))",
    "sum(rate(prometheus_http_request_duration_seconds[20s]))", "{__name__=~\"scrape_.*\"}[10s]", "rate(process_cpu_seconds_total[20s])",
]


def ask(url, path, headers=None, **params):
    target = f"{url}{path}?{urllib.parse.urlencode(params, doseq=True)}"
    status, body = request(urllib.request.Request(target, headers=headers or {}))
    check(status == 200, f"{path} {params}: {status} {body[:500]}")
    return json.loads(body)["data"]


def rounded(value):
    """Rounds numbers, because the order of additions affects the last digits."""
    if isinstance(value, str):
        try:
            return f"{float(value):.10g}"
        except ValueError:
            return value
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return {k: rounded(v) for k, v in value.items()} if isinstance(value, dict) else value


def series(data):
    """Sorts the series of an answer."""
    return sorted((json.dumps(rounded(r), sort_keys=True) for r in data["result"]))


def same(writer, other, headers, at, start):
    differences = []
    for query in QUERIES:
        calls = [("/api/v1/query", {"query": query, "time": at})]
        if not query.endswith("]"):
            calls.append(("/api/v1/query_range", {"query": query, "start": start, "end": at, "step": 3}))
        for path, params in calls:
            theirs, ours = series(ask(writer, path, None, **params)), series(ask(other, path, headers, **params))
            if theirs != ours:
                first = next(((a, b) for a, b in zip(theirs, ours) if a != b), (theirs[-1:], ours[-1:]))
                differences.append(f"{path} {query}: {len(theirs)} there, {len(ours)} here\n  {str(first[0])[:700]}\n  {str(first[1])[:700]}")
    check(not differences, f"{len(differences)} differ\n" + "\n".join(differences[:4]))
    for path, params in (("/api/v1/series", {"match[]": '{job="self"}'}), ("/api/v1/labels", {}), ("/api/v1/label/__name__/values", {})):
        theirs, ours = (ask(url, path, h, start=start, end=at, **params) for url, h in ((writer, None), (other, headers)))
        order = lambda found: sorted(json.dumps(item, sort_keys=True) for item in found)
        if headers or "series" in path:  # a reader does not read labels remotely
            check(order(theirs) == order(ours), f"{path}: {len(theirs)} there, {len(ours)} here: {sorted(set(order(theirs)) ^ set(order(ours)))[:5]}")


def native(server, tenant, at):
    found = ask(server.url, "/api/v1/query", {"X-Scope-OrgID": tenant}, query="prometheus_http_request_duration_seconds", time=at)["result"]
    check(found and all("histogram" in r for r in found), f"no native histograms: {str(found)[:300]}")


def metadata(server):
    found = ask(server.url, "/api/v1/metadata", {"X-Scope-OrgID": "one"}, metric="up")
    found = found or ask(server.url, "/api/v1/metadata", {"X-Scope-OrgID": "one"}, metric="go_goroutines")
    check(found, "no metadata")


def nothing_lost(writer_url, writer):
    text = request(urllib.request.Request(f"{writer_url}/metrics"))[1]
    for line in text.splitlines():
        if line.startswith(("prometheus_remote_storage_samples_failed_total{", "prometheus_remote_storage_samples_dropped_total{",
                            "prometheus_remote_storage_histograms_failed_total{")):
            check(float(line.rsplit(" ", 1)[1]) == 0, line)
    log = writer.log.read_text(errors="replace")
    check("non-recoverable" not in log, log[-2000:])


def caught_up(server, writer, tenant, at):
    query = {"query": 'count(last_over_time({job="self"}[10s]))', "time": at}
    values = [ask(url, "/api/v1/query", h, **query)["result"] for url, h in ((writer, None), (server.url, {"X-Scope-OrgID": tenant}))]
    return bool(values[0]) and [r["value"][1] for r in values[0]] == [r["value"][1] for r in values[1]]


def prometheus(folder, name, config):
    port = free_port()
    home = pathlib.Path(folder) / name
    home.mkdir()
    (home / "prometheus.yml").write_text(config.replace("SELF", f"'127.0.0.1:{port}'"))
    return Service(folder, name, [peer("prometheus"), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
                                  "--enable-feature=native-histograms,exemplar-storage", f"--web.listen-address=127.0.0.1:{port}"],
                   f"http://127.0.0.1:{port}").start("/-/ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40)
    args = parser.parse_args()
    checks, services = Checks(), []
    with tempfile.TemporaryDirectory(prefix="pharos-peer-") as folder:
        try:
            with Pharos(f"{folder}/pharos", "scrape_configs: []\n", "--storage.tsdb.min-block-duration=1m").start() as server:
                targets = "SELF"
                exporter = shutil.which("prometheus-node-exporter")
                if exporter:
                    port = free_port()
                    targets += f", '127.0.0.1:{port}'"
                    services.append(Service(folder, "node_exporter", [exporter, f"--web.listen-address=127.0.0.1:{port}"], f"http://127.0.0.1:{port}").start())
                writer = prometheus(folder, "writer", WRITER.format(url=server.url, targets=targets))
                services.append(writer)
                readers = {}
                for tenant in ("one", "two"):
                    readers[tenant] = prometheus(folder, f"reader-{tenant}", READER.format(url=server.url, tenant=tenant))
                    services.append(readers[tenant])
                began = time.time()
                time.sleep(args.seconds)
                at, start = int(time.time()) - 3, int(began) + 5
                for tenant, message in (("one", "1.0"), ("two", "2.0")):
                    headers = {"X-Scope-OrgID": tenant}
                    checks.run(f"{message}: everything arrived", wait_for, lambda: caught_up(server, writer.url, tenant, at), 30, "samples are missing")
                    checks.run(f"{message}: native histograms", native, server, tenant, at)
                    checks.run(f"{message}: Pharos answers as the writer", same, writer.url, server.url, headers, at, start)
                    checks.run(f"{message}: a remote reader answers as the writer", same, writer.url, readers[tenant].url, None, at, start)
                checks.run("metadata", metadata, server)
                checks.run("nothing was refused or dropped", nothing_lost, writer.url, writer)
        finally:
            for service in services:
                service.stop()
    checks.finish()


if __name__ == "__main__":
    main()
