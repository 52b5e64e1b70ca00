"""Requests of remote write 1.0 and 2.0: series of all kinds, some of them wrong, and requests that are damaged or mislabelled."""
import gzip
import struct

from wire import field, snappy, varint

NAMES = ["up", "m_total", "a:b", "größe", "a b", "1a", "", None]
LABELS = ["a", "b", "le", "job", "instance", "ü.x", "1b", "__x", ""]
VALUES = ["", "1", "x y", "ü", "a\nb", "v" * 300]
FLOATS = [0.0, 1.0, -2.5, 1e300, float("inf"), float("nan"), 3.0]
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
HEADERS = {"1": {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"},
           "2": {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0"}}


def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def integer(number, value):
    return varint(number << 3) + varint(value)


def sint(value):
    return varint((value << 1) ^ (value >> 63))


def packed(number, values, encode):
    return field(number, b"".join(map(encode, values))) if values else b""


def make_time(rng, base):
    return base + rng.choice([0, 0, 0, 1, 1000, -1000, -60_000, 60_000, -7_200_000, -86_400_000, 590_000, 700_000, 86_400_000])


def make_labels(rng, index):
    name = rng.choice(NAMES[:2] * 6 + NAMES)
    labels = [("__name__", name)] if name is not None else []
    labels += [(rng.choice(LABELS[:5] * 3 + LABELS), rng.choice(VALUES)) for _ in range(rng.choice([0, 1, 1, 2]))]
    labels.append(("variant", str(index)))
    if rng.random() < 0.93:
        seen = dict(labels)
        labels = list(seen.items())
    if rng.random() < 0.9:
        labels.sort()
    return labels


def make_histogram(rng, base, version):
    is_float = rng.random() < 0.3
    schema = rng.choice([-53, -53, -4, 0, 3, 8, 9, -5, 60, -9])
    spans = [(rng.choice([0, 1, -2]), rng.choice([1, 2, 3])) for _ in range(rng.choice([0, 1, 2]))]
    counts = [rng.randrange(1, 5) for _ in range(sum(length for _, length in spans))]
    bounds = [0.5 * (i + 1) for i in range(rng.choice([0, 2, 8]))] if schema == -53 or rng.random() < 0.05 else []
    zero = 0 if schema == -53 else rng.randrange(3)
    total = sum(counts) + zero
    match rng.randrange(12):
        case 0:
            total -= 1
        case 1:
            counts = counts[:-1]
        case 2:
            counts = [-count for count in counts]
        case 3:
            bounds = bounds[::-1]
    value = STALE if rng.random() < 0.05 else rng.choice(FLOATS)
    out = double(2, total) if is_float else integer(1, max(total, 0))
    out += double(3, value) + varint(4 << 3) + sint(schema) + double(5, rng.choice([0.0, 1e-128, 0.001])) + (double(7, zero) if is_float else integer(6, zero))
    out += b"".join(field(11, varint(1 << 3) + sint(offset) + integer(2, length)) for offset, length in spans)
    if is_float:
        out += packed(13, counts, lambda count: struct.pack("<d", count))
    else:
        out += packed(12, [count - before for count, before in zip(counts, [0, *counts])], sint)
    out += integer(14, rng.choice([0, 0, 1, 2, 3])) + integer(15, make_time(rng, base)) + packed(16, bounds, lambda bound: struct.pack("<d", bound))
    if version == "2" and rng.random() < 0.2:
        out += integer(17, base - 1000)
    return out


class Symbols:
    def __init__(self):
        self.texts = [""]

    def reference(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def text_of(text):
    return text.encode()


def make_series(rng, index, base, version, symbols):
    labels = make_labels(rng, index)
    references = lambda pairs: packed(1, [symbols.reference(text) for pair in pairs for text in pair], varint)
    pairs = lambda number, labels: b"".join(field(number, field(1, text_of(name)) + field(2, text_of(value))) for name, value in labels)
    body = references(labels) if version == "2" else pairs(1, labels)
    if version == "2" and rng.random() < 0.03:
        body += packed(1, [rng.choice([1, 500])], varint)
    kind = rng.choice(["floats", "floats", "floats", "histograms", "none"] if rng.random() < 0.3 else ["floats", "histograms"])
    if kind == "floats":
        # Of two samples with one time in a request, Prometheus counts both and stores one.
        for at in {make_time(rng, base): None for _ in range(rng.choice([1, 1, 2, 3]))}:
            value = STALE if rng.random() < 0.1 else rng.choice(FLOATS)
            body += field(2, double(1, value) + integer(2, at))
    histograms = 3 if version == "2" else 4
    if kind == "histograms":
        body += b"".join(field(histograms, make_histogram(rng, base, version)) for _ in range(rng.choice([1, 1, 2])))
    if rng.random() < 0.3:
        exemplar_labels = rng.choice([[("trace_id", "a")], [], [("t", "x" * 130)], [("t", "1"), ("t", "2")]])
        body += field(4 if version == "2" else 3, (references if version == "2" else lambda labels: pairs(1, labels))(exemplar_labels) + double(2, 1.5) + integer(3, rng.choice([base, base, 0])))
    if version == "2" and rng.random() < 0.6:
        body += field(5, integer(1, rng.choice([0, 1, 2, 3, 9])) + integer(3, symbols.reference(rng.choice(["help", ""]))) + integer(4, rng.choice([0, 0, 999]) if rng.random() < 0.05 else 0))
    return body


def make_message(rng, index, base, version):
    symbols = Symbols()
    series = [make_series(rng, index, base, version, symbols) for _ in range(rng.choice([1, 1, 2, 3]))]
    if version == "2":
        if rng.random() < 0.03:
            symbols.texts[0] = "x"
        return b"".join(field(4, text_of(text)) for text in symbols.texts) + b"".join(field(5, body) for body in series)
    metadata = field(3, integer(1, 1) + field(2, b"m_total") + field(4, b"help")) if rng.random() < 0.3 else b""
    return b"".join(field(1, body) for body in series) + metadata


def make_request(rng, index, base, version):
    """Path, headers and body."""
    message = make_message(rng, index, base, version)
    headers, body = dict(HEADERS[version]), snappy(message)
    if rng.random() < 0.25:
        match rng.randrange(14):
            case 0:
                body = body[:rng.randrange(len(body))]
            case 1:
                body = snappy(message[:rng.randrange(len(message))])
            case 2:
                body = message
            case 3:
                body, headers["Content-Encoding"] = gzip.compress(message), "gzip"
            case 4:
                headers.pop("Content-Encoding")
            case 5:
                headers["Content-Encoding"] = rng.choice(["", "identity", "zstd", "SNAPPY", "snappy, snappy"])
            case 6:
                headers.pop("Content-Type")
            case 7:
                headers["Content-Type"] = rng.choice(["text/plain", "application/json", "application/x-protobuf;proto=unknown", "application/x-protobuf; proto=prometheus.WriteRequest", "application/x-protobuf;", "application/x-protobuf;x=y",
                                                      "application/x-protobuf;proto=io.prometheus.write.v2.Request;proto=x", "application/x-protobuf;version=2"])
            case 8:
                headers.pop("X-Prometheus-Remote-Write-Version")
            case 9:
                headers["X-Prometheus-Remote-Write-Version"] = "9.9"
            case 10:
                headers["Content-Type"] = HEADERS["2" if version == "1" else "1"]["Content-Type"]
            case 11:
                body = snappy(message + rng.choice([b"\xff", b"\x00", integer(15, 7), field(100, b"x")]))
            case 12:
                damaged = bytearray(message)
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
                body = snappy(bytes(damaged))
            case _:
                body = b""
    return "/api/v1/write", headers, body
