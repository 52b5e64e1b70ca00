"""Encodes remote-write requests by hand: protobuf fields and snappy blocks of literals. Standard library only."""
import struct

STALE = struct.pack("<Q", 0x7FF0000000000002)
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, data):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def sample(value, timestamp):
    """A sample whose value is a number or eight raw bytes."""
    bits = value if isinstance(value, bytes) else struct.pack("<d", value)
    return b"\x09" + bits + b"\x10" + varint(timestamp)


def series(labels, *samples):
    """A series of remote write 1.0. Labels keep their order, samples are (value, milliseconds)."""
    text = lambda t: t if isinstance(t, bytes) else t.encode()
    return field(1, b"".join(field(1, field(1, text(n)) + field(2, text(v))) for n, v in labels)
                 + b"".join(field(2, sample(v, t)) for v, t in samples))


def snappy(data):
    """A valid snappy block of literals."""
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 1 << 16):
        piece = data[at:at + (1 << 16)]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def snappy_bomb(size):
    """A snappy block that expands one literal byte to `size` bytes."""
    copies = (size - 1) // 64
    return varint(1 + copies * 64) + b"\x00a" + (bytes([63 << 2 | 2]) + struct.pack("<H", 1)) * copies
