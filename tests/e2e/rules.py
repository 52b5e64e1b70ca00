#!/usr/bin/env python3
"""Rules and alerts of a real server, compared with Prometheus where it is installed.

  rules.py [--interval 4] [--phases 6]

Both servers scrape the same target, whose values change in phases, evaluate the same rule files and send alerts to a webhook of this script that plays the Alertmanager.
The values change right after an evaluation, so that both servers have seen them at the next one, and every sample must be equal. Needs prometheus (in $PEERS) for the comparison.
"""
import argparse
import collections
import datetime
import http.server
import json
import pathlib
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from pharos import Checks, Pharos, Service, Skipped, check, free_port, peer, request, wait_for

# What each series has in each phase; None where the series is absent.
DATA = {
    'load{host="a"}': [1, 9, 9, 9, 1, 9],
    'load{host="b"}': [1, 1, 9, 9, 9, 1],
    'load{host="c"}': [2, 2, 2, None, 2, 2],
    'side{host="a"}': [1, 1, 1, 1, 1, 1],
    'side{host="b"}': [1, 1, 1, 1, 1, 1],
}
RULES = """
groups:
- name: compare
  interval: {interval}s
  labels: {{team: core}}
  rules:
  - {{record: 'host:load:double', expr: 'load * 2', labels: {{kind: rec}}}}
  - {{record: 'sum:load', expr: 'sum(host:load:double)'}}
  - alert: Hot
    expr: load > 5
    for: {hold}s
    labels: {{severity: page, host_upper: '{{{{ $labels.host | toUpper }}}}'}}
    annotations:
      summary: '{{{{ $labels.host }}}} has {{{{ $value | humanize }}}} of {{{{ with query "sum(load)" }}}}{{{{ . | first | value }}}}{{{{ end }}}}'
      broken: '{{{{ query "sum(" }}}}'
  - alert: Sticky
    expr: load > 5
    keep_firing_for: {keep}s
  - alert: FromAlerts
    expr: count by (alertname) (ALERTS{{alertname="Hot", alertstate="firing"}}) > 0
  - {{record: fails, expr: 'load * on () side'}}
  - {{record: duplicates, expr: 'load', labels: {{host: same}}}}
- name: limited
  interval: {interval}s
  limit: 2
  rules:
  - {{record: too_many, expr: load}}
  - {{record: few, expr: 'topk(1, load)'}}
"""
# Applied half way: one rule is gone, one is new, one has another expression, and a threshold has moved.
RELOADED = RULES.replace("  - {{record: 'sum:load', expr: 'sum(host:load:double)'}}\n", "").replace(
    "load * 2", "load * 3").replace("  limit: 2\n", "  limit: 3\n").replace(
    "- name: limited", "  - {{alert: New, expr: 'load > 0'}}\n- name: limited")
CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 15s, external_labels: {{region: eu}}}}
rule_files: [{rules}]
alerting:
  alert_relabel_configs:
  - {{source_labels: [severity], target_label: urgency, regex: '(.+)', replacement: 'x-$1'}}
  alertmanagers:
  - static_configs: [{{targets: ['127.0.0.1:{port}']}}]
    path_prefix: /{name}
scrape_configs:
- job_name: data
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


class Target:
    """Exposes the data of the current phase, and records the alerts that are posted to it by their path."""

    def __init__(self):
        self.phase, self.alerts, self.port = 0, collections.defaultdict(list), free_port()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                lines = [f"{series} {values[outer.phase]}" for series, values in DATA.items() if values[outer.phase] is not None]
                self.reply("\n".join(lines) + "\n")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.alerts[self.path].extend(body)
                self.reply("{}")

            def reply(self, text):
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, name):
        """The alerts that a server has sent: their annotations by labels and start."""
        seen = {}
        for alert in self.alerts[f"/{name}/api/v2/alerts"]:
            check(seconds(alert["endsAt"]) >= seconds(alert["startsAt"]), f"an alert ends before it starts: {alert}")
            check(alert["generatorURL"].startswith("http://monitor.example.org:9090/graph?g0.expr="), f"{alert}")
            key = (json.dumps(alert["labels"], sort_keys=True), alert["startsAt"][:23])
            seen.setdefault(key, set()).add(json.dumps(alert.get("annotations", {}), sort_keys=True))
        return seen


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ask(url, path, **params):
    status, body = request(urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(params, doseq=True)}"))
    check(status == 200, f"{path} {params}: {status} {body[:500]}")
    return json.loads(body)["data"]


def samples(url, selector, at, seconds_back):
    """All samples of a selector: value by series and time."""
    found = {}
    for series in ask(url, "/api/v1/query", query=f"{selector}[{seconds_back}s]", time=at)["result"]:
        labels = json.dumps(series["metric"], sort_keys=True)
        found.update({(labels, round(t * 1000)): value for t, value in series["values"]})
    return found


def shown_rules(url):
    """The rules as the API shows them, without what depends on the moment."""
    groups = ask(url, "/api/v1/rules")["groups"]
    for group in groups:
        check(seconds(group.pop("lastEvaluation")) > 0 and group.pop("evaluationTime") >= 0, f"{group}")
        for rule in group["rules"]:
            check(seconds(rule.pop("lastEvaluation")) > 0 and rule.pop("evaluationTime") >= 0, f"{rule}")
            for alert in rule.get("alerts") or []:
                for time_field in {"activeAt", "keepFiringSince"} & alert.keys():
                    alert[time_field] = round(seconds(alert[time_field][:23].rstrip("Z") + "Z"), 2)
            (rule.get("alerts") or []).sort(key=lambda alert: json.dumps(alert["labels"], sort_keys=True))
    return groups


class Run:
    """The target, our server and, if there is one, its peer, driven through all phases."""

    def __init__(self, folder, options):
        self.folder, self.options, self.target = folder, options, Target()
        self.rules = folder / "rules.yml"
        self.write_rules(RULES)
        self.names, self.rules_seen, self.peer = ["pharos"], [], None
        config = lambda name: CONFIG.format(rules=self.rules, port=self.target.port, name=name)
        self.ours = Pharos(folder / "pharos", config("pharos"), "--web.enable-lifecycle", "--rules.alert.resend-delay=1s",
                           "--web.external-url=http://monitor.example.org:9090")
        self.urls = {"pharos": self.ours.url}
        try:
            binary, port = peer("prometheus"), free_port()
        except Skipped as reason:
            print(f"no comparison: {reason}", flush=True)
            return
        file = folder / "prometheus.yml"
        file.write_text(config("prometheus"))
        command = [binary, f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
                   "--rules.alert.resend-delay=1s", "--web.external-url=http://monitor.example.org:9090", "--web.route-prefix=/"]
        self.peer = Service(folder, "prometheus", command, f"http://127.0.0.1:{port}")
        self.names.append("prometheus")
        self.urls["prometheus"] = self.peer.url

    def write_rules(self, text):
        interval = self.options.interval
        self.rules.write_text(text.format(interval=interval, hold=2 * interval, keep=2 * interval))

    def go(self):
        self.ours.start()
        if self.peer:
            self.peer.start("/-/ready")
        self.began = time.time()
        interval, half = self.options.interval, self.options.phases // 2
        wait_for(lambda: all(self.evaluated(url) for url in self.urls.values()), 4 * interval + 30, "no rule was evaluated", self.ours.log)
        # Prometheus writes no ALERTS before its third evaluation.
        time.sleep(3 * interval)
        self.compared_from = time.time()
        for phase in range(1, self.options.phases):
            self.wait_for_quiet_moment()
            self.target.phase = phase
            if phase == half:
                self.write_rules(RELOADED)
                for url in self.urls.values():
                    status, body = request(urllib.request.Request(url + "/-/reload", method="POST", data=b""))
                    check(status == 200, f"reload: {status} {body}")
                self.reloaded = time.time()
            time.sleep(3 * interval)
            self.wait_for_quiet_moment()
            self.rules_seen.append({name: shown_rules(url) for name, url in self.urls.items()})
        time.sleep(interval)
        self.ended = time.time()

    def evaluated(self, url):
        return ask(url, "/api/v1/query", query='{__name__=~"host:load:double|few"}')["result"]

    def wait_for_quiet_moment(self):
        """Waits until all groups were evaluated and the next evaluation is as far away as it can be."""
        interval, slots = self.options.interval, set()
        for selector in ("host:load:double", "few"):
            for (_, t) in samples(self.ours.url, selector, time.time(), 3 * interval):
                slots.add(t / 1000 % interval)
        slots = sorted(slots)
        gaps = [((b - a) % interval or interval, a) for a, b in zip(slots, slots[1:] + slots[:1])]
        gap, after = max(gaps)
        moment = after + min(0.4, gap / 4)
        time.sleep((moment - time.time()) % interval)

    def stop(self):
        self.ours.stop()
        if self.peer:
            self.peer.stop()


def recorded_series(run):
    at, back = run.ended, int(run.ended - run.compared_from)
    found = samples(run.ours.url, "host:load:double", at, back)
    check(len(found) > 5, f"only {len(found)} samples were recorded")
    values = {value for (labels, _), value in found.items() if '"host": "a"' in labels}
    check({"18", "27", "3"} <= values, f"values of host a: {sorted(values)}")
    check(all('"kind": "rec"' in labels and '"team": "core"' in labels for labels, _ in found), "labels are missing")
    gone = samples(run.ours.url, "sum:load", at, int(at - run.reloaded) - run.options.interval)
    check(not gone, f"a removed rule is still evaluated: {gone}")


def alerts_of_ours(run):
    groups = {name: [rule for group in seen["pharos"] for rule in group["rules"]] for name, seen in enumerate(run.rules_seen)}
    hot = [next(rule for rule in rules if rule["name"] == "Hot") for rules in groups.values()]
    check([rule["state"] for rule in hot][:3] == ["firing"] * 3, f"states of Hot: {[rule['state'] for rule in hot]}")
    summary = hot[0]["alerts"][0]["annotations"]["summary"]
    check(summary == "a has 9 of 12", summary)
    fails = next(rule for rule in groups[0] if rule["name"] == "fails")
    check(fails["health"] == "err" and "found duplicate series" in fails["lastError"], f"{fails}")
    limited = next(rule for rule in groups[0] if rule["name"] == "too_many")
    check(limited["lastError"] == "exceeded limit of 2 with 3 series", f"{limited}")
    sent = run.target.of("pharos")
    check(any('"urgency": "x-page"' in labels and '"region": "eu"' in labels for labels, _ in sent), f"sent: {list(sent)}")
    for name in ("prometheus_rule_evaluations_total", "prometheus_notifications_sent_total", "prometheus_rule_evaluation_failures_total"):
        check(run.ours.metric(name) > 0, f"{name} is 0")
    check(run.ours.metric("prometheus_rule_group_iterations_missed_total") == 0, "evaluations were missed")


def same_series(run):
    if not run.peer:
        raise Skipped("prometheus is not installed")
    at, back = run.ended, int(run.ended - run.compared_from)
    for selector in ('{__name__=~"host:load:double|sum:load|few|duplicates|fails|too_many"}', "ALERTS", "ALERTS_FOR_STATE"):
        ours, theirs = (samples(url, selector, at, back) for url in run.urls.values())
        check(theirs, f"prometheus has no samples of {selector}")
        differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        shown = [f"{key}: ours {ours.get(key)}, theirs {theirs.get(key)}" for key in sorted(differing, key=lambda key: key[1])[:8]]
        check(not differing, f"{selector}: {len(differing)} of {len(theirs)} samples differ:\n" + "\n".join(shown))
        print(f"     {selector}: {len(theirs)} samples are equal", flush=True)


def same_rules(run):
    if not run.peer:
        raise Skipped("prometheus is not installed")
    for phase, seen in enumerate(run.rules_seen, 1):
        for ours, theirs in zip(seen["pharos"], seen["prometheus"], strict=True):
            for a, b in zip(ours["rules"], theirs["rules"], strict=True):
                check(a == b, f"phase {phase}:\nours   {json.dumps(a)}\ntheirs {json.dumps(b)}")
            check(ours == theirs, f"phase {phase}: group {ours['name']}")


def same_notifications(run):
    if not run.peer:
        raise Skipped("prometheus is not installed")
    since = datetime.datetime.fromtimestamp(run.compared_from, datetime.timezone.utc).isoformat()[:23]
    ours, theirs = ({key: value for key, value in run.target.of(name).items() if key[1] > since} for name in run.names)
    check(theirs and ours.keys() == theirs.keys(), f"only ours: {sorted(ours.keys() - theirs.keys())}\nonly theirs: {sorted(theirs.keys() - ours.keys())}")
    print(f"     {len(theirs)} alerts are equal", flush=True)


def restart(run):
    """A firing alert fires on after a crash, and has been active since the same moment."""
    run.target.phase = 2
    firing = lambda: {json.dumps(alert["labels"], sort_keys=True): alert["activeAt"][:19] for alert in ask(run.ours.url, "/api/v1/alerts")["alerts"]
                      if alert["state"] == "firing" and alert["labels"]["alertname"] == "Hot"}
    wait_for(lambda: len(firing()) == 2, 60, "two alerts do not fire", run.ours.log)
    before = firing()
    run.ours.kill()
    run.ours.start()
    state = lambda: [rule["state"] for group in ask(run.ours.url, "/api/v1/rules")["groups"] for rule in group["rules"] if rule["name"] == "Hot"]
    wait_for(lambda: state() != ["unknown"], 60, "Hot was not evaluated", run.ours.log)
    check(firing() == before, f"before {before}, after {firing()}")


def bad_rules(run):
    """A file with a mistake leaves the rules in force, and the error says where it is."""
    run.rules.write_text("groups:\n- name: g\n  rules:\n  - {record: r, expr: 'sum('}\n")
    status, body = run.ours.post("/-/reload")
    check(status == 500 and "rules.yml: 4:" in body and "could not parse expression" in body, f"{status} {body}")
    check([group["name"] for group in ask(run.ours.url, "/api/v1/rules")["groups"]] == ["compare", "limited"], "the rules are gone")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--interval", type=int, default=4)
    options.add_argument("--phases", type=int, default=6)
    options = options.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(pathlib.Path(folder), options)
        try:
            checks.run("the servers evaluate the rules through all phases", run.go)
            for name, function in [
                ("recorded series", recorded_series), ("states, errors and notifications of alerts", alerts_of_ours), ("the same samples as Prometheus", same_series),
                ("the same answers of /api/v1/rules", same_rules), ("the same notifications", same_notifications),
                ("a firing alert survives a crash", restart), ("bad rule files change nothing", bad_rules),
            ]:
                checks.run(name, function, run)
        finally:
            run.stop()
    checks.finish()


if __name__ == "__main__":
    main()
