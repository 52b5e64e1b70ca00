#!/usr/bin/env python3
"""A demo target, HTTP service discovery for the cluster's nodes, and a receiver of notifications. Standard library only.

/metrics   a simulated shop: requests with latencies, a queue, stock, a temperature. Its load varies over ten minutes, and for one of them a
           service is slow and fails, so that graphs have something to show.
/targets   HTTP service discovery: every container of the services of $SERVICES (comma-separated host names), as Docker's DNS knows them.
/notifications   takes the notifications of a webhook, and shows the last hundred alerts.
"""
import bisect
import collections
import http.server
import json
import math
import os
import random
import socket
import threading
import time

PORT = 8000
NODE_PORT = 9090
SERVICES = [name for name in os.environ.get("SERVICES", "").split(",") if name]
PERIOD = 600  # seconds of one cycle
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
PATHS = {"/": (40, 0.012), "/search": (25, 0.06), "/cart": (12, 0.03), "/checkout": (4, 0.15)}  # requests a second, seconds each


class Shop:
    """The state of the shop, advanced once a second."""

    def __init__(self):
        self.lock, self.random = threading.Lock(), random.Random(1)
        self.requests, self.latency = {}, {path: ([0] * (len(BOUNDS) + 1), [0.0]) for path in PATHS}
        self.queue, self.stock, self.temperature = 0, 5000, 21.0

    def tick(self, now):
        phase = now % PERIOD / PERIOD
        load, trouble = 1 + 0.6 * math.sin(2 * math.pi * phase), 0.7 < phase < 0.8
        with self.lock:
            for path, (rate, seconds) in PATHS.items():
                slow = trouble and path == "/checkout"
                for _ in range(int(rate * load * self.random.uniform(0.8, 1.2))):
                    failed = self.random.random() < (0.2 if slow else 0.002)
                    self.serve(path, "500" if failed else "200", self.random.lognormvariate(math.log(seconds * (8 if slow else 1)), 0.5))
            self.queue = max(0, self.queue + self.random.randint(-3, 3) + (4 if trouble else -1))
            self.stock = self.stock - self.random.randint(0, 3) if self.stock > 200 else 5000
            self.temperature += 0.05 * (20 + 4 * load - self.temperature) + self.random.gauss(0, 0.05)

    def serve(self, path, code, seconds):
        self.requests[path, code] = self.requests.get((path, code), 0) + 1
        counts, total = self.latency[path]
        counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        total[0] += seconds

    def text(self):
        with self.lock:
            lines = ["# HELP shop_requests_total Requests that were answered.", "# TYPE shop_requests_total counter"]
            lines += [f'shop_requests_total{{path="{path}",code="{code}"}} {count}' for (path, code), count in sorted(self.requests.items())]
            lines += ["# HELP shop_request_duration_seconds How long answers took.", "# TYPE shop_request_duration_seconds histogram"]
            for path, (counts, total) in self.latency.items():
                seen = 0
                for bound, count in zip((*BOUNDS, "+Inf"), counts):
                    seen += count
                    lines.append(f'shop_request_duration_seconds_bucket{{path="{path}",le="{bound}"}} {seen}')
                lines.append(f'shop_request_duration_seconds_sum{{path="{path}"}} {total[0]:.6f}')
                lines.append(f'shop_request_duration_seconds_count{{path="{path}"}} {seen}')
            for name, value, help_text in (("shop_queue_length", self.queue, "Orders that wait."), ("shop_stock_items", self.stock, "Items in stock."),
                                           ("shop_temperature_celsius", f"{self.temperature:.2f}", "How warm the machine room is.")):
                lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def targets():
    """One group a service, one target an address: what http_sd_configs reads."""
    groups = []
    for service in SERVICES:
        try:
            addresses = sorted({info[4][0] for info in socket.getaddrinfo(service, NODE_PORT, socket.AF_INET, socket.SOCK_STREAM)})
        except OSError:
            continue  # a service without containers has no name
        role = service.rstrip("0123456789").rstrip("-")
        groups.append({"targets": [f"{address}:{NODE_PORT}" for address in addresses], "labels": {"role": role}})
    return json.dumps(groups)


class Notifications:
    """The alerts of the last notifications."""

    def __init__(self):
        self.lock, self.lines = threading.Lock(), collections.deque(maxlen=100)

    def take(self, body):
        at = time.strftime("%H:%M:%S")
        with self.lock:
            for alert in json.loads(body)["alerts"]:
                labels, summary = alert["labels"], alert["annotations"].get("summary", "")
                self.lines.append(f'{at} {alert["status"]:8} {labels.get("alertname", "")} {summary}')

    def text(self):
        with self.lock:
            return "".join(line + "\n" for line in self.lines) or "Nothing arrived yet.\n"


def main():
    shop, notifications = Shop(), Notifications()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            pages = {"/metrics": (shop.text, "text/plain; version=0.0.4"), "/targets": (targets, "application/json"),
                     "/notifications": (notifications.text, "text/plain; charset=utf-8")}
            make, kind = pages.get(self.path, (None, None))
            self.reply(200 if make else 404, kind or "text/plain", make() if make else "/metrics, /targets, /notifications\n")

        def do_POST(self):
            try:
                notifications.take(self.rfile.read(int(self.headers["Content-Length"])))
            except (KeyError, TypeError, ValueError) as error:
                self.reply(400, "text/plain", f"not a notification: {error}\n")
            else:
                self.reply(200, "text/plain", "")

        def reply(self, status, kind, text):
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        shop.tick(time.time())
        time.sleep(1)


if __name__ == "__main__":
    main()
