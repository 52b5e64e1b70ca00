#!/usr/bin/env python3
"""Every receiver of Alertmanager, compared with a real one: the same alerts and configuration, and what arrives at a server of the test.

  receivers.py [--ours PROGRAM] [--record]

Both Alertmanagers get a group of two alerts that fire, and are resolved one after the other. Method, path, the headers that matter and the body of all requests, and all mails, must be
equal after identifiers and times that each program makes up are replaced. Then templates that misuse the language must fail with the same error. `--record`
keeps what the real one sends in receivers/recorded.json, which the tests of crates/notify compare, too.
Needs alertmanager (in $PEERS). PROGRAM takes Alertmanager's flags (default: pharos alertmanager).
"""
import argparse
import base64
import collections
import http.server
import json
import pathlib
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from pharos import BINARY, Checks, Service, Skipped, check, free_port, peer, request, wait_for

FOLDER = pathlib.Path(__file__).resolve().parent / "receivers"
EXTERNAL_URL = "http://am.example:9093/prefix"
HEADERS = ["Content-Type", "Authorization", "X-Auth-Token", "X-User-Id", "Accept-Language", "X-Team"]

# Alerts that begin in the future wait for their group. An older one would be sent at once, alone.
FIRING = [
    {"labels": {"alertname": "Down", "job": "api", "instance": "a", "severity": "critical"},
     "annotations": {"summary": "It's <down> & \"out\" + ü", "runbook": "http://run/?a=1&b=2"},
     "startsAt": "2030-01-01T00:00:00.123Z", "endsAt": "2031-01-01T00:00:00Z", "generatorURL": "http://prom/graph?g0.expr=up%3D%3D0"},
    {"labels": {"alertname": "Down", "job": "api", "instance": "b", "severity": "warning"},
     "annotations": {"summary": "It's <down> & \"out\" + ü"},
     "startsAt": "2030-01-01T00:01:00Z", "endsAt": "2031-01-01T00:00:00Z", "generatorURL": "http://prom/graph?g0.expr=1"},
]
# Both fire, one is resolved, both are resolved.
PHASES = [
    FIRING,
    [dict(FIRING[1], startsAt="2026-03-07T04:01:00Z", endsAt="2026-03-07T04:05:00Z")],
    [dict(FIRING[0], startsAt="2026-03-07T04:00:00.123Z", endsAt="2026-03-07T04:30:00Z")],
]


# The error of an integration in the log.
QUOTED = r"((?:\\.|[^\"\\])*)"
THEIR_ERROR = r"all/webhook\[(\d+)\]: notify retry canceled due to unrecoverable error after 1 attempts: " + QUOTED
OUR_ERROR = r"integration=webhook\[(\d+)\] .* error=\"" + QUOTED + '"'


class Sink:
    """An HTTP server and an SMTP server that keep what they get."""

    def __init__(self):
        self.requests, self.mails, self.lock = [], [], threading.Lock()
        sink = self

        class Http(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                headers = {name: self.headers[name] for name in HEADERS if self.headers[name]}
                with sink.lock:
                    sink.requests.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
                kind, answer = reply_to(self.command, self.path)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        class Smtp(socketserver.StreamRequestHandler):
            def handle(self):
                commands, message = [], None
                self.wfile.write(b"220 test\r\n")
                for line in self.rfile:
                    line = line.decode().removesuffix("\r\n")
                    if message is not None:
                        if line != ".":
                            message.append(line)
                            continue
                        with sink.lock:
                            sink.mails.append({"commands": commands, "message": message})
                        commands, message = [], None
                        self.wfile.write(b"250 taken\r\n")
                    elif line == "DATA":
                        message = []
                        self.wfile.write(b"354 go on\r\n")
                    elif line == "QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    else:
                        commands.append(line)
                        self.wfile.write(b"250-test\r\n250 8BITMIME\r\n" if line.startswith("EHLO") else b"250 ok\r\n")

        http.server.ThreadingHTTPServer.request_queue_size = 128
        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http), socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.http, self.smtp = [f"127.0.0.1:{server.server_address[1]}" for server in self.servers]

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def take(self):
        with self.lock:
            taken = (self.requests, self.mails)
            self.requests, self.mails = [], []
        return taken


def reply_to(method, path):
    """What a service answers."""
    json_type = "application/json"
    if path.startswith("/slack"):
        return "text/plain", b"ok"
    if path.startswith("/wechat") and "gettoken" in path:
        return json_type, b'{"access_token": "token"}'
    if path.startswith("/telegram"):
        return json_type, b'{"ok": true, "result": {"message_id": 1, "chat": {"id": 42}}}'
    if path.startswith("/rocketchat"):
        return json_type, b'{"success": true}'
    if path.startswith("/sns"):
        return "text/xml", b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
    if path.startswith("/jira-existing") and "search" in path:
        return json_type, b'{"issues": [{"key": "P-1", "fields": {"status": {"name": "x", "statusCategory": {"key": "new"}}}}]}'
    if path.startswith("/jira-existing") and method == "GET":
        return json_type, b'{"transitions": [{"id": "1", "name": "Reopen"}, {"id": "2", "name": "Done"}]}'
    if path.startswith("/jira") and "search" in path:
        return json_type, b'{"issues": []}'
    return json_type, b"{}"


def normal(sent):
    """A request without what differs by chance."""
    sent = json.loads(json.dumps(sent))
    headers, body = sent["headers"], sent["body"]
    kind = headers.get("Content-Type", "")
    if headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256"):
        headers["Authorization"] = headers["Authorization"].split("/")[0]
    if kind.startswith("application/json"):
        sent["body"] = json.loads(body) if body else None
        sent["ends"] = body.endswith("\n")
    elif kind.startswith("application/x-www-form-urlencoded"):
        pairs = urllib.parse.parse_qsl(body, keep_blank_values=True)
        names = {name: value for name, value in pairs}
        # Attributes come in any order.
        attributes = sorted((value, names[name.replace(".Name", ".Value.StringValue")]) for name, value in pairs if re.fullmatch(r"MessageAttributes.entry.\d+.Name", name))
        sent["body"] = {"form": sorted(pair for pair in pairs if not pair[0].startswith("MessageAttributes")), "attributes": attributes}
    return sent


def normal_mail(mail):
    message = list(mail["message"])
    text = "\n".join(message)
    boundary = re.search(r"boundary=(\w+)", text)
    check(boundary, f"no boundary in {text}")
    text = text.replace(boundary[1], "BOUNDARY")
    text = re.sub(r"(?m)^Message-Id: <[^>]+>$", "Message-Id: <ID>", text)
    text = re.sub(r"(?m)^Date: .*$", "Date: DATE", text)
    head, body = text.split("\n\n", 1)
    # Headers come in any order.
    return {"commands": mail["commands"], "headers": sorted(head.split("\n")), "body": body}


class Alertmanager:
    """A running Alertmanager. It stops at the end of the block."""

    def __init__(self, folder, name, command, config):
        self.port = free_port()
        folder = pathlib.Path(folder) / name
        folder.mkdir()
        (folder / "alertmanager.yml").write_text(config)
        flags = [f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                 "--cluster.listen-address=", f"--web.external-url={EXTERNAL_URL}", "--web.route-prefix=/", "--log.level=debug"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.service = Service(folder, name, [*command, *flags], self.url)

    def __enter__(self):
        self.service.start("/-/ready")
        return self

    def __exit__(self, *_):
        self.service.stop()

    def post(self, alerts):
        body = json.dumps(alerts).encode()
        status, answer = request(urllib.request.Request(f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}))
        check(status == 200, f"{status} {answer}")

    def log(self):
        return self.service.log.read_text(errors="replace")


def settled(sink):
    """Waits until something has arrived and nothing does for a while."""
    count = lambda: len(sink.requests) + len(sink.mails)
    wait_for(lambda: count() > 0, 60, "nothing arrives")
    last, since = count(), time.monotonic()
    while time.monotonic() - since < 2.5:
        time.sleep(0.05)
        if count() != last:
            last, since = count(), time.monotonic()


def sent_by(folder, name, command):
    """What an Alertmanager sends in each phase."""
    sink = Sink()
    config = (FOLDER / "alertmanager.yml").read_text()
    config = config.replace("SERVER", sink.http).replace("SMTP", sink.smtp).replace("TEMPLATES", str(FOLDER / "*.tmpl"))
    try:
        phases = []
        with Alertmanager(folder, name, command, config) as alertmanager:
            for alerts in PHASES:
                alertmanager.post(alerts)
                settled(sink)
                requests, mails = sink.take()
                requests = json.loads(json.dumps(requests).replace(sink.http, "SERVER"))
                requests = sorted(map(normal, requests), key=lambda sent: (sent["path"], sent["method"], json.dumps(sent["body"], sort_keys=True)))
                phases.append({"requests": requests, "mails": [normal_mail(mail) for mail in mails]})
        return phases
    finally:
        sink.close()


def errors_of(folder, name, command):
    """The errors of templates that misuse the language, by template."""
    sink = Sink()
    templates = (FOLDER / "misuse.txt").read_text().splitlines()
    hooks = [{"url": f"http://{sink.http}/", "payload": {"x": template}} for template in templates]
    config = {"route": {"receiver": "all", "group_wait": "100ms"}, "receivers": [{"name": "all", "webhook_configs": hooks}]}
    errors = {}
    try:
        with Alertmanager(folder, name, command, json.dumps(config)) as alertmanager:
            alertmanager.post(FIRING)

            def read():
                for line in alertmanager.log().splitlines():
                    for pattern in THEIR_ERROR, OUR_ERROR:
                        for index, text in re.findall(pattern, line):
                            # A real Alertmanager joins the errors of all integrations by line breaks.
                            errors[templates[int(index)]] = json.loads(f'"{text}"').split("\nall/webhook[")[0]
                return len(errors) == len(templates)
            try:
                wait_for(read, 40, "some templates do not fail")
            except AssertionError:
                pass
        for template in templates:
            errors.setdefault(template, "no error")
        return errors
    finally:
        sink.close()


def compare(ours, theirs):
    """Fails with the first differences."""
    differences = []
    for phase, (our, their) in zip(("both fire", "one is resolved", "both are resolved"), zip(ours, theirs)):
        by_place = collections.defaultdict(lambda: ([], []))
        for side, sent in ((0, our["requests"]), (1, their["requests"])):
            for item in sent:
                by_place[(item["method"], item["path"])][side].append(item)
        for place, (mine, real) in by_place.items():
            if mine != real:
                differences.append(f"{phase} {place}:\n  ours   {json.dumps(mine, ensure_ascii=False)[:1500]}\n  theirs {json.dumps(real, ensure_ascii=False)[:1500]}")
        if our["mails"] != their["mails"]:
            differences.append(f"{phase} mails:\n  ours   {our['mails']}\n  theirs {their['mails']}")
    check(not differences, f"{len(differences)} differences\n" + "\n".join(differences[:10]))


def plain(value):
    """The value as a recording has it: with lists for tuples."""
    return json.loads(json.dumps(value))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default=f"{BINARY} alertmanager", help="the program to compare, with its arguments")
    parser.add_argument("--record", action="store_true", help="only keep what the real Alertmanager does")
    options = parser.parse_args()
    checks = Checks()
    folder = tempfile.mkdtemp(prefix="pharos-receivers-")
    if options.record:
        real = [peer("alertmanager")]
        recorded = {"phases": sent_by(folder, "theirs", real), "errors": errors_of(folder, "their-errors", real)}
        (FOLDER / "recorded.json").write_text(json.dumps(recorded, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        print(f"recorded {[len(phase['requests']) for phase in recorded['phases']]} requests and {len(recorded['errors'])} errors")
        return
    ours = options.ours.split()

    def theirs(kind, measure, name):
        """What a real Alertmanager does: measured where one is installed, as recorded elsewhere."""
        try:
            return plain(measure(folder, name, [peer("alertmanager")]))
        except Skipped as reason:
            print(f"     {reason}: comparing with the recording")
            return json.loads((FOLDER / "recorded.json").read_text())[kind]

    def receivers():
        compare(plain(sent_by(folder, "ours", ours)), theirs("phases", sent_by, "theirs"))

    def misuse():
        our, their = errors_of(folder, "our-errors", ours), theirs("errors", errors_of, "their-errors")
        different = {template: (our[template], their[template]) for template in their if our[template] != their[template]}
        check(not different, "\n".join(f"{template}\n  ours   {pair[0]}\n  theirs {pair[1]}" for template, pair in different.items()))

    checks.run("all receivers get what a real Alertmanager sends", receivers)
    checks.run("templates that misuse the language fail with the same error", misuse)
    shutil.rmtree(folder, ignore_errors=True)
    checks.finish()


if __name__ == "__main__":
    main()
