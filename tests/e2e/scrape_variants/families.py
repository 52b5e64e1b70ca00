"""Metric families of a made-up exporter, and how they look in the text formats, OpenMetrics and protobuf."""
import dataclasses
import struct

from wire import field, varint

NUMBERS = [0.0, 1.0, 2.5, -3.0, 1e-9, 12345678.0, 1e21, 0.1, float("inf"), float("-inf"), float("nan"), 1e308, 5e-324]
NAMES = ["a", "m_total", "requests_total", "temperature_celsius", "x:y", "http_requests", "mem_bytes", "q_seconds", "_u", "A9"]
UTF8_NAMES = ["http.status", "größe", "with space", "a-b", "日本"]
LABEL_NAMES = ["a", "b", "code", "method", "path", "le", "quantile", "instance", "job", "exported_job", "_x"]
UTF8_LABELS = ["a.b", "ü", "x y"]
LABEL_VALUES = ["", "1", "x", "GET", "/", "a b", "ü", "a\"b", "a\\b", "a\nb", "0.5", "1.0", "{}", ",", "#", "long " * 12, "\t", "é日本"]
BOUNDS = [["0.1", "1", "+Inf"], ["1", "2", "3", "+Inf"], ["0.5", "1.0", "1e1", "+Inf"], ["-1", "0", "1", "+Inf"], ["1", "+Inf", "2"], ["1", "2"], ["+Inf"]]
KINDS = ["counter", "gauge", "histogram", "summary", "untyped"]


@dataclasses.dataclass
class Family:
    name: str
    kind: str
    help: str | None
    unit: str
    metrics: list  # of Metric
    is_typed: bool = True


@dataclasses.dataclass
class Metric:
    labels: list  # pairs
    value: float
    timestamp: int | None = None  # milliseconds
    created: int | None = None  # milliseconds
    bounds: list = ()
    counts: list = ()
    native: dict | None = None
    exemplar: tuple | None = None  # labels, value, milliseconds or None


def make_labels(rng, reserved=()):
    names = [name for name in LABEL_NAMES if name not in reserved]
    labels = [(name, rng.choice(LABEL_VALUES)) for name in rng.sample(names, rng.choice([0, 0, 1, 1, 2, 3]))]
    if rng.random() < 0.08:
        labels.append((rng.choice(UTF8_LABELS), rng.choice(LABEL_VALUES)))
    return labels


def make_native(rng):
    """An exponential histogram of integers or floats."""
    schema = rng.choice([-4, -1, 0, 3, 8])
    spans = lambda: [(rng.choice([0, 1, -2]) if i == 0 else rng.randrange(3), rng.randrange(1, 4)) for i in range(rng.choice([0, 1, 2]))]
    positive, negative = spans(), spans() if rng.random() < 0.4 else []
    counts = lambda parts: [rng.randrange(1, 9) for _ in range(sum(length for _, length in parts))]
    return {"schema": schema, "zero_threshold": rng.choice([0.0, 1e-128, 0.001]), "zero": rng.randrange(3), "positive": (positive, counts(positive)),
            "negative": (negative, counts(negative)), "is_float": rng.random() < 0.3, "has_classic": rng.random() < 0.4}


def make_exemplar(rng, base, may_lack_time):
    labels = rng.choice([[("trace_id", "abc")], [("trace_id", "x" * 20), ("span", "1")], [], [("t", "é")]])
    return labels, rng.choice([0.05, 0.5, 1.0, 7.0]), rng.choice([None if may_lack_time else base, base, base + 1500])


def make_family(rng, base, openmetrics):
    kind = rng.choice(KINDS + (["info", "stateset", "gaugehistogram"] if openmetrics else []))
    name = rng.choice(UTF8_NAMES) if rng.random() < 0.06 else rng.choice(NAMES)
    unit = ""
    if openmetrics:
        if kind in ("counter", "info"):
            name = name.removesuffix("_total")
        unit = name.rsplit("_", 1)[1] if "_" in name and rng.random() < 0.3 and kind not in ("info", "stateset") else ""
    help_text = rng.choice([None, "Help of it", "", "with \\ and\nnewline", "ünï \"quoted\"", "  blanks "])
    reserved = {"histogram": ("le",), "gaugehistogram": ("le",), "summary": ("quantile",)}.get(kind, ())
    metrics, seen = [], set()
    for _ in range(rng.choice([1, 1, 2, 3])):
        labels = make_labels(rng, reserved)
        if tuple(sorted(labels)) in seen:
            continue
        seen.add(tuple(sorted(labels)))
        metrics.append(make_metric(rng, kind, labels, base))
    return Family(name, kind, help_text, unit, metrics, is_typed=rng.random() < 0.9)


def make_metric(rng, kind, labels, base):
    metric = Metric(labels, rng.choice(NUMBERS))
    if rng.random() < 0.12:
        # Before all scrapes, so that it does not matter when these are.
        metric.timestamp = base - rng.choice([180_000, 120_000, 119_999, 119_001, 115_000])
    if kind in ("counter", "histogram", "summary"):
        metric.value = float(rng.randrange(1000)) if rng.random() < 0.8 else metric.value
        if rng.random() < 0.2:
            metric.created = base - rng.choice([0, 1000, 86_400_000])
    if kind in ("histogram", "gaugehistogram"):
        metric.bounds = rng.choice(BOUNDS)
        total, metric.counts = 0, []
        for _ in metric.bounds:
            total += rng.randrange(5) if rng.random() < 0.95 else -1
            metric.counts.append(total)
        if rng.random() < 0.5:
            metric.native = make_native(rng)
    if kind == "summary":
        metric.bounds = rng.choice([["0.5", "0.9"], ["0.50", "1"], ["0", "1.0"], []])
        metric.counts = [rng.choice(NUMBERS) for _ in metric.bounds]
    if kind in ("counter", "histogram") and rng.random() < 0.3:
        metric.exemplar = make_exemplar(rng, base, metric.timestamp is None)
    return metric


def make_consistent(families):
    """Puts the buckets of classic histograms in order. Of protobuf, one that is not fails a scrape of Prometheus that converts them."""
    for metric in (metric for family in families if "histogram" in family.kind for metric in family.metrics):
        metric.bounds = sorted(metric.bounds, key=float)
        metric.counts = sorted(max(count, 0) for count in metric.counts)


def make_families(rng, base, openmetrics):
    families, seen = [], set()
    for _ in range(rng.choice([1, 2, 3, 4])):
        family = make_family(rng, base, openmetrics)
        if family.name not in seen:
            families.append(family)
            seen.add(family.name)
    return families


def advance(rng, families, step_ms):
    """The next state of the exporter: values change, a series or a family goes or comes back."""
    for family in families:
        for metric in family.metrics:
            if metric.value == metric.value and rng.random() < 0.7:
                metric.value += rng.randrange(5)
            if metric.timestamp is not None and rng.random() < 0.8:
                metric.timestamp += step_ms
            if metric.counts and family.kind != "summary":
                grown = rng.randrange(3)
                metric.counts = [count + grown for count in metric.counts]
            if metric.exemplar and rng.random() < 0.5:
                labels, value, at = metric.exemplar
                metric.exemplar = (labels, value + 1, None if at is None else at + step_ms)


# --- text ---

def escape(text, quote=True):
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def go_float(value):
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def is_legacy(name):
    return all(c.isascii() and (c.isalnum() or c in "_:") for c in name) and not name[:1].isdigit() and bool(name)


def series_text(rng, name, labels):
    pairs = [f'{label if is_legacy(label) else chr(34) + escape(label) + chr(34)}="{escape(value)}"' for label, value in labels]
    if not is_legacy(name) or rng.random() < 0.03:
        return "{" + ",".join([f'"{escape(name)}"', *pairs]) + "}"
    return name + ("{" + ",".join(pairs) + "}" if pairs else "")


def components(family, metric, openmetrics):
    """(suffix, further label, value, takes an exemplar) of the series of a metric."""
    value = metric.value
    match family.kind:
        case "counter":
            yield ("_total" if openmetrics else ""), None, value, True
        case "info":
            yield "_info", None, 1.0, False
        case "stateset":
            yield "", (family.name, "on"), float(value == 1), False
        case "histogram" | "gaugehistogram":
            suffixes = ("_gsum", "_gcount") if family.kind == "gaugehistogram" else ("_sum", "_count")
            for bound, count in zip(metric.bounds, metric.counts):
                yield "_bucket", ("le", bound), float(count), True
            yield suffixes[0], None, value, False
            yield suffixes[1], None, float(metric.counts[-1]), False
        case "summary":
            for bound, quantile in zip(metric.bounds, metric.counts):
                yield "", ("quantile", bound), quantile, False
            yield "_sum", None, value, False
            yield "_count", None, 3.0, False
        case _:
            yield "", None, value, False


def render_text(rng, families, openmetrics, created=True):
    lines = []
    for family in families:
        quoted = family.name if is_legacy(family.name) else f'"{escape(family.name)}"'
        if family.is_typed:
            kind = "unknown" if openmetrics and family.kind == "untyped" else family.kind
            lines.append(f"# TYPE {quoted} {kind}")
        if family.unit:
            lines.append(f"# UNIT {quoted} {family.unit}")
        if family.help is not None:
            lines.append(f"# HELP {quoted} {escape(family.help, openmetrics)}")
        for metric in family.metrics:
            shown = False
            for suffix, more, value, takes_exemplar in components(family, metric, openmetrics):
                line = series_text(rng, family.name + suffix, metric.labels + ([more] if more else [])) + " " + go_float(value)
                if metric.timestamp is not None:
                    line += f" {metric.timestamp / 1000:.3f}" if openmetrics else f" {metric.timestamp}"
                if openmetrics and takes_exemplar and metric.exemplar and not shown:
                    labels, exemplar, at = metric.exemplar
                    pairs = ",".join(f'{name}="{escape(text)}"' for name, text in labels)
                    line += f" # {{{pairs}}} {go_float(exemplar)}" + (f" {at / 1000:.3f}" if at is not None else "")
                    shown = True
                lines.append(line)
            if openmetrics and created and metric.created is not None:
                lines.append(series_text(rng, family.name + "_created", metric.labels) + f" {metric.created / 1000:.3f}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


# --- protobuf ---

def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def integer(number, value):
    return varint(number << 3) + varint(value)


def zigzag(number, value):
    return integer(number, (value << 1) ^ (value >> 63))


def time_of(number, milliseconds):
    return field(number, integer(1, milliseconds // 1000) + integer(2, milliseconds % 1000 * 1_000_000))


def label_pairs(number, labels):
    return b"".join(field(number, field(1, name.encode()) + field(2, value.encode())) for name, value in labels)


def exemplar_of(number, exemplar):
    labels, value, at = exemplar
    return field(number, label_pairs(1, labels) + double(2, value) + (time_of(3, at) if at is not None else b""))


def histogram_of(metric):
    native = metric.native
    total = metric.counts[-1]
    counts, out = list(metric.counts), b""
    if native:
        total = native["zero"] + sum(native["positive"][1]) + sum(native["negative"][1])
        counts = [min(count, total) for count in counts[:-1]] + [total]
    out += double(4, total) if native and native["is_float"] else integer(1, total)
    out += double(2, metric.value)
    if not native or native["has_classic"]:
        for i, (bound, count) in enumerate(zip(metric.bounds, counts)):
            exemplar = exemplar_of(3, metric.exemplar) if metric.exemplar and i == 0 else b""
            out += field(3, (double(4, count) if native and native["is_float"] else integer(1, max(count, 0))) + double(2, float(bound)) + exemplar)
    if native:
        sint = lambda value: varint((value << 1) ^ (value >> 63))
        out += zigzag(5, native["schema"]) + double(6, native["zero_threshold"])
        out += double(8, native["zero"]) if native["is_float"] else integer(7, native["zero"])
        for side, numbers in (("negative", (9, 10, 11)), ("positive", (12, 13, 14))):
            spans, counts = native[side]
            out += b"".join(field(numbers[0], zigzag(1, offset) + integer(2, length)) for offset, length in spans)
            deltas = [count - before for count, before in zip(counts, [0, *counts])]
            out += b"".join(double(numbers[2], count) for count in counts) if native["is_float"] else b"".join(varint(numbers[1] << 3) + sint(delta) for delta in deltas)
        if metric.exemplar:
            out += exemplar_of(16, metric.exemplar)
    if metric.created is not None:
        out += time_of(15, metric.created)
    return out


PROTOBUF_KINDS = {"counter": (0, 3), "gauge": (1, 2), "summary": (2, 4), "untyped": (3, 5), "histogram": (4, 7), "gaugehistogram": (5, 7)}


def render_protobuf(families):
    out = b""
    for family in families:
        kind, number = PROTOBUF_KINDS[family.kind]
        body = field(1, family.name.encode()) + (field(2, family.help.encode()) if family.help is not None else b"") + integer(3, kind)
        for metric in family.metrics:
            if "histogram" in family.kind:
                inner = histogram_of(metric)
            elif family.kind == "summary":
                quantiles = b"".join(field(3, double(1, float(bound)) + double(2, value)) for bound, value in zip(metric.bounds, metric.counts))
                inner = integer(1, 3) + double(2, metric.value) + quantiles
                inner += time_of(4, metric.created) if metric.created is not None else b""
            else:
                inner = double(1, metric.value)
                if family.kind == "counter":
                    inner += exemplar_of(2, metric.exemplar) if metric.exemplar else b""
                    inner += time_of(3, metric.created) if metric.created is not None else b""
            timestamp = integer(6, metric.timestamp) if metric.timestamp is not None else b""
            body += field(4, label_pairs(1, metric.labels) + field(number, inner) + timestamp)
        if family.unit:
            body += field(5, family.unit.encode())
        out += varint(len(body)) + body
    return out
