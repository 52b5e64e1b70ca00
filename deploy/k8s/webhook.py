"""Logs the alerts of each notification. Standard library only."""
import http.server
import json


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(200)

    def do_POST(self):
        try:
            alerts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]
            for alert in alerts:
                print(alert["status"], json.dumps(alert["labels"]), alert["annotations"].get("summary", ""), flush=True)
            self.reply(200)
        except (KeyError, TypeError, ValueError):
            self.reply(400)

    def reply(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
