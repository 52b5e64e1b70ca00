#!/usr/bin/env python3
"""The Alertmanager inside of the server: from a rule to a webhook, alone and as replicas on the nodes of a cluster.

  notifications.py [--alerts 40] [--rounds 1] [--only alone|replicas]

Alone: rules notify it without configuration, its API is below /alertmanager and on an address of its own, and a silence, a reload and a restart have their effect.
Replicas: three nodes share the work. One of them is killed while notifications are being sent; each alert still arrives, and none twice except those that were under way.
"""
import argparse
import collections
import http.server
import json
import pathlib
import tempfile
import threading
import time
import urllib.request

from cluster_nodes import Cluster
from pharos import Checks, Pharos, check, free_port, request, wait_for

LAYOUT = {"meta": 1, "ingester": 1, "store": 1, "ruler": 1, "frontend": 1, "alertmanager": 3}
ALERTMANAGER = """
route:
  receiver: hook
  group_by: [alertname]
  group_wait: {wait}
  group_interval: {interval}
  repeat_interval: 1h
receivers:
- name: hook
  webhook_configs: [{{url: 'http://127.0.0.1:{port}/{path}', max_alerts: 10}}]
"""


class Webhook:
    """Records notifications, each of which takes `pause` seconds."""

    def __init__(self):
        self.got, self.lock, self.pause, self.on_request = [], threading.Lock(), 0, lambda: None
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with hook.lock:
                    hook.got.append((time.time(), self.path, body))
                hook.on_request()
                time.sleep(hook.pause)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        http.server.ThreadingHTTPServer.request_queue_size = 128
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def names(self, status, path=None):
        """How often each alert arrived with a status."""
        with self.lock:
            got = list(self.got)
        return collections.Counter(alert["labels"]["alertname"] for _, where, body in got if path in (None, where)
                                   for alert in body["alerts"] if alert["status"] == status)


def get(url):
    status, body = request(urllib.request.Request(url))
    check(status == 200, f"{url}: {status} {body[:300]}")
    return body


def post(url, value):
    data = json.dumps(value).encode()
    status, body = request(urllib.request.Request(url, data, {"Content-Type": "application/json"}))
    check(status == 200, f"POST {url}: {status} {body[:300]}")
    return json.loads(body or "null")


def silence(url, name, seconds=600):
    at = lambda t: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))
    draft = {"matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}], "startsAt": at(time.time()),
             "endsAt": at(time.time() + seconds), "createdBy": "test", "comment": "of the test"}
    return post(f"{url}/api/v2/silences", draft)["silenceID"]


def rules(folder, expressions):
    text = "groups:\n- name: g\n  interval: 1s\n  rules:\n"
    text += "".join(f"  - {{alert: '{name}', expr: '{expression}'}}\n" for name, expression in expressions.items())
    path = pathlib.Path(folder) / "rules.yml"
    path.write_text(text)
    return path


def alone():
    hook = Webhook()
    with tempfile.TemporaryDirectory() as folder:
        file, port = pathlib.Path(folder) / "alertmanager.yml", free_port()
        write = lambda path: file.write_text(ALERTMANAGER.format(port=hook.port, path=path, wait="0s", interval="1s"))
        write("first")
        path = rules(folder, {"Up": "vector(1)", "Quiet": "vector(1)"})
        config = f"global: {{external_labels: {{region: eu}}}}\nrule_files: [{path}]\nscrape_configs: []\n"
        flags = [f"--alertmanager.config-file={file}", f"--alertmanager.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle"]
        with Pharos(f"{folder}/server", config, *flags) as server:
            own, inside = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{server.port}/alertmanager"
            server.start()
            wait_for(lambda: hook.names("firing").keys() == {"Up", "Quiet"}, 30, f"{hook.got}", server.log)
            labels = hook.got[0][2]["commonLabels"]
            check(labels["region"] == "eu" and hook.got[0][2]["externalURL"].endswith("/alertmanager"), hook.got[0])
            for url in (own, inside):
                check(len(json.loads(get(f"{url}/api/v2/alerts"))) == 2, url)
                check(json.loads(get(f"{url}/api/v2/status"))["cluster"]["status"] == "disabled", url)
                check("OK" in get(f"{url}/-/healthy"), url)
            check(get(inside) == get(f"{inside}/"), "the page with and without a slash differ")
            known = json.loads(server.get("/api/v1/alertmanagers")[1])["data"]["activeAlertmanagers"]
            check([entry["url"].endswith("/alertmanager/api/v2/alerts") for entry in known] == [True], known)

            silence(inside, "Quiet")
            write("second")
            rules(folder, {"Up": "vector(0) > 0", "Quiet": "vector(0) > 0", "New": "vector(1)"})
            check(server.post("/-/reload")[0] == 200, "the reload fails")
            wait_for(lambda: hook.names("firing", "/second") == {"New": 1}, 30, f"{hook.got}", server.log)
            wait_for(lambda: hook.names("resolved", "/second") == {"Up": 1}, 30, f"{hook.got}", server.log)
            before = file.read_text()
            file.write_text("route: {receiver: nobody}\n")
            status, text = server.post("/-/reload")
            check(status == 500 and "nobody" in text, f"{status}: {text}")
            file.write_text(before)

            check(server.stop() == 0, "exit code")
            server.start()
            wait_for(lambda: len(json.loads(get(f"{own}/api/v2/alerts"))) > 0, 30, "no alert after the restart", server.log)
            # Two flushes of the group are over by then.
            began = time.monotonic()
            wait_for(lambda: time.monotonic() > began + 3, 10, "")
            check(hook.names("firing", "/second") == {"New": 1}, f"notified again after the restart: {hook.names('firing', '/second')}")


class Replicas:
    def __init__(self, options):
        self.options, self.hook = options, Webhook()

    def run(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "alertmanager.yml"
            file.write_text(ALERTMANAGER.format(port=self.hook.port, path="hook", wait="2s", interval="5s"))
            names = {f"Alert{number}": "vector(1) unless on () gone" for number in range(self.options.alerts)}
            path = rules(folder, names)
            config = f"scrape_configs: []\nrule_files: [{path}]\nobject_store: {{type: filesystem, directory: {folder}/bucket}}\n"
            with Cluster(folder, LAYOUT, factor=1, config=config) as self.cluster:
                self.nodes = [self.cluster[f"alertmanager-{number}"] for number in (1, 2, 3)]
                for node in self.nodes:
                    node.flags = [f"--alertmanager.config-file={file}"]
                # The ruler is last: nothing fires before the replicas know each other.
                ruler = self.cluster["ruler-1"]
                others = [node for node in self.cluster.nodes.values() if node is not ruler]
                for node in others:
                    node.start(wait=False)
                for node in others:
                    node.wait_ready()
                wait_for(lambda: all(len(self.peers(node)) == 3 for node in self.nodes), 60, "the replicas do not find each other", self.nodes[0].log)
                order = sorted(self.nodes, key=lambda node: node.identity)
                shared = silence(f"{order[2].url}/alertmanager", "Alert0")
                for node in self.nodes:
                    check(json.loads(get(f"{node.url}/alertmanager/api/v2/silence/{shared}"))["status"]["state"] == "active", node.name)

                victim, wanted = order[0], set(names) - {"Alert0"}
                self.hook.pause = 0.05
                seen = threading.Event()
                # The first replica sends everything. It is killed when a third is on the way.
                self.hook.on_request = lambda: len(self.hook.got) >= len(names) // 3 and seen.set()
                ruler.start()
                check(seen.wait(60), f"only {len(self.hook.got)} notifications")
                victim.stopped_by_test = True
                victim.kill()
                killed = time.time()
                self.hook.on_request = lambda: None
                wait_for(lambda: set(self.hook.names("firing")) >= wanted, 90, f"{len(self.hook.names('firing'))} of {len(wanted)} arrived", order[1].log)
                print(f"     all {len(wanted)} arrived {time.time() - killed:.1f} s after the kill", flush=True)
                # The rest of the replicas is asked to flush all groups once more.
                flushed = time.monotonic()
                wait_for(lambda: time.monotonic() > flushed + 12, 20, "")
                counts = self.hook.names("firing")
                twice = [name for name, count in counts.items() if count > 1]
                under_way = [body["alerts"][0]["labels"]["alertname"] for at, _, body in self.hook.got if killed - 1 <= at <= killed]
                print(f"     {len(twice)} of {len(counts)} arrived twice; {len(under_way)} within the second before the kill", flush=True)
                check("Alert0" not in counts, "the silenced alert arrived")
                check(max(counts.values()) <= 2, f"more than twice: {counts.most_common(3)}")
                check(set(twice) <= set(under_way), f"twice although they were not under way: {set(twice) - set(under_way)}")

                victim.start()
                victim.stopped_by_test = False
                wait_for(lambda: len(self.peers(victim)) == 3, 60, "the killed replica does not find the others", victim.log)
                known = json.loads(get(f"{victim.url}/alertmanager/api/v2/silence/{shared}"))
                check(known["status"]["state"] == "active", known)
                total = sum(counts.values())
                wait_for(lambda: len(json.loads(get(f"{victim.url}/alertmanager/api/v2/alerts"))) == len(names), 90, "no alerts", victim.log)
                flushed = time.monotonic()
                wait_for(lambda: time.monotonic() > flushed + 8, 20, "")
                check(sum(self.hook.names("firing").values()) == total, "the replica that returned notifies again")
                check(not self.cluster.complaints(), self.cluster.complaints()[:5])

    def peers(self, node):
        return json.loads(get(f"{node.url}/alertmanager/api/v2/status"))["cluster"]["peers"]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--alerts", type=int, default=40)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--only", choices=["alone", "replicas"])
    options = options.parse_args()
    checks = Checks()
    if options.only != "replicas":
        checks.run("from a rule to a webhook", alone)
    if options.only != "alone":
        for _ in range(options.rounds):
            checks.run("a replica is killed while it notifies", Replicas(options).run)
    checks.finish()


if __name__ == "__main__":
    main()
