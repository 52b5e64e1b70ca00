"""The bodies of a target: a made-up exporter in one of the formats, often with an oddity, and the content type it is sent with."""
import re

from scrape_variants import families

TEXT, OPENMETRICS, PROTOBUF = "text", "openmetrics", "protobuf"
TYPES = {
    TEXT: ["text/plain; version=0.0.4; charset=utf-8", "text/plain; version=0.0.4", "text/plain", "text/plain;version=1.0.0;escaping=allow-utf-8",
           "TEXT/PLAIN; VERSION=0.0.4", "text/plain ; charset=\"utf-8\"", "text/plain;version=9.9.9"],
    OPENMETRICS: ["application/openmetrics-text; version=1.0.0; charset=utf-8", "application/openmetrics-text;version=0.0.1",
                  "application/openmetrics-text", "application/openmetrics-text; version=1.0.0; escaping=underscores", "application/openmetrics-text; version=2.0.0"],
    PROTOBUF: ["application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
               "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8", "application/vnd.google.protobuf"],
}
ODD_TYPES = [None, "", "application/json", "text/html; charset=utf-8", "text/plain; version", "text/plain;;", "text/plain; version=0.0.4; version=1.0.0", "text",
             "application/vnd.google.protobuf; proto=other; encoding=delimited", "text/plain, text/html", "application/openmetrics-text; version=\"1.0.0",
             " text/plain; version=0.0.4 ", "text/plain; charset=utf-8; =x", "multipart/form-data; boundary=x", "application/vnd.google.protobuf; encoding=text"]
# Numbers in any place where one may stand.
ODD_NUMBERS = ["NaN", "nan", "-NaN", "+Inf", "Inf", "-inf", "infinity", "+INFINITY", "0x1p-2", "0X1P3", "1_000", "1e400", "-1e400", "1e-400", "-0", "+1", ".5", "5.", "0b1",
               "1e", "", "1..2", "0x", "0x1", "1e+5", "1E5", "00012", "1,5", "1f", "0x_1p0", "9223372036854775808", "1 2", "--1", "١", "1e5_0", "Nan", "iNf", "0o7"]
ODD_TIMES = ["0", "-1", "1", "99999999999999999999", "9223372036854775807", "-9223372036854775808", "1.5", "1e3", "NaN", "Inf", "abc", "+5", "0x10", "1_0", "1727000000000"]
ODD_LINES = ["", " ", "\t", "#", "# ", "#x", "# comment", "# EOF", "#EOF", "# TYPE", "# TYPE a", "# TYPE a counter", "# TYPE a bogus", "# TYPE a gauge extra", "# HELP", "# HELP a",
             "# HELP a text", "#  HELP  a  text ", "\t# TYPE a gauge", "# UNIT a a", "# UNIT m_seconds seconds", "# HELP \"a.b\" text", "# TYPE \"a.b\" gauge", "# TYPE a{} gauge",
             "a", "a ", "a 1 ", "a\t1", "a  1", "{} 1", "{a=\"b\"} 1", "{\"a\"} 1", "{\"a\",b=\"c\"} 1", "{b=\"c\",\"a\"} 1", "{\"a\",\"b\"} 1", "a{\"b\"} 1", "a{\"b\"=\"c\"} 1", "a{} 1",
             "a{,} 1", "a{b=\"c\",} 1", "a{b=\"c\",,} 1", "a{b=\"c\" } 1", "a{ b=\"c\"} 1", "a{b =\"c\"} 1", "a{b= \"c\"} 1", "a {b=\"c\"} 1", "a{b=\"c\"}1", "a{b=\"c\",b=\"d\"} 1",
             "a{b='c'} 1", "a{b=c} 1", "a{b=\"c} 1", "a{b=\"c\" 1", "a{b=\"\"} 1", "a{__name__=\"z\"} 1", "{__name__=\"z\"} 1", "a{\"__name__\"=\"z\"} 1", "a{le=\"1\"} 1", "a{b=\"\\x\"} 1",
             "a{b=\"\\\\\"} 1", "a{b=\"\\\"\"} 1", "a{b=\"\\n\"} 1", "1a 1", "a-b 1", "a.b 1", "ü 1", "a:b 1", ":a 1", "a{1b=\"c\"} 1", "a{b:c=\"d\"} 1", "a{b.c=\"d\"} 1", "a 1 1 1",
             "a 1 # {x=\"y\"} 1", "a_total 1 # {x=\"y\"} 1", "a_total 1 # {} 1", "a_total 1 # {x=\"y\"} 1 1", "a_total 1 # {x=\"y\"} 1 1 1", "a_total 1 # {x=\"y\"}", "a_total 1 #{x=\"y\"} 1",
             "a_total 1 # x=\"y\" 1", "a_total 1 # {x=\"y\",x=\"z\"} 1", "a_total 1 # {x=\"%s\"} 1" % ("y" * 130), "a 1 # comment", "a 1\r", "\r", "# TYPE a gauge\r", "a 1 1727000000000\r", "a{b=\"c\nd\"} 1",
             "a NaN", "a_bucket{le=\"x\"} 1", "a_bucket{le=\"+Inf\"} 1", "a_bucket 1", "job 1", "a{job=\"j\",instance=\"i\"} 1", "a{exported_job=\"e\",job=\"j\"} 1", "a{\"\"=\"x\"} 1", "{\"\"} 1",
             "\"a\" 1", "a{variant2=\"\"} 1", "a\x00 1", "a{b=\"\x00\"} 1", "\x00", "a 1\x00", "\ufeffa 1", "a{b=\"\u2028\"} 1", "a_created 1", "a_total_created 5", "a_info 1", "a_total 1 -1", "a 1 0"]
JUNK = [b"\xff", b"\xc3", b"\n", b" ", b"\t", b"\r", b"{", b"}", b'"', b"\\", b"#", b",", b"=", b"0", b"e", b"_", b"\x80\x80", b"\x0b", b"\x0c", b"\xc2\xa0"]


def spell_numbers(rng, text):
    """Replaces a value, a timestamp or a bound."""
    lines = text.split("\n")
    candidates = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
    if not candidates:
        return text
    at = rng.choice(candidates)
    odd = rng.choice(ODD_NUMBERS)
    kind = rng.randrange(4)
    if kind == 0 and "nan" not in odd.lower() and re.search(r'(le|quantile)="[^"]*"', lines[at]):
        lines[at] = re.sub(r'(le|quantile)="[^"]*"', lambda found: f'{found[1]}="{odd}"', lines[at])
    elif kind == 1:
        lines[at] += " " + rng.choice(ODD_TIMES)
    else:
        lines[at] = re.sub(r"(?<=[ }])[^ }]+$", lambda _: odd, lines[at])
    return "\n".join(lines)


def move_lines(rng, text):
    """Swaps, repeats, drops or cuts lines, or ends them otherwise."""
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(8):
        case 0:
            lines[at], lines[other] = lines[other], lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines.pop(at)
        case 3:
            return text.rstrip("\n")
        case 4:
            return text.replace("\n", "\r\n")
        case 5:
            return text + "\n" * rng.randrange(1, 3)
        case 6:
            return text[:rng.randrange(len(text) + 1)]
        case _:
            return text + rng.choice(ODD_LINES)
    return "\n".join(lines)


def add_lines(rng, text):
    lines = text.split("\n")
    for _ in range(rng.choice([1, 1, 2, 3])):
        lines.insert(rng.randrange(len(lines)), rng.choice(ODD_LINES))
    return "\n".join(lines)


def damage(rng, body):
    """Changes, drops or adds single bytes."""
    body = bytearray(body)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(4):
            case 0:
                body[at:at + 1] = rng.choice(JUNK)
            case 1:
                body[at:at] = rng.choice(JUNK)
            case 2:
                del body[at:at + rng.choice([1, 1, 2, 5])]
            case _:
                body[at:at + 1] = bytes([rng.randrange(256)])
    return bytes(body)


def is_utf8(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class Exporter:
    """A target's sequence of bodies."""

    def __init__(self, rng, base):
        self.rng, self.base = rng, base
        self.format = rng.choice([TEXT, TEXT, TEXT, OPENMETRICS, OPENMETRICS, PROTOBUF])
        self.families = families.make_families(rng, base, self.format == OPENMETRICS)
        if self.format == PROTOBUF:
            families.make_consistent(self.families)
        self.type = rng.choice(ODD_TYPES) if rng.random() < 0.12 else rng.choice(TYPES[self.format][:1] * 3 + TYPES[self.format])
        self.oddity = rng.choice([None] * 4 + ["numbers", "numbers", "lines", "moved", "bytes"])
        self.series_go = rng.random() < 0.4
        self.with_created = rng.random() < 0.7

    def simplify_histograms(self):
        """Leaves out what conversion treats otherwise: Prometheus gives a histogram the time of the series behind it, and of protobuf it knows empty labels."""
        for family in self.families:
            for metric in family.metrics if "histogram" in family.kind else ():
                metric.timestamp = None
                metric.labels = [pair for pair in metric.labels if pair[1]]

    def next(self, is_odd):
        """The next body. One that is odd has the target's oddity, if it has one."""
        shown = self.families
        if self.series_go:
            shown = [family for family in shown if self.rng.random() < 0.8]
        body = self.render(shown)
        if is_odd and self.oddity:
            body = self.make_odd(body)
        families.advance(self.rng, self.families, 2000)
        return body

    def render(self, shown):
        if self.format == PROTOBUF:
            return families.render_protobuf(shown)
        return families.render_text(self.rng, shown, self.format == OPENMETRICS, self.with_created).encode()

    def make_odd(self, body):
        if self.format == PROTOBUF:
            return damage(self.rng, body)
        if self.oddity == "bytes":
            damaged = damage(self.rng, body)
            # What Prometheus makes of metadata that is not UTF-8 depends on the place.
            return damaged if is_utf8(b"\n".join(line for line in damaged.split(b"\n") if line.startswith(b"#"))) else body
        change = {"numbers": spell_numbers, "lines": add_lines, "moved": move_lines}[self.oddity]
        return change(self.rng, body.decode()).encode()
