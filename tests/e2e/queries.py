#!/usr/bin/env python3
"""Running queries: limits by tenant and their reload, the fair queue, cancellation, query logs, plans and statistics."""
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import wire
from pharos import BINARY, Checks, Pharos, check, request, wait_for

# Takes long: for each of 300 series a quantile over 600 points at each of 10,000 steps.
LONG = "quantile_over_time(0.5, m[1m:100ms])"
NOW = int(time.time())


def write(server, tenant, *series):
    body = wire.snappy(b"".join(series))
    return server.post("/api/v1/write", body, {**wire.HEADERS, "X-Scope-OrgID": tenant})


def sample(name, value=1.0, t=None, **labels):
    pairs = sorted([("__name__", name), *labels.items()])
    return wire.series(pairs, (value, (t or NOW) * 1000))


def write_history(server, tenant):
    """Writes a sample per minute for the last three hours, so that LONG has work at every step."""
    samples = [(1.0, (NOW - ago) * 1000) for ago in range(10_800, -1, -60)]
    status, text = write(server, tenant, *[wire.series([("__name__", "m"), ("n", str(n))], *samples) for n in range(300)])
    check(status == 204, f"{status} {text}")


def ask(server, tenant, expression, **params):
    """Runs an instant query. Returns the status and the decoded response."""
    query = urllib.parse.urlencode({"query": expression, **params})
    asked = urllib.request.Request(f"{server.url}/api/v1/query?{query}", headers={"X-Scope-OrgID": tenant})
    status, body = request(asked)
    return status, json.loads(body)


class Background(threading.Thread):
    """A long query of a tenant that runs during the check."""

    def __init__(self, server, tenant, expression=LONG):
        super().__init__(daemon=True)
        params = {"query": expression, "start": NOW - 9999, "end": NOW, "step": 1}
        url = f"{server.url}/api/v1/query_range?{urllib.parse.urlencode(params)}"
        self.asked = urllib.request.Request(url, headers={"X-Scope-OrgID": tenant})
        self.status, self.answer = None, None
        self.start()

    def run(self):
        self.status, body = request(self.asked, 120)
        self.answer = json.loads(body)


def active(server, tenant="a", **params):
    query = f"?{urllib.parse.urlencode(params)}" if params else ""
    asked = urllib.request.Request(f"{server.url}/api/v1/status/active_queries{query}", headers={"X-Scope-OrgID": tenant})
    status, body = request(asked)
    check(status == 200, f"{status} {body}")
    return json.loads(body)["data"]


def cancel(server, tenant, query_id, **params):
    query = f"?{urllib.parse.urlencode(params)}" if params else ""
    path = f"/api/v1/status/active_queries/{query_id}{query}"
    return server.post(path, None, {"X-Scope-OrgID": tenant}, "DELETE")


def stages(server, tenant="a", **params):
    return [query["stage"] for query in active(server, tenant, **params)]


def limits_by_tenant(folder):
    """Overrides apply to their tenant only, and a reload replaces them without losing samples."""
    config = """limits:
  defaults: {max_series: 2}
  overrides:
    big: {max_series: 3, max_query_points: 10, max_query_series: 1, disabled_query_features: [promql-duration-expr]}
"""
    with Pharos(folder, config).start() as server:
        four = [sample("m", n=str(n)) for n in range(4)]
        for tenant, kept in (("small", 2), ("big", 3)):
            status, text = write(server, tenant, *four)
            check(status == 400 and "max_series" in str(text), f"{tenant}: {status} {text}")
            _, answer = ask(server, tenant, "count({__name__='m'})" if tenant == "small" else "count(m{n='0'})", time=NOW)
            check(answer["status"] == "success", f"{answer}")
        status, answer = ask(server, "big", "m", time=NOW)
        check(status == 422 and "more than 1 series" in answer["error"], f"{status} {answer}")
        status, answer = ask(server, "big", "rate(m[1m + 1m])")
        check(status == 400 and "duration expression is not enabled" in answer["error"], f"{status} {answer}")
        check(ask(server, "small", "rate(m[1m + 1m])")[0] == 200, "duration expressions are off for all")
        status, body = request(urllib.request.Request(
            f"{server.url}/api/v1/query_range?query=m&start=0&end=100&step=1", headers={"X-Scope-OrgID": "big"}))
        check(status == 400 and "max_query_points" in str(body), f"{status} {body}")
        server.config.write_text("limits: {overrides: {small: {max_series: 4}}}\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: write(server, "small", *four)[0] == 204, 20, "the new limit does not hold", server.log)
        check(ask(server, "big", "m", time=NOW)[0] == 200, "the old limit still holds")


def cancelling(folder):
    with Pharos(folder, None, "--web.enable-admin-api").start() as server:
        write_history(server, "a")
        long = Background(server, "a")
        wait_for(lambda: stages(server) == ["evaluating"], 20, "the query is not seen", server.log)
        query = active(server)[0]
        check(query["query"] == LONG and query["tenant"] == "a" and query["endpoint"] == "query_range", f"{query}")
        check(query["step"] == 1 and query["end"] == NOW and query["elapsedSeconds"] >= 0, f"{query}")
        check(active(server, "b") == [] and len(active(server, "b", all_tenants="true")) == 1, "tenants see each other")
        check(cancel(server, "b", query["id"])[0] == 404, "another tenant ends the query")
        status, text = cancel(server, "a", query["id"])
        check(status == 200, f"{status} {text}")
        long.join(20)
        check(long.status == 503 and long.answer["errorType"] == "canceled", f"{long.status} {long.answer}")
        check("canceled" in long.answer["error"], f"{long.answer}")
        check(active(server) == [] and cancel(server, "a", query["id"])[0] == 404, "it is still there")
        metrics = server.get("/metrics")[1]
        check('pharos_query_active{stage="evaluating"} 0' in str(metrics), "the gauge does not come back")
        check("pharos_query_cancelled_total 1" in str(metrics), "not counted")


def hanging_up(folder):
    with Pharos(folder).start() as server:
        write_history(server, "anonymous")
        query = urllib.parse.urlencode({"query": LONG, "start": NOW - 9999, "end": NOW, "step": 1})
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"GET /api/v1/query_range?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: stages(server, "anonymous") == ["evaluating"], 20, "the query is not seen", server.log)
        idle = lambda: "pharos_query_running 0" in str(server.get("/metrics")[1]) and active(server, "anonymous") == []
        wait_for(idle, 20, "the query goes on without its client", server.log)


def fair_queue(folder):
    config = "limits: {overrides: {a: {max_queued_queries: 2}}}\n"
    with Pharos(folder, config, "--query.max-concurrency=1").start() as server:
        for tenant in "ab":
            write_history(server, tenant)
        many = []
        for waiting in range(3):
            many.append(Background(server, "a"))
            wanted = ["evaluating"] + ["queued"] * waiting
            wait_for(lambda: stages(server) == wanted, 20, f"not {wanted}", server.log)
        status, answer = ask(server, "a", "m")
        check(status == 429 and "max_queued_queries is 2" in answer["error"], f"{status} {answer}")
        late = Background(server, "b", "count(m)")
        wait_for(lambda: stages(server, "b") == ["queued"], 20, "the other tenant does not wait", server.log)
        check("pharos_query_queued 3" in str(server.get("/metrics")[1]), "the gauge of waiting queries")
        first, second, third = (query["id"] for query in active(server))
        cancel(server, "a", first)
        wait_for(lambda: stages(server) == ["evaluating", "queued"], 20, "the next does not run", server.log)
        cancel(server, "a", second)
        late.join(20)
        check(late.status == 200, f"the other tenant waits for all of the first one's: {late.status}")
        check(cancel(server, "a", third)[0] == 200, "the third has run already")
        status, answer = None, None
        blocker = Background(server, "a")
        wait_for(lambda: "evaluating" in stages(server), 20, "nothing runs", server.log)
        status, answer = ask(server, "b", "m", timeout="1s")
        check(status == 503 and "timed out in query queue" in answer["error"], f"{status} {answer}")
        for query in active(server):
            cancel(server, "a", query["id"])
        blocker.join(20)


def logs(folder):
    log = pathlib.Path(folder) / "queries.log"
    config = f"global: {{query_log_file: {log}}}\n"
    with Pharos(folder, config, "--query.slow-log-threshold=1ms", "--log.format=json").start() as server:
        check(write(server, "a", sample("m"), sample("m", x="y"))[0] == 204, "nothing is written")
        check(ask(server, "a", "sum(sum_over_time(m[1h:10ms]))", time=NOW)[0] == 200, "no answer")
        status, _ = ask(server, "a", "m * on() m", time=NOW)
        check(status == 422, f"{status}")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        check([line["params"]["query"] for line in lines] == ["sum(sum_over_time(m[1h:10ms]))", "m * on() m"], f"{lines}")
        check(lines[0]["msg"] == "promql query logged" and lines[0]["stats"]["timings"]["evalTotalTime"] > 0, f"{lines[0]}")
        check(lines[0]["httpRequest"] == {"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query"}, f"{lines[0]}")
        check("error" in lines[1], f"{lines[1]}")
        slow = [line for line in map(json.loads, server.log.read_text().splitlines()) if line["msg"] == "slow query"]
        check(slow and slow[0]["tenant"] == "a" and slow[0]["query"] == "sum(sum_over_time(m[1h:10ms]))", f"{slow}")
        known = {"start", "end", "step", "steps", "duration_seconds", "queue_seconds", "series", "samples_read",
                 "peak_bytes", "bytes_read", "requests", "error", "endpoint"}
        check(known <= slow[0].keys(), f"{known - slow[0].keys()} are missing")


def plans_and_figures(folder):
    with Pharos(folder).start() as server:
        check(write(server, "anonymous", *[sample("m", n=str(n)) for n in range(5)])[0] == 204, "nothing is written")
        expression = "sum(rate(m[5m])) + 2 * 3"
        _, answer = ask(server, "anonymous", expression, explain="true")
        plan = answer["data"]["explain"]
        check(set(answer["data"]) == {"explain"} and set(plan) == {"logical", "physical"}, f"{answer}")
        check("actual" not in json.dumps(plan) and "range function" in json.dumps(plan), f"{plan}")
        _, answer = ask(server, "anonymous", "sum(m)", analyze="true", stats="all", time=NOW)
        data = answer["data"]
        check(data["result"][0]["value"][1] == "5", f"{data}")
        actual = data["explain"]["physical"]["children"][0]["actual"]
        check(actual["series"] == 5 and actual["samplesRead"] == 5, f"{data['explain']}")
        check(data["stats"]["samples"]["totalQueryableSamples"] == 5, f"{data['stats']}")
        check(data["stats"]["samples"]["totalQueryableSamplesPerStep"] == [[NOW, 5]], f"{data['stats']}")
        check(data["stats"]["timings"]["execTotalTime"] > 0, f"{data['stats']}")
        _, answer = ask(server, "anonymous", "sum(m)", stats="true", time=NOW)
        check("totalQueryableSamplesPerStep" not in answer["data"]["stats"]["samples"], f"{answer}")
        check(ask(server, "anonymous", "m", explain="perhaps")[0] == 400, "a bad switch is taken")
        status, body = server.get("/api/v1/query_range", query="m", start=NOW - 60, end=NOW, step=15, explain="true")
        check(status == 200 and "explain" in json.loads(body)["data"], f"{status} {body}")
        status, body = server.get("/api/v1/features")
        check(json.loads(body)["data"]["promql_functions"]["rate"], f"{status} {body}")


def auto_reload(folder):
    with Pharos(folder, "global: {scrape_interval: 7s}\n", "--config.auto-reload", "--config.auto-reload-interval=200ms").start() as server:
        config = lambda: server.get("/api/v1/status/config")[1]
        check("scrape_interval: 7s" in str(config()), f"{config()}")
        server.config.write_text("global: {scrape_interval: 8s}\nobject_store: {type: s3, bucket: b, access_key: hunter2, secret_key: hunter2}\n")
        wait_for(lambda: "scrape_interval: 8s" in str(config()), 20, "the change is not seen", server.log)
        check("hunter2" not in str(config()) and str(config()).count("<secret>") == 2, f"{config()}")
        check("hunter2" not in server.log.read_text(), "a secret is in the log")


def tool(folder):
    """Runs rule tests and PromQL test scripts from the command line."""
    folder = pathlib.Path(folder)
    (folder / "rules.yml").write_text("groups: [{name: g, rules: [{alert: Down, expr: up == 0, for: 1m}]}]\n")
    tests = """rule_files: [rules.yml]
tests:
- input_series: [{{series: up, values: '0 0 0'}}]
  alert_rule_test: [{{eval_time: 1m, alertname: Down, exp_alerts: [{alert}]}}]
"""
    (folder / "good.yml").write_text(tests.format(alert="{}"))
    (folder / "bad.yml").write_text(tests.format(alert=""))
    (folder / "s.test").write_text("load 1m\n  m 1 2\n\neval instant at 1m m\n  m 2\n")
    run = lambda *args: subprocess.run([BINARY, "tool", *args], cwd=folder, capture_output=True, text=True)
    done = run("test", "rules", "good.yml")
    check((done.returncode, done.stdout) == (0, "Processing test file: good.yml\n  SUCCESS\n\n"), f"{done}")
    done = run("test", "rules", "good.yml", "bad.yml")
    check(done.returncode == 1 and 'Labels:{alertname="Down"}' in done.stderr, f"{done}")
    done = run("promqltest", "s.test")
    check(done.returncode == 0 and "1 evaluations" in done.stdout, f"{done}")
    check(run("promqltest", "none.test").returncode == 1, "a missing script is fine")


def main():
    checks = Checks()
    scripts = (limits_by_tenant, cancelling, hanging_up, fair_queue, logs, plans_and_figures, auto_reload, tool)
    for script in scripts:
        with tempfile.TemporaryDirectory() as folder:
            checks.run(script.__name__.replace("_", " "), script, folder)
    checks.finish()


if __name__ == "__main__":
    main()
