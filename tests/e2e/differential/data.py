"""Seeded series with everything that PromQL treats specially, as remote-write requests. Standard library only.

A series is a dict of labels and a list of (milliseconds, value); a value is a float, `STALE` or a `Histogram`.
"""
import dataclasses
import math
import struct
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from wire import STALE, field, sample, varint

START = 1_700_000_000_000  # of all series, milliseconds; a multiple of 100 s and not of a minute
STEP = 30_000
COUNT = 100
CUSTOM = -53  # the schema of histograms with custom buckets


@dataclasses.dataclass
class Histogram:
    """A native histogram; buckets by index. Counts are absolute."""
    schema: int
    positive: dict
    negative: dict = dataclasses.field(default_factory=dict)
    zero: float = 0
    threshold: float = 0.001
    sum: float = 0.0
    bounds: tuple = ()
    gauge: bool = False
    integer: bool = True
    extra: float = 0  # observations of NaN: in the count, in no bucket

    def encode(self, t):
        count = self.zero + sum(self.positive.values()) + sum(self.negative.values()) + self.extra
        zigzag = lambda n: varint((n << 1) ^ (n >> 63))
        double = lambda number, v: varint(number << 3 | 1) + struct.pack("<d", v)
        out = varint(1 << 3) + varint(int(count)) if self.integer else double(2, count)
        out += b"\x19" + (self.sum if isinstance(self.sum, bytes) else struct.pack("<d", self.sum))
        out += varint(4 << 3) + zigzag(self.schema)
        if self.schema != CUSTOM:
            out += double(5, self.threshold) + (varint(6 << 3) + varint(int(self.zero)) if self.integer else double(7, self.zero))
        for spans, deltas, counts, buckets in ((8, 9, 10, self.negative), (11, 12, 13, self.positive)):
            out += b"".join(field(spans, varint(8) + zigzag(gap) + varint(16) + varint(length)) for gap, length in runs(buckets))
            values = [buckets[i] for i in sorted(buckets)]
            if values and self.integer:
                out += field(deltas, b"".join(zigzag(int(b) - int(a)) for a, b in zip([0] + values, values)))
            elif values:
                out += field(counts, struct.pack(f"<{len(values)}d", *values))
        if self.gauge:
            out += varint(14 << 3) + varint(3)
        out += varint(15 << 3) + varint(t)
        return out + (field(16, struct.pack(f"<{len(self.bounds)}d", *self.bounds)) if self.bounds else b"")


def runs(buckets):
    """Spans of neighbouring indices: distance from the last one's end, length."""
    spans, before = [], None
    for index in sorted(buckets):
        if before is not None and index == before + 1:
            spans[-1][1] += 1
        else:
            spans.append([index if before is None else index - before - 1, 1])
        before = index
    return spans


def stale_histogram(like):
    return dataclasses.replace(like, positive={}, negative={}, zero=0, extra=0, sum=STALE)


def requests(series):
    """Bodies of remote-write requests that bring the series in order of time: a message carries floats and histograms apart, so a
    series that mixes them takes several."""
    rounds = []
    for labels, samples in sorted(series, key=lambda s: sorted(s[0].items())):
        kinds = [isinstance(v, Histogram) for _, v in samples]
        start, number = 0, 0
        head = b"".join(field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items(), key=lambda kv: kv[0].encode()))
        for end in range(1, len(samples) + 1):
            if end < len(samples) and kinds[end] == kinds[start]:
                continue
            body = b"".join(field(4, v.encode(t)) if kinds[start] else field(2, sample(v, t)) for t, v in samples[start:end])
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(field(1, head + body))
            start, number = end, number + 1
    return [b"".join(parts) for parts in rounds]


class Generator:
    """Makes the series of a seed."""

    def __init__(self, rng):
        self.rng = rng
        self.series = []

    def add(self, name, labels, values):
        """Adds a series whose values are spread over the time with jitter, gaps and stale markers; None leaves a hole."""
        rng = self.rng
        phase = rng.choice([0, 0, 0, 7_000, 12_345, -3_001, 29_999])
        jitter = rng.choice([0, 0, 0, 50, 900])
        first = rng.choice([0, 0, 0, 0, rng.randrange(COUNT // 2)])
        last = rng.choice([COUNT, COUNT, COUNT, COUNT, rng.randrange(COUNT // 2, COUNT)])
        holes = set()
        for _ in range(rng.choice([0, 0, 1, 2])):
            at, length = rng.randrange(COUNT), rng.choice([1, 2, 5, 12, 25])
            holes.update(range(at, at + length))
        stale = {rng.randrange(COUNT) for _ in range(rng.choice([0, 0, 1, 2]))}
        samples = []
        for i, value in enumerate(values):
            if value is None or i in holes or not first <= i <= last:
                continue
            t = START + i * STEP + phase + (rng.randrange(jitter) if jitter else 0)
            # Prometheus 3.15 overlooks a stale marker between histograms and floats at some steps.
            borders = values[max(i - 1, 0):i + 2]
            if i in stale and len({isinstance(v, Histogram) for v in borders}) == 1:
                value = stale_histogram(value) if isinstance(value, Histogram) else STALE
            samples.append((t, value))
        if samples:
            self.series.append(({"__name__": name, **labels}, samples))

    def counter(self, step=10, fraction=False):
        """A counter that is reset now and then, perhaps to something other than 0."""
        rng, value, out = self.rng, float(self.rng.choice([0, 0, 5, 1000])), []
        resets = {rng.randrange(COUNT) for _ in range(rng.choice([0, 1, 3]))}
        quiet = rng.random() < 0.2
        for i in range(COUNT):
            if i in resets:
                value = rng.choice([0.0, 0.0, 1.0, value / 2])
            elif not quiet or rng.random() < 0.2:
                value += rng.random() * step if fraction else rng.randrange(step)
            out.append(value)
        return out

    def gauge(self, low=-20.0, high=40.0, digits=None):
        value, out = self.rng.uniform(low, high), []
        for _ in range(COUNT):
            value = min(high, max(low, value + self.rng.gauss(0, (high - low) / 20)))
            out.append(value if digits is None else round(value, digits))
        return out

    def strange(self):
        rng = self.rng
        pool = [math.nan, math.inf, -math.inf, 0.0, -0.0, 3e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1e16, 1.0, -1.0, 0.1,
                1e-9, -1e100, 3.0, 2.5, -2.5, 0.5, 1e308, 12345678.9, 86400 * 365.0, -62135596801.0, 253402300800.0]
        pool = rng.sample(pool, rng.randrange(3, len(pool)))
        return [rng.choice(pool) for _ in range(COUNT)]

    def exponential(self, integer=True, gauge=False, schemas=(0,), negative=False, thresholds=(0.001,), nan=False):
        """A native histogram that grows, is reset now and then, and may change its schema and zero bucket."""
        rng, out = self.rng, []
        schema, threshold = schemas[0], thresholds[0]
        # What Prometheus makes of NaN observations and of the zero bucket depends on whether there are buckets, even empty ones, which
        # its chunks add to histograms when later ones have them. So some are there from the beginning.
        empty = lambda: ({i: 0 for i in (range(-2, 5) if nan else (0,))}, {0: 0} if negative else {}, 0, 0.0, 0)
        positive, below, zero, total, extra = empty()
        resets = {rng.randrange(COUNT) for _ in range(rng.choice([0, 1, 3]))}
        for i in range(COUNT):
            if i in resets:
                positive, below, zero, total, extra = empty()
            if rng.random() < 0.05 and (len(schemas) > 1 or len(thresholds) > 1):
                schema, threshold = rng.choice(schemas), rng.choice(thresholds)
                positive, below, zero, total, extra = empty()
            if gauge and rng.random() < 0.3:
                positive = {k: max(0, v - rng.randrange(3)) for k, v in positive.items()}
            for _ in range(rng.randrange(4)):
                value = rng.lognormvariate(0, 1.5)
                index = math.ceil(math.log2(value) * 2.0 ** schema)
                index = max(-2, min(4, index)) if nan else index
                amount = rng.randrange(1, 4) if integer else rng.choice([0.5, 1.25, 2.0, 0.1])
                target = below if negative and rng.random() < 0.4 else positive
                if value <= threshold:
                    zero += 1
                    continue
                target[index] = target.get(index, 0) + amount
                total += (-value if target is below else value) * amount
            if rng.random() < 0.2:
                zero += 1
            if nan and rng.random() < 0.1:
                extra += 1
                total = math.nan
            out.append(Histogram(schema, dict(positive), dict(below), zero, threshold, total, gauge=gauge, integer=integer, extra=extra))
        return out

    def custom(self, layouts, integer=True, gauge=False):
        """A histogram with custom buckets whose bounds change now and then."""
        rng, out = self.rng, []
        bounds = layouts[0]
        counts, total = [0] * (len(bounds) + 1), 0.0
        resets = {rng.randrange(COUNT) for _ in range(rng.choice([0, 1, 2]))}
        for i in range(COUNT):
            if i in resets or len(layouts) > 1 and rng.random() < 0.04:
                bounds = rng.choice(layouts)
                counts, total = [0] * (len(bounds) + 1), 0.0
            for _ in range(rng.randrange(4)):
                value = rng.uniform(bounds[0] - 1 if bounds[0] < 0 else 0, bounds[-1] * 1.3)
                amount = rng.randrange(1, 4) if integer else rng.choice([0.5, 1.25, 2.0])
                counts[next((n for n, bound in enumerate(bounds) if value <= bound), len(bounds))] += amount
                total += value * amount
            buckets = {n: c for n, c in enumerate(counts) if c or rng.random() < 0.5}
            out.append(Histogram(CUSTOM, buckets, sum=total, bounds=bounds, gauge=gauge, integer=integer))
        return out

    def classic(self, name, labels, bounds, flaws=False):
        """The series of a classic histogram; with flaws, its buckets are not monotonic or not complete."""
        rng = self.rng
        counts, total, columns = [0.0] * len(bounds), 0.0, []
        resets = {rng.randrange(COUNT) for _ in range(rng.choice([0, 1]))}
        for i in range(COUNT):
            if i in resets:
                counts, total = [0.0] * len(bounds), 0.0
            for _ in range(rng.randrange(5)):
                value = rng.uniform(-1 if float(bounds[0]) < 0 else 0, 12)
                total += value
                for n, bound in enumerate(bounds):
                    counts[n] += value <= float(bound.replace("Inf", "inf"))
            columns.append((list(counts), total, counts[-1]))
        for n, bound in enumerate(bounds):
            if flaws and rng.random() < 0.2:
                continue
            off = rng.choice([0, 0, -3, 1e-13]) if flaws else 0
            self.add(f"{name}_bucket", {**labels, "le": bound}, [c[0][n] * (1 + (off if abs(off) < 1 else 0)) + (off if abs(off) >= 1 else 0) for c in columns])
        self.add(f"{name}_sum", labels, [c[1] for c in columns])
        self.add(f"{name}_count", labels, [c[2] for c in columns])


def series(rng):
    """All series of a random source."""
    g = Generator(rng)
    places = [("api", "a"), ("api", "b"), ("db", "a"), ("db", "c")]
    for job, instance in places:
        place = {"job": job, "instance": instance}
        some = {**place, "env": rng.choice(["prod", "dev"])} if rng.random() < 0.5 else place
        for code in ("200", "404", "500")[:rng.randrange(1, 4)]:
            g.add("requests_total", {**place, "code": code}, g.counter())
            if rng.random() < 0.7:
                g.add("errors_total", {**some, "code": code}, g.counter(3))
        g.add("seconds_total", place, g.counter(2, fraction=True))
        g.add("temp", some, g.gauge())
        g.add("load", place, g.gauge(0, 4, 1))
        g.add("level", place, g.gauge(0, 4, 0))
        g.add("up", place, [float(rng.random() < 0.9) for _ in range(COUNT)])
        g.add("strange", place, g.strange())
        g.add("info_metric", {**place, "version": rng.choice(["1.0", "2.0"])}, [1.0] * COUNT)
        g.add("target_info", {**place, "region": rng.choice(["eu", "us"]), "data": rng.choice(["x", "y"])}, [1.0] * COUNT)
        if rng.random() < 0.6:
            g.add("build_info", {**place, "build": rng.choice(["17", "18"]), "data": "z"}, [1.0] * COUNT)
        g.add("typed", {**place, "__type__": rng.choice(["gauge", "counter"]), "__unit__": "seconds"}, g.gauge(0, 9))
        for name, flaws in (("latency", False), ("flawed", True)):
            bounds = rng.choice([["0.5", "1", "2.5", "5", "10", "+Inf"], ["1", "5", "10", "+Inf"], ["-0.5", "0", "2", "8", "+Inf"], ["1.0", "2.0", "+Inf"]])
            if flaws and rng.random() < 0.3:
                bounds = bounds[:-1]
            g.classic(name, place, bounds, flaws)
        integer = rng.random() < 0.6
        g.add("nh", place, g.exponential(integer))
        g.add("nh_schemas", place, g.exponential(rng.random() < 0.6, schemas=(0, 1, 2, -1, 3), thresholds=(0.001, 0.5, 1e-128, 0.0), negative=rng.random() < 0.5))
        g.add("nh_gauge", place, g.exponential(rng.random() < 0.6, gauge=True, schemas=rng.choice([(0,), (1, 2)]), negative=rng.random() < 0.5))
        g.add("nhcb", place, g.custom([(1.0, 2.5, 5.0, 10.0)], integer))
        g.add("nhcb_layouts", place, g.custom([(1.0, 2.5, 5.0, 10.0), (1.0, 5.0, 10.0), (2.0, 4.0), (-1.0, 2.5, 7.0)], rng.random() < 0.5, rng.random() < 0.3))
        floats, hists = g.gauge(), g.exponential(integer)
        width = rng.choice([1, 4, 11, 40])
        g.add("mixed", place, [hists[i] if i // width % 2 else floats[i] for i in range(COUNT)])
        e, c = g.exponential(integer), g.custom([(1.0, 2.5, 5.0, 10.0)], integer)
        g.add("mixed_schemas", place, [e[i] if i // width % 2 else c[i] for i in range(COUNT)])
        if instance == "a":
            g.add("nh_nan", place, g.exponential(True, nan=True))
            g.add("either", {**place, "kind": "float"}, g.gauge())
            g.add("either", {**place, "kind": "nh"}, g.exponential(True))
            g.add("either", {**place, "kind": "nhcb"}, g.custom([(1.0, 2.5, 5.0)], False))
            g.add("either", {**place, "kind": "nhg"}, g.exponential(False, gauge=True))
            g.add("utf8.größe", {**place, "service.name": rng.choice(["x y", 'q"u', "ü"])}, g.gauge())
    g.add("latency", {"job": "api", "instance": "a"}, g.exponential(True))
    g.add("latency", {"job": "db", "instance": "c"}, g.custom([(0.5, 1.0, 10.0)]))
    g.add("single", {}, [7.0 if i == 40 else None for i in range(COUNT)])
    g.add("sparse", {"job": "api"}, [float(i) if i % 14 == 0 else None for i in range(COUNT)])
    g.add("constant", {"job": "db", "instance": "a"}, [3.0] * COUNT)
    g.add("version", {"instance": "b"}, [float(i // 30) for i in range(COUNT)])
    g.add("odd_bucket", {"job": "api", "le": "abc"}, g.counter())
    g.add("odd_bucket", {"job": "api"}, g.counter())
    g.add("odd_bucket", {"job": "api", "le": "1"}, g.counter())
    g.add("odd_bucket", {"job": "api", "le": "+Inf"}, g.counter())
    return g.series
