"""Seeded series with start timestamps, as an OTLP request: Prometheus keeps them when they come by OTLP, not by remote write."""
import struct

from data import COUNT, START, STEP, Generator
from wire import field, varint

NANOSECONDS = 1_000_000  # of a millisecond


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def signed(number, value):
    return varint(number << 3) + varint((value << 1) ^ (value >> 63))


def attribute(name, value):
    return field(1, name.encode()) + field(2, field(1, value.encode()))


def starts(rng, values):
    """A start timestamp for each time: a new one after a reset, sometimes none, sometimes one that contradicts the samples."""
    first = START - rng.choice([1, 10_000, 400_000, 0])
    start, before, out = first, None, []
    strange = rng.random() < 0.3
    for i, value in enumerate(values):
        t = START + i * STEP
        if before is not None and value < before and rng.random() < 0.8:
            start = t - rng.choice([1, 5_000, STEP, STEP - 1, 2 * STEP])
        if strange and rng.random() < 0.1:
            start = t - rng.choice([0, 10_000, 100_000])
        out.append(0 if strange and rng.random() < 0.05 else start)
        before = value
    return out


def numbers(rng, g, instance):
    """The points of a counter."""
    values = g.counter()
    points = zip(range(COUNT), starts(rng, values), values)
    return b"".join(
        field(1, field(7, attribute("instance", instance)) + fixed(2, st * NANOSECONDS) + fixed(3, (START + i * STEP) * NANOSECONDS) + double(4, v))
        for i, st, v in points if rng.random() < 0.95)


def histograms(rng, g, instance):
    """The points of an exponential histogram."""
    hists, out = g.exponential(), b""
    counts = [sum(h.positive.values()) + h.zero for h in hists]
    for i, (h, st, count) in enumerate(zip(hists, starts(rng, counts), counts)):
        if rng.random() < 0.05:
            continue
        low, high = min(h.positive), max(h.positive)
        buckets = b"".join(varint(h.positive.get(index, 0)) for index in range(low, high + 1))
        # A bucket of OTLP has the index of its lower bound.
        point = field(1, attribute("instance", instance)) + fixed(2, st * NANOSECONDS) + fixed(3, (START + i * STEP) * NANOSECONDS)
        point += fixed(4, count) + double(5, h.sum) + signed(6, 0) + fixed(7, h.zero) + field(8, signed(1, low - 1) + field(2, buckets))
        out += field(1, point + double(14, h.threshold))
    return out


def request(rng):
    """The body of the request: `begun` and `begun_total` of two jobs, in the order of their labels."""
    g, resources = Generator(rng), b""
    cumulative = varint(2 << 3) + varint(2)
    for name in ("begun", "begun_total"):
        for instance, job in (("a", "api"), ("a", "db"), ("b", "api"), ("c", "db")):
            if name == "begun":
                points = field(10, histograms(rng, g, instance) + cumulative)
            else:
                points = field(7, numbers(rng, g, instance) + cumulative + varint(3 << 3) + varint(1))
            metric = field(2, field(1, name.encode()) + points)
            resources += field(1, field(1, field(1, attribute("service.name", job))) + field(2, metric))
    return resources
