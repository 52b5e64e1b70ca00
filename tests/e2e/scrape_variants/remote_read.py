"""Reads all samples of a server by remote read, which shows stale markers and native histograms to the bit."""
import struct
import urllib.request

from wire import field, snappy, varint

STALE = 0x7FF0000000000002


def unsnappy(data):
    size, at = read_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                more = length - 59
                length = int.from_bytes(data[at:at + more], "little")
                at += more
            out += data[at:at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            more = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + more], "little")
            at += more
        while length > 0:
            part = out[len(out) - offset:][:length]
            out += part
            length -= len(part)
    assert len(out) == size, f"snappy: {len(out)} of {size} bytes"
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def fields(data):
    """The fields of a message: number and value."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        match key & 7:
            case 0:
                value, at = read_varint(data, at)
            case 1:
                value, at = data[at:at + 8], at + 8
            case 2:
                length, at = read_varint(data, at)
                value, at = data[at:at + length], at + length
            case _:
                value, at = data[at:at + 4], at + 4
        yield key >> 3, value


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def zigzag(value):
    return (value >> 1) ^ -(value & 1)


def float_text(raw):
    """A float as text that tells all values and the stale marker apart."""
    value = struct.unpack("<d", raw)[0]
    if value == value:
        return repr(value)
    bits = struct.unpack("<Q", raw)[0]
    return "stale" if bits == STALE else "NaN"


def text_of(raw):
    """Text, of which Prometheus stores some that is not UTF-8."""
    return raw.decode(errors="backslashreplace")


def varints(data):
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def histogram_text(data):
    """A histogram by what it counts, however its spans are laid out, without the hint about resets. And its time."""
    scalars, spans, deltas, counts, custom, at = {}, {8: [], 11: []}, {9: [], 12: []}, {10: [], 13: []}, [], 0
    for number, value in fields(data):
        match number:
            case 1 | 6:
                scalars[number] = repr(float(value))
            case 2 | 3 | 5 | 7:
                scalars[number - 1 if number in (2, 7) else number] = float_text(value)
            case 4:
                scalars[4] = zigzag(value)
            case 8 | 11:
                span = dict(fields(value))
                spans[number].append((zigzag(span.get(1, 0)), span.get(2, 0)))
            case 9 | 12:
                deltas[number] += map(zigzag, varints(value) if isinstance(value, bytes) else [value])
            case 10 | 13:
                counts[number] += struct.unpack(f"<{len(value) // 8}d", value)
            case 15:
                at = signed(value)
            case 16:
                custom += struct.unpack(f"<{len(value) // 8}d", value)
    kind = "float" if any(number in (2, 7, 10, 13) for number, _ in fields(data)) else "integer"
    if scalars.get(3) == "stale":
        return "stale histogram", at
    sides = []
    for first in (8, 11):
        values, total = list(counts[first + 2]), 0
        for delta in deltas[first + 1]:
            total += delta
            values.append(float(total))
        index, buckets = 0, {}
        for offset, length in spans[first]:
            index += offset
            for _ in range(length):
                buckets[index] = values.pop(0) if values else None
                index += 1
        sides.append({index: count for index, count in buckets.items() if count})
    return f"{kind} schema={scalars.get(4, 0)} count={scalars.get(1)} sum={scalars.get(3)} zero={scalars.get(6)}/{scalars.get(5)} negative={sides[0]} positive={sides[1]} bounds={custom}", at


def read_all(url, label, start, end, headers=None):
    """All series that have a label, as (labels, samples). A sample is its time and a text."""
    matcher = varint(1 << 3) + varint(2) + field(2, label.encode()) + field(3, b".+")
    body = snappy(field(1, varint(1 << 3) + varint(start) + varint(2 << 3) + varint(end) + field(3, matcher)))
    sent = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Read-Version": "0.1.0", **(headers or {})}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/read", body, sent), timeout=60) as reply:
        answer = unsnappy(reply.read())
    found = []
    for _, result in fields(answer):
        for _, series in fields(result):
            labels, samples = {}, []
            for number, value in fields(series):
                if number == 1:
                    pair = dict(fields(value))
                    labels[text_of(pair.get(1, b""))] = text_of(pair.get(2, b""))
                elif number == 2:
                    sample = dict(fields(value))
                    samples.append((signed(sample.get(2, 0)), float_text(sample.get(1, bytes(8)))))
                elif number == 4:
                    text, at = histogram_text(value)
                    samples.append((at, text))
            found.append((labels, samples))
    return found
