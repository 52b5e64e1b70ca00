"""Asks servers and compares their answers. Standard library only."""
import http.client
import json
import re
import threading
import urllib.parse

NEAR = 1e-12
OMITTED = re.compile(r"^\d+ more \w+ annotations omitted$")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ORDERED = ("sort", "topk", "bottomk")  # of instant queries; other vectors have no order


class Server:
    """A Prometheus-compatible server; one keep-alive connection a thread."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.local = threading.local()

    def post(self, path, body, headers):
        for last in (False, True):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection(self.host, timeout=120)
            try:
                connection.request("POST", path, body, headers)
                reply = connection.getresponse()
                return reply.status, reply.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                if last:
                    raise

    def ask(self, query, params):
        """Status and body of a query."""
        path = "/api/v1/query_range" if "start" in params else "/api/v1/query"
        return self.post(path, urllib.parse.urlencode({"query": query, **params}), FORM)


def is_near(a, b):
    """Whether two numbers in text are equal but for the order of additions. One number in two forms is a difference, but for a zero's sign."""
    try:
        x, y = float(a), float(b)
    except ValueError:
        return False
    return x == y == 0 or x != y and abs(x - y) <= NEAR * max(abs(x), abs(y))


def compare(theirs, ours, near):
    """The path of the first difference of two values of JSON, none when there is none. `near` counts numbers that are almost equal."""
    if theirs == ours:
        return None
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return f" has {len(theirs)} items there, {len(ours)} here"
        pairs = enumerate(zip(theirs, ours))
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() != ours.keys():
            return f" has keys {sorted(theirs)} there, {sorted(ours)} here"
        pairs = ((key, (theirs[key], ours[key])) for key in theirs)
    elif isinstance(theirs, str) and isinstance(ours, str) and is_near(theirs, ours):
        near.append((theirs, ours))
        return None
    else:
        return f": {json.dumps(theirs, ensure_ascii=False)} there, {json.dumps(ours, ensure_ascii=False)} here"
    for key, (a, b) in pairs:
        found = compare(a, b, near)
        if found:
            return f"[{key}]{found}"
    return None


class Known:
    """Differences that are explained, each with a reason: patterns that the query and the difference match (`range`: of range queries
    only), or a pattern of what is not compared in annotations (`mask`)."""

    def __init__(self, path=None):
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path else []
        self.entries = [e for e in entries if "difference" in e]
        self.masks = [re.compile(e["mask"]) for e in entries if "mask" in e]

    def reason(self, query, params, difference):
        """Why there is such a difference, if it is explained."""
        for entry in self.entries:
            applies = not entry.get("range") or "start" in params
            if applies and re.search(entry.get("query", ""), query) and re.search(entry["difference"], difference, re.DOTALL):
                return entry["reason"]
        return None

    def masked(self, annotation):
        for mask in self.masks:
            annotation = mask.sub("*", annotation)
        return annotation

    def difference(self, query, theirs, ours):
        """What differs between two answers (status and body), and whether some number differs a little: (text or none, bool)."""
        if theirs == ours:
            return None, False
        if theirs[0] != ours[0]:
            return f"status {theirs[0]} there, {ours[0]} here: {theirs[1][:600].decode(errors='replace')} | {ours[1][:600].decode(errors='replace')}", False
        try:
            a, b = (self.arranged(json.loads(body), query) for _, body in (theirs, ours))
        except ValueError:
            return f"not JSON: {theirs[1][:300]} | {ours[1][:300]}", False
        near = []
        for kind in ("warnings", "infos"):
            if all(any(OMITTED.search(text) for text in answer.get(kind, [])) for answer in (a, b)):
                a[kind], b[kind] = len(a[kind]), len(b[kind])  # which ones are left out is random
        for key in ("status", "errorType", "error", "warnings", "infos", "data"):
            found = compare(a.get(key), b.get(key), near)
            if found:
                return key + found, False
        return None, bool(near)

    def arranged(self, answer, query):
        """An answer with an order for what has none."""
        for kind in ("warnings", "infos"):
            if kind in answer:
                answer[kind] = sorted(map(self.masked, answer[kind]))
        data = answer.get("data") or {}
        kind, function = data.get("resultType"), query.lstrip("(")
        if kind == "matrix" or kind == "vector" and not function.startswith("sort_by_label"):
            if kind == "vector" and function.startswith(ORDERED):
                data["order"] = [r.get("value") for r in data["result"]]  # equal values have no order among each other
            data["result"].sort(key=lambda r: json.dumps(r["metric"], sort_keys=True))
        return answer
