"""OTLP requests, as protobuf and as JSON: metrics of all kinds with attributes of all types, some of them wrong."""
import base64
import gzip
import json
import struct

from push_variants.remote_write import double, field, integer, packed, sint, varint

NAMES = ["requests", "http.server.duration", "a-b", "größe", "1a", "", "x_total", "a__b", "mem.ratio"]
UNITS = ["", "s", "ms", "By", "1", "{request}", "By/s", "%", "m/s", "weird unit"]
ATTRIBUTES = ["a", "b.c", "http.method", "1x", "__x", "job", "le", "ü", "", "a_b", "a.b", "key_x"]
SCOPES = ["", "lib", "other/lib"]


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value & (1 << 64) - 1)


# --- a model that is written as protobuf and as JSON ---

def any_value(rng, depth=0):
    match rng.randrange(9 if depth < 2 else 5):
        case 0 | 1 | 2:
            return {"stringValue": rng.choice(["x", "", "ü", "a b", "1"])}
        case 3:
            return {"boolValue": rng.random() < 0.5}
        case 4:
            return {"intValue": rng.choice([0, -5, 1 << 40])}
        case 5:
            return {"doubleValue": rng.choice([0.5, 1.0, 1e21, -0.0, 1e-7])}
        case 6:
            return {"bytesValue": b"\x00\xff"}
        case 7:
            return {"arrayValue": {"values": [any_value(rng, depth + 1) for _ in range(rng.randrange(3))]}}
        case _:
            return {"kvlistValue": {"values": attributes(rng, depth + 1)}}


def attributes(rng, depth=0):
    return [{"key": rng.choice(ATTRIBUTES), "value": any_value(rng, depth)} for _ in range(rng.choice([0, 1, 1, 2, 3]))]


def exemplars(rng, base):
    if rng.random() < 0.75:
        return []
    return [{"timeUnixNano": (base + rng.choice([0, 1, -5])) * 1_000_000, "asDouble": rng.choice([0.5, 2.0]), "filteredAttributes": attributes(rng),
             **({"traceId": b"\x01" * 16, "spanId": b"\x02" * 8} if rng.random() < 0.6 else {})} for _ in range(rng.choice([1, 2]))]


def point_times(rng, base):
    at = base + rng.choice([0, 0, 0, 1, 1000, -1000, -86_400_000, 86_400_000])
    start = rng.choice([0, at - 1000, at, at + 1000])
    times = {"timeUnixNano": at * 1_000_000 + rng.choice([0, 999_999]), "startTimeUnixNano": start * 1_000_000}
    if rng.random() < 0.05:
        times["timeUnixNano"] = 0
    return times | ({"flags": 1} if rng.random() < 0.06 else {})


def number_point(rng, base):
    value = {"asInt": rng.choice([0, 7, -3])} if rng.random() < 0.5 else {"asDouble": rng.choice([0.5, -2.0, 1e300, float("inf"), float("nan")])}
    if rng.random() < 0.03:
        value = {}
    return {"attributes": attributes(rng), **point_times(rng, base), **value, "exemplars": exemplars(rng, base)}


def histogram_point(rng, base):
    bounds = rng.choice([[], [1.0], [0.5, 1.0, 10.0], [2.0, 1.0]])
    counts = [rng.randrange(4) for _ in range(len(bounds) + 1)]
    if rng.random() < 0.06:
        counts = counts[:-1]
    point = {"attributes": attributes(rng), **point_times(rng, base), "count": sum(counts) + (1 if rng.random() < 0.06 else 0), "bucketCounts": counts, "explicitBounds": bounds, "exemplars": exemplars(rng, base)}
    if rng.random() < 0.85:
        point["sum"] = rng.choice([0.0, 12.5, float("nan")])
    return point


def exponential_point(rng, base):
    side = lambda: {"offset": rng.choice([0, -3, 7]), "bucketCounts": [rng.randrange(4) for _ in range(rng.choice([0, 1, 4, 12]))]}
    point = {"attributes": attributes(rng), **point_times(rng, base), "scale": rng.choice([0, 3, 8, 9, 20, -4, -5]), "zeroCount": rng.randrange(3), "positive": side(), "negative": side(),
             "zeroThreshold": rng.choice([0.0, 0.001]), "exemplars": exemplars(rng, base)}
    point["count"] = point["zeroCount"] + sum(point["positive"]["bucketCounts"]) + sum(point["negative"]["bucketCounts"]) + (1 if rng.random() < 0.05 else 0)
    if rng.random() < 0.85:
        point["sum"] = rng.choice([0.0, 3.5])
    return point


def summary_point(rng, base):
    quantiles = [{"quantile": quantile, "value": rng.choice([0.1, 5.0])} for quantile in rng.choice([[], [0.5], [0.0, 0.99, 1.0]])]
    return {"attributes": attributes(rng), **point_times(rng, base), "count": 3, "sum": 1.5, "quantileValues": quantiles}


def metric(rng, base):
    kind = rng.choice(["gauge", "sum", "sum", "histogram", "exponentialHistogram", "summary"])
    make = {"gauge": number_point, "sum": number_point, "histogram": histogram_point, "exponentialHistogram": exponential_point, "summary": summary_point}[kind]
    data = {"dataPoints": [make(rng, base) for _ in range(rng.choice([1, 1, 1, 2]))]}
    if kind in ("sum", "histogram", "exponentialHistogram"):
        data["aggregationTemporality"] = rng.choice([2, 2, 2, 2, 1, 0])
    if kind == "sum":
        data["isMonotonic"] = rng.random() < 0.6
    found = {"name": rng.choice(NAMES), "description": rng.choice(["", "What it is"]), "unit": rng.choice(UNITS)}
    if rng.random() < 0.97:
        found[kind] = data
    return found


def make_model(rng, index, base):
    resources = []
    for _ in range(rng.choice([1, 1, 2])):
        known = [{"key": key, "value": {"stringValue": value}} for key, value in (("service.name", "svc"), ("service.namespace", "ns"), ("service.instance.id", "i-1")) if rng.random() < 0.7]
        scopes = [{"scope": {"name": rng.choice(SCOPES), "version": rng.choice(["", "1"]), "attributes": attributes(rng) if rng.random() < 0.2 else []},
                   "schemaUrl": rng.choice(["", "http://schema"]), "metrics": [metric(rng, base) for _ in range(rng.choice([1, 2, 3]))]} for _ in range(rng.choice([1, 1, 2]))]
        resources.append({"resource": {"attributes": [{"key": "variant", "value": {"stringValue": str(index)}}, *known, *attributes(rng)]}, "scopeMetrics": scopes})
    # Every point carries the variant, because resources' attributes do not become labels.
    for resource in resources:
        for scope in resource["scopeMetrics"]:
            for found in scope["metrics"]:
                for data in found.values():
                    for point in data["dataPoints"] if isinstance(data, dict) else []:
                        point["attributes"] = [pair for pair in point["attributes"] if pair["key"] != "variant"] + [{"key": "variant", "value": {"stringValue": str(index)}}]
    return {"resourceMetrics": resources}


# --- protobuf ---

def encode_value(value):
    (kind, content), = value.items()
    match kind:
        case "stringValue":
            return field(1, content.encode())
        case "boolValue":
            return integer(2, int(content))
        case "intValue":
            return integer(3, content)
        case "doubleValue":
            return double(4, content)
        case "arrayValue":
            return field(5, b"".join(field(1, encode_value(item)) for item in content["values"]))
        case "kvlistValue":
            return field(6, encode_attributes(1, content["values"]))
        case "bytesValue":
            return field(7, content)


def encode_attributes(number, pairs):
    return b"".join(field(number, field(1, pair["key"].encode()) + field(2, encode_value(pair["value"]))) for pair in pairs)


def encode_exemplars(number, found):
    return b"".join(field(number, fixed(2, item["timeUnixNano"]) + double(3, item["asDouble"]) + field(4, item.get("spanId", b"")) + field(5, item.get("traceId", b"")) + encode_attributes(7, item["filteredAttributes"])) for item in found)


def encode_times(point):
    return fixed(2, point["startTimeUnixNano"]) + fixed(3, point["timeUnixNano"])


def encode_point(kind, point):
    fixed_words = lambda number, counts: packed(number, counts, lambda count: struct.pack("<Q", count))
    doubles = lambda number, values: packed(number, values, lambda value: struct.pack("<d", value))
    total = (double(5, point["sum"]) if "sum" in point else b"")
    match kind:
        case "gauge" | "sum":
            value = double(4, point["asDouble"]) if "asDouble" in point else fixed(6, point["asInt"]) if "asInt" in point else b""
            return encode_attributes(7, point["attributes"]) + encode_times(point) + value + encode_exemplars(5, point["exemplars"]) + integer(8, point.get("flags", 0))
        case "histogram":
            return (encode_attributes(9, point["attributes"]) + encode_times(point) + fixed(4, point["count"]) + total + fixed_words(6, point["bucketCounts"]) + doubles(7, point["explicitBounds"])
                    + encode_exemplars(8, point["exemplars"]) + integer(10, point.get("flags", 0)))
        case "exponentialHistogram":
            side = lambda buckets: varint(1 << 3) + sint(buckets["offset"]) + packed(2, buckets["bucketCounts"], varint)
            return (encode_attributes(1, point["attributes"]) + encode_times(point) + fixed(4, point["count"]) + total + varint(6 << 3) + sint(point["scale"]) + fixed(7, point["zeroCount"])
                    + field(8, side(point["positive"])) + field(9, side(point["negative"])) + integer(10, point.get("flags", 0)) + encode_exemplars(11, point["exemplars"]) + double(14, point["zeroThreshold"]))
        case _:
            quantiles = b"".join(field(6, double(1, item["quantile"]) + double(2, item["value"])) for item in point["quantileValues"])
            return encode_attributes(7, point["attributes"]) + encode_times(point) + fixed(4, point["count"]) + double(5, point["sum"]) + quantiles + integer(8, point.get("flags", 0))


KINDS = {"gauge": 5, "sum": 7, "histogram": 9, "exponentialHistogram": 10, "summary": 11}


def encode_metric(found):
    out = field(1, found["name"].encode()) + field(2, found["description"].encode()) + field(3, found["unit"].encode())
    for kind, number in KINDS.items():
        if kind in found:
            data = found[kind]
            body = b"".join(field(1, encode_point(kind, point)) for point in data["dataPoints"]) + integer(2, data.get("aggregationTemporality", 0)) + integer(3, int(data.get("isMonotonic", False)))
            out += field(number, body)
    return out


def encode(model):
    out = b""
    for resource in model["resourceMetrics"]:
        body = field(1, encode_attributes(1, resource["resource"]["attributes"]))
        for scope in resource["scopeMetrics"]:
            head = field(1, scope["scope"]["name"].encode()) + field(2, scope["scope"]["version"].encode()) + encode_attributes(3, scope["scope"]["attributes"])
            body += field(2, field(1, head) + b"".join(field(2, encode_metric(found)) for found in scope["metrics"]) + field(3, scope["schemaUrl"].encode()))
        out += field(1, body)
    return out


# --- JSON ---

def json_form(item, key=None):
    """The JSON mapping of OTLP: 64-bit numbers as strings, bytes as base64, trace and span identifiers as hexadecimal digits."""
    if isinstance(item, dict):
        return {name: json_form(value, name) for name, value in item.items()}
    if isinstance(item, list):
        return [json_form(value, key) for value in item]
    if isinstance(item, bytes):
        return item.hex() if key in ("traceId", "spanId") else base64.b64encode(item).decode()
    if key in ("timeUnixNano", "startTimeUnixNano", "intValue", "asInt", "count", "zeroCount", "bucketCounts"):
        return str(item)
    if isinstance(item, float) and (item != item or item in (float("inf"), float("-inf"))):
        return "NaN" if item != item else "Infinity" if item > 0 else "-Infinity"
    return item


def make_request(rng, index, base):
    """Path, headers and body."""
    model = make_model(rng, index, base)
    if rng.random() < 0.35:
        headers, body = {"Content-Type": "application/json"}, json.dumps(json_form(model), ensure_ascii=rng.random() < 0.5).encode()
    else:
        headers, body = {"Content-Type": "application/x-protobuf"}, encode(model)
    if rng.random() < 0.25:
        match rng.randrange(9):
            case 0:
                body = body[:rng.randrange(len(body))]
            case 1 | 2:
                body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
            case 3:
                headers["Content-Encoding"] = rng.choice(["gzip", "identity", "", "snappy", "zstd"])
            case 4:
                headers.pop("Content-Type")
            case 5:
                headers["Content-Type"] = rng.choice(["text/plain", "application/json; charset=utf-8", "application/x-protobuf; x=y", "application/protobuf"])
            case 6:
                damaged = bytearray(body)
                # Not all of Prometheus minds text that is not UTF-8.
                damaged[rng.randrange(len(damaged))] = rng.randrange(128)
                body = bytes(damaged)
            case 7:
                body += rng.choice([b" ", b"\n"])
            case _:
                body = b""
    return "/api/v1/otlp/v1/metrics", headers, body
