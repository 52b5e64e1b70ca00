#!/usr/bin/env python3
"""Rules of tenants: the rule API of Mimir and Cortex, and the section `tenants`.

A group that is posted is evaluated within seconds, with the samples of its tenant only, survives a restart, and ends when it is deleted. Hostile bodies are refused.
"""
import json
import pathlib
import tempfile
import time
import urllib.parse
import urllib.request

from pharos import Checks, Pharos, check, request, wait_for

GROUP = """
name: a group / with a name
interval: 1s
rules:
- record: answer
  expr: vector(42)
- alert: Always
  expr: answer > 1
  labels: {severity: page}
"""


def call(server, method, path, tenant=None, body=None):
    headers = {"X-Scope-OrgID": tenant} if tenant else {}
    data = None if body is None else body if isinstance(body, bytes) else body.encode()
    return request(urllib.request.Request(server.url + path, data=data, headers=headers, method=method))


def value(server, expression, tenant=None):
    status, body = call(server, "GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}), tenant)
    check(status == 200, f"{expression}: {status} {body[:300]}")
    result = json.loads(body)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def files(server, tenant=None):
    return {group["file"] for group in json.loads(call(server, "GET", "/api/v1/rules", tenant)[1])["data"]["groups"]}


def life(server):
    namespace = "/config/v1/rules/my%20namespace"
    group = namespace + "/a%20group%20%2F%20with%20a%20name"
    check(call(server, "GET", "/config/v1/rules", "team-a") == (404, "no rule groups found\n"), "groups before the first one")
    status, body = call(server, "POST", namespace, "team-a", GROUP)
    check(status == 202 and json.loads(body)["status"] == "success", f"{status}: {body}")
    began = time.monotonic()
    wait_for(lambda: value(server, "answer", "team-a") == 42, 10, "no sample is recorded", server.log)
    print(f"     the first sample is visible {time.monotonic() - began:.1f} s after the request", flush=True)
    check(value(server, "answer") is None and value(server, "answer", "team-b") is None, "another tenant sees the samples")
    wait_for(lambda: value(server, 'ALERTS{alertname="Always", severity="page"}', "team-a") == 1, 10, "the alert does not fire", server.log)
    check(files(server, "team-a") == {"my namespace"} and "my namespace" not in files(server), "rules of other tenants are shown")

    for path in ("/config/v1/rules", "/prometheus/config/v1/rules", namespace, "/api/v1/rules/my%20namespace"):
        status, body = call(server, "GET", path, "team-a")
        check(status == 200 and "my namespace:" in body and "a group / with a name" in body, f"{path}: {status} {body}")
    status, body = call(server, "GET", group, "team-a")
    check(status == 200 and body.startswith("name: a group / with a name\n") and "interval: 1s\n" in body, f"{status}: {body}")
    check(call(server, "POST", "/config/v1/rules/other", "team-a", body)[0] == 202, "what was read is not accepted")
    check(call(server, "DELETE", "/config/v1/rules/other", "team-a")[0] == 202, "a namespace is not deleted")
    check(call(server, "GET", group, "team-b")[0] == 404, "another tenant reads the group")

    check(server.stop() == 0, "exit code")
    server.start()
    restarted = time.time()
    wait_for(lambda: (value(server, "timestamp(answer)", "team-a") or 0) > restarted, 20, "nothing is recorded after the restart", server.log)
    check(call(server, "DELETE", group, "team-a")[0] == 202, "the group is not deleted")
    wait_for(lambda: value(server, "answer", "team-a") is None, 20, "the series goes on", server.log)
    check(call(server, "DELETE", group, "team-a") == (404, "group does not exist\n"), "a group that is gone is deleted")


def of_files(server):
    wait_for(lambda: value(server, "from_file", "team-b") == 7, 20, "the rules of the section are not evaluated", server.log)
    check(value(server, "from_file") is None, "the default tenant sees the samples")


def hostile(server):
    post = lambda body, namespace="n", tenant="evil": call(server, "POST", f"/config/v1/rules/{namespace}", tenant, body)
    for body, text in [("", "name"), ("name: [", "yaml"), ("- a", "yaml"), ("name: g\nrules: [{record: r, expr: '('}]", "could not parse expression"),
                       ("name: g\nrules: [{alert: a, expr: up, annotations: {x: '{{ bad '}}]", "annotation"), ("name: g\nunknown: 1", "unknown"),
                       (b"\xff\xfe", "UTF-8"), ("name: g\nx: " + "[" * 100_000, "yaml"), ("a: &a [1]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(1000)), "yaml")]:
        status, answer = post(body)
        check(status == 400 and text in answer, f"{body[:60]!r}: {status} {answer[:300]}")
    check(post("name: g # " + "x" * (3 << 20))[0] == 413, "a body of 3 MiB")
    check(post("name: g", "x" * 200)[0] == 400 and post("name: g", tenant="no such/tenant")[0] == 400, "names")
    for namespace in ("..", "%2e%2e%2f%2e%2e%2fowner", "a%00b", "%ff", "con", "@@"):
        status, _ = post("name: ../../owner", namespace)
        check(status in (202, 400, 404), f"{namespace}: {status}")
    groups = {path for path in (server.folder / "data").rglob("*.yaml")}
    check(groups and all(path.parent.parent.parent == server.folder / "data/bucket/@_pharos/rules" for path in groups), f"objects outside of the folder: {groups}")
    check(server.get("/-/ready")[0] == 200 and not server.logged("panicked"), "the server")


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rules.yml"
        path.write_text("groups: [{name: g, interval: 1s, rules: [{record: from_file, expr: vector(7)}]}]\n")
        config = f"scrape_configs: []\ntenants: {{team-b: {{rule_files: [{path}]}}}}\n"
        with Pharos(f"{folder}/server", config) as server:
            server.start()
            checks.run("the life of a group", life, server)
            checks.run("rules of tenants in files", of_files, server)
            checks.run("hostile bodies", hostile, server)
    checks.finish()


if __name__ == "__main__":
    main()
