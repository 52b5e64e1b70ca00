#!/usr/bin/env python3
"""The life of deploy/docker-compose.yml from up to down. compose.sh builds the images and calls this script.

  compose.py [--keep]     --keep leaves the containers running

The whole cluster comes up, the README's first queries show data, it grows to five ingesters and shrinks to three by draining, a container is killed, all
goes down and comes up again with its volumes: `loadgen verify` finds all that was written each time, through the one port.
"""
import argparse
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request

from pharos import ROOT, Checks, check, free_port, loadgen, request, wait_for

PROJECT = "pharos-e2e"
FILE = ROOT / "deploy/docker-compose.yml"
WAIT = 180
FIRST_QUERIES = ["up", "sum by (mode) (rate(node_cpu_seconds_total[1m]))", "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
                 "sum by (path) (rate(shop_requests_total[1m]))", "histogram_quantile(0.95, sum by (path, le) (rate(shop_request_duration_seconds_bucket[1m])))"]


class Stack:
    """The containers, which are reached through the proxy's port."""

    def __init__(self, tool):
        self.port, self.grafana, self.demo, self.tool, self.parts = free_port(), free_port(), free_port(), tool, []
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {**os.environ, "PHAROS_PORT": str(self.port), "GRAFANA_PORT": str(self.grafana), "DEMO_PORT": str(self.demo), "PHAROS_WINDOW": "1m", "COMPOSE_HTTP_TIMEOUT": "300"}

    def compose(self, *arguments, seconds=400):
        done = subprocess.run(["docker-compose", "-p", PROJECT, "-f", str(FILE), *arguments], env=self.env, capture_output=True, text=True, timeout=seconds)
        check(done.returncode == 0, f"docker-compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        return done.stdout

    def containers(self, service):
        return self.compose("ps", "-q", service).split()

    def address(self, container):
        """The address of a container among the others."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return subprocess.run(["docker", "inspect", "-f", template, container], capture_output=True, text=True, check=True).stdout.strip()

    def ask(self, path, **params):
        return request(urllib.request.Request(f"{self.url}/api/v1/{path}", data=urllib.parse.urlencode(params).encode() if params else None), 30)

    def query(self, expression, **params):
        status, body = self.ask("query", query=expression, **params)
        check(status == 200, f"{expression}: {status} {body[:500]}")
        answer = json.loads(body)
        check(not answer.get("warnings"), f"{expression}: {answer}")
        return answer["data"]["result"]

    def has(self, expression):
        try:
            return self.query(expression)
        except (AssertionError, OSError):
            return []

    def status(self):
        status, body = self.ask("cluster")
        check(status == 200, f"cluster: {status} {body[:500]}")
        return json.loads(body)["data"]

    def settled(self, ingesters, factor=3):
        """Whether this many ingesters are active with replicas, and every shard has `factor` replicas in sync."""
        try:
            status = self.status()
        except (AssertionError, OSError):
            return False
        live = {m["node"] for m in status["members"] if "ingester" in m["roles"] and m["state"] == "active"}
        holding = {node for shard in status["shards"] for node in shard["inSync"]}
        return len(live) == ingesters and holding == live and all(len(s["inSync"]) == factor and not s["lagging"] for s in status["shards"])

    def settle(self, ingesters, seconds=WAIT):
        began = time.monotonic()
        wait_for(lambda: self.settled(ingesters), seconds, f"no cluster of {ingesters} ingesters in sync")
        return time.monotonic() - began

    def write(self, hosts=5, steps=24):
        """Writes two minutes of new hosts through the proxy."""
        shape = ["--hosts", str(hosts), "--first-host", str(len(self.parts) * 1000), "--steps", str(steps), "--interval", "5", "--end", str(int(time.time()) // 5 * 5)]
        done = subprocess.run([self.tool, "write", "--url", f"{self.url}/api/v1/push", *shape], capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, f"the writer failed: {done.stderr[-800:]}")
        self.parts.append(shape)

    def verify(self):
        for shape in self.parts:
            done = subprocess.run([self.tool, "verify", "--url", self.url, *shape], capture_output=True, text=True, timeout=120)
            check(done.returncode == 0, f"{shape}: {done.stdout}{done.stderr}")


def up(stack):
    began = time.monotonic()
    stack.compose("up", "-d")
    print(f"     docker-compose up took {time.monotonic() - began:.1f} s", flush=True)
    stack.settle(3)
    print(f"     three ingesters are in sync {time.monotonic() - began:.1f} s after the beginning", flush=True)
    for expression in FIRST_QUERIES:
        wait_for(lambda: stack.has(expression), 90, f"{expression} has no data")
    print(f"     the first queries show data {time.monotonic() - began:.1f} s after the beginning", flush=True)
    # meta x3, agent x2, ingester x3, store x2, frontend x2, compactor, ruler x2, alertmanager x2.
    wait_for(lambda: len(stack.has('up{job="pharos"} == 1')) == 17, 60, "not all nodes are scraped")
    check({one["metric"]["job"] for one in stack.query("up == 1")} == {"pharos", "node", "shop"}, f"{stack.query('up')}")
    began = stack.has("shop_requests_total")
    wait_for(lambda: stack.has("shop_requests_total") != began, 30, "the demo does not move")


def notified(stack):
    """An alert of the demo's rules reaches the webhook through the Alertmanagers. It is posted to each of them, because the demo's own fires every ten minutes only."""
    alert = [{"labels": {"alertname": "Posted"}, "annotations": {"summary": "by the test"}}]
    for container in stack.containers("alertmanager"):
        post = f"import urllib.request as u; u.urlopen(u.Request('http://{stack.address(container)}:9090/alertmanager/api/v2/alerts', {json.dumps(alert).encode()!r}, {{'Content-Type': 'application/json'}}))"
        stack.compose("exec", "-T", "demo", "python3", "-c", post)
    shown = lambda: request(urllib.request.Request(f"http://127.0.0.1:{stack.demo}/notifications"), 5)[1]
    wait_for(lambda: "Posted by the test" in shown(), 60, f"no notification: {shown()}")
    time.sleep(20)
    check(shown().count("firing   Posted") == 1, f"notified more than once: {shown()}")
    wait_for(lambda: len(json.loads(stack.ask("rules")[1])["data"]["groups"]) == 2, 30, "the rules are not shown")


def write_and_verify(stack):
    stack.write()
    stack.verify()


def panels(dashboard):
    """All panels, also those of collapsed rows."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panels(panel) if "panels" in panel else ()


def provisioned(stack):
    """Grafana's container has its files where Grafana expects them, every query of the dashboards is answered, and most have data."""
    base = f"http://127.0.0.1:{stack.grafana}"
    wait_for(lambda: request(urllib.request.Request(f"{base}/etc/grafana/provisioning/datasources/pharos.yml"), 5)[0] == 200, 30, "no data source is provisioned")
    expressions = set()
    for file in sorted((ROOT / "deploy/dashboards").glob("*.json")):
        status, text = request(urllib.request.Request(f"{base}/var/lib/grafana/dashboards/{file.name}"), 5)
        check(status == 200, f"dashboard {file.name}: {status}")
        for panel in panels(json.loads(text)):
            for target in panel.get("targets", []):
                expressions.add(re.sub(r"\$\w+", ".*", target["expr"].replace("$__rate_interval", "1m")))
    # What counts failures has no series while there are none; rates need two scrapes.
    empty = lambda: sorted(one for one in expressions if not stack.query(one))
    wait_for(lambda: len(empty()) < len(expressions) / 4, 90, f"of {len(expressions)} panels these have no data: {empty()}")
    print(f"     {len(expressions)} questions of the dashboards are answered, these with nothing: {empty()}", flush=True)


def grow(stack):
    began = time.monotonic()
    stack.compose("up", "-d", "--no-recreate", "--scale", "ingester=5")
    stack.write()
    stack.settle(5)
    print(f"     five ingesters are in sync {time.monotonic() - began:.1f} s after the beginning", flush=True)
    stack.write()
    stack.verify()
    folders = {subprocess.run(["docker", "exec", c, "sh", "-c", "readlink /proc/1/cwd; tr '\\0' ' ' </proc/1/cmdline"], capture_output=True, text=True).stdout.split("--storage.path=")[-1].strip()
               for c in stack.containers("ingester")}
    check(len(folders) == 5, f"five ingesters have the folders {folders}")


def drain(stack):
    for index in ("5", "4"):
        began = time.monotonic()
        stack.compose("exec", "-T", f"--index={index}", "ingester", "pharos", "cluster", "drain")
        print(f"     ingester {index} drained in {time.monotonic() - began:.1f} s", flush=True)
        stack.write(hosts=2)
    stack.compose("up", "-d", "--no-recreate", "--scale", "ingester=3")
    stack.settle(3)
    stack.verify()


def kill(stack):
    """The port keeps answering while a container is killed. `up` brings it back."""
    for service in ("ingester", "agent", "frontend", "meta-2"):
        victim = stack.containers(service)[-1]
        subprocess.run(["docker", "kill", victim], check=True, capture_output=True)
        stack.write(hosts=2)
        stack.verify()
        stack.compose("up", "-d", "--no-recreate")
        stack.settle(3)
    stack.verify()


def down_and_up(stack):
    before = stack.query('count(count_over_time({job="shop"}[1h]))')[0]["value"][1]
    at = int(time.time()) - 30
    total = lambda: [one["value"][1] for one in stack.query('sum(count_over_time(shop_requests_total[10m]))', time=at)]
    known = total()
    began = time.monotonic()
    stack.compose("down")
    print(f"     docker-compose down took {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()
    stack.compose("up", "-d")
    stack.settle(3)
    print(f"     up again, in sync after {time.monotonic() - began:.1f} s", flush=True)
    stack.verify()
    check(total() == known, f"the demo's samples were {known} before and are {total()}")
    check(float(stack.query('count(count_over_time({job="shop"}[1h]))')[0]["value"][1]) >= float(before), "series of the demo are missing")
    members = [m for m in stack.status()["members"] if "ingester" in m["roles"] and m["state"] in ("active", "down")]
    check(len(members) == 3, f"the ingesters have new identities: {members}")
    stack.write()
    stack.verify()


def in_s3(stack):
    """Checks that blocks are in MinIO's volume."""
    find = ["docker", "run", "--rm", "-v", f"{PROJECT}_minio:/data:ro", "debian:bookworm-slim", "find", "/data/pharos", "-path", "*blocks*", "-name", "data.parquet"]
    wait_for(lambda: subprocess.run(find, capture_output=True, text=True).stdout.count("\n") > 0, WAIT, "no block is in the bucket")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    checks, stack = Checks(), Stack(loadgen())
    stack.compose("down", "-v", "--remove-orphans")
    try:
        for name, body in (("up, and the first queries", up), ("write and verify through the one port", write_and_verify), ("an alert is notified once", notified), ("blocks are in S3", in_s3),
                           ("Grafana's files and questions", provisioned), ("scale to five ingesters", grow), ("drain two and scale to three", drain),
                           ("kill containers", kill), ("down, and up with the volumes", down_and_up)):
            checks.run(name, body, stack)
            if checks.failed and body in (up, down_and_up):
                break
        if checks.failed:
            print(stack.compose("ps"), stack.compose("logs", "--tail=15", "--no-color")[-12000:], flush=True)
    finally:
        if args.keep:
            print(f"     left running at {stack.url}", flush=True)
        else:
            stack.compose("down", "-v", "--remove-orphans")
    checks.finish()


if __name__ == "__main__":
    main()
