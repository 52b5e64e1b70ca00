"""Ways in which a target delivers a response: what it writes, when it waits and how the connection ends.

A reply is a list of steps: bytes to write, a number of seconds to wait, or one of CLOSE, RESET and HANG. `@SELF@` and `@OTHER@` stand for the two
plain ports of the server and `@PATH@` for the path of the target, without changing the length of what is announced.
"""
import gzip
import zlib

CLOSE, RESET, HANG = "close", "reset", "hang"
# The name of a header, as bytes before the colon.
ODD_HEADERS = [b"X-Folded: a\r\n b\r\n", b"X-Space : a\r\n", b"X-Bytes: \xff\xfe\r\n", b"X-Empty:\r\n", b"X-Tab:\ta\r\n",
               b"X-Long: " + b"v" * 20_000 + b"\r\n", b"X-LF: a\n", b"X CR: a\r\n", b"Set-Cookie: a=b\r\n" * 3, b"\tX: y\r\n", b"Connection: close\r\n",
               b"Connection: keep-alive\r\n", b"Keep-Alive: timeout=1\r\n", b"Trailer: X-Late\r\n", b"Content-Language: x\r\n", b"Date: nonsense\r\n", b"X-Very-Long: " + b"v" * 300_000 + b"\r\n"]
STATUS_LINES = [b"HTTP/1.1 200 OK\r\n"] * 4 + [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 A b  c\r\n", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 Fine\r\n",
                                                b"HTTP/1.1 200 Fine\r\n", b"http/1.1 200 OK\r\n", b"HTTP/1.1 0200 OK\r\n", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"ICY 200 OK\r\n", b"HTTP/1.1 abc OK\r\n",
                                                b"HTTP/1.1\r\n"]
STATUSES = ["201 Created", "202 Accepted", "203 Non", "204 No Content", "205 Reset", "206 Partial Content", "300 Multiple Choices", "304 Not Modified", "305 Use Proxy", "400 Bad Request", "401 Unauthorized",
            "404 Not Found", "407 Proxy Authentication Required", "408 Request Timeout", "418 teapot", "421 Misdirected", "425 Too Early", "429 Too Many Requests", "500 Internal Server Error", "502 Bad", "503", "599 x", "999 y"]


def head(kind, more=b"", status=b"HTTP/1.1 200 OK\r\n"):
    content_type = b"Content-Type: " + kind.encode() + b"\r\n" if kind is not None else b""
    return status + content_type + more


def length(body):
    return b"Content-Length: %d\r\n" % len(body)


def plain(rng, kind, body):
    return [head(kind, length(body)) + b"\r\n" + body]


def closing(rng, kind, body):
    more = rng.choice([b"Connection: close\r\n", b""])
    return [head(kind, length(body) + more) + b"\r\n" + body, CLOSE]


def without_length(rng, kind, body):
    status = rng.choice([b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n"])
    return [head(kind, status=status) + b"\r\n" + body, rng.choice([CLOSE, CLOSE, RESET])]


def short(rng, kind, body):
    """Announces more than it sends, or less."""
    announced = max(0, len(body) + rng.choice([1, 5, 100, -1, -3]))
    return [head(kind, b"Content-Length: %d\r\n" % announced) + b"\r\n" + body, rng.choice([CLOSE, RESET])]


def odd_length(rng, kind, body):
    size = str(len(body)).encode()
    lengths = rng.choice([b"Content-Length: %s\r\n" * 2 % (size, size), b"Content-Length: %s\r\nContent-Length: 1\r\n" % size, b"Content-Length: +%s\r\n" % size, b"Content-Length: -1\r\n", b"Content-Length: x\r\n",
                          b"Content-Length:\r\n", b"Content-Length: 0%s\r\n" % size, b"Content-Length: 99999999999999999999\r\n", b"content-length: %s \r\n" % size])
    return [head(kind, lengths) + b"\r\n" + body, CLOSE]


def chunks(rng, body):
    out, at = b"", 0
    while at < len(body):
        size = rng.choice([1, 7, 100, 5000])
        part = body[at:at + size]
        spelling = rng.choice(["%x", "%X", "0%x", "%x;ext=1", "%x;a=\"b\""]) % len(part)
        out += spelling.encode() + b"\r\n" + part + b"\r\n"
        at += size
    return out


def chunked(rng, kind, body):
    end = rng.choice([b"0\r\n\r\n"] * 3 + [b"0\r\nX-Late: 1\r\n\r\n", b"000\r\n\r\n", b"0;x\r\n\r\n", b"0\r\n", b"", b"0\n\n"])
    return [head(kind, b"Transfer-Encoding: chunked\r\n") + b"\r\n" + chunks(rng, body) + end] + ([CLOSE] if end != b"0\r\n\r\n" else [])


def odd_chunks(rng, kind, body):
    encoding = rng.choice([b"Transfer-Encoding: chunked\r\n"] * 4 + [b"Transfer-Encoding: Chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                                                                     b"Transfer-Encoding: chunked\r\n" * 2])
    size = b"%x" % len(body)
    whole = rng.choice([size + b"\r\n" + body + b"\r\n0\r\n\r\n", size + b"\n" + body + b"\n0\n\n", b"x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n", b"fffffffffffffffff\r\n" + body, b"-1\r\n" + body,
                        size + b"\r\n" + body + b"xx\r\n0\r\n\r\n", size + b"\r\n" + body + b"0\r\n\r\n", b"\r\n" + size + b"\r\n" + body + b"\r\n0\r\n\r\n", b"ffff\r\n" + body])
    return [head(kind, encoding) + b"\r\n" + whole, CLOSE]


def slow(rng, kind, body):
    """In parts, well within the timeout."""
    whole = head(kind, length(body)) + b"\r\n" + body
    cuts = sorted(rng.randrange(len(whole)) for _ in range(4))
    steps = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)]):
        steps += [whole[begin:end], 0.05]
    return steps


def too_slow(rng, kind, body):
    """Stops before the head, within it, or within the body."""
    whole = head(kind, length(body)) + b"\r\n" + body
    cut = rng.choice([0, 10, len(whole) - len(body), len(whole) - 1])
    return [whole[:cut], HANG]


def broken(rng, kind, body):
    """The connection ends early, or no HTTP comes."""
    whole = head(kind, length(body)) + b"\r\n" + body
    cut = rng.randrange(len(whole))
    return rng.choice([[CLOSE], [RESET], [whole[:cut], CLOSE], [whole[:cut], RESET], [b"\x00\x01\x02\x03", CLOSE], [b"SSH-2.0-OpenSSH_9.2\r\n", CLOSE], [b"<html></html>", CLOSE],
                       [b"\x15\x03\x01\x00\x02\x02\x16", CLOSE], [whole[:cut], 0.1, whole[cut:]]])


def odd_head(rng, kind, body):
    lines = list(rng.choice(ODD_HEADERS) for _ in range(rng.choice([1, 1, 2])))
    lines.insert(rng.randrange(len(lines) + 1), length(body))
    return [head(kind, b"".join(lines)) + b"\r\n" + body, CLOSE]


def many_headers(rng, kind, body):
    count = rng.choice([50, 101, 300, 2000])
    return [head(kind, b"".join(b"X-%d: v\r\n" % i for i in range(count)) + length(body)) + b"\r\n" + body]


def odd_status_line(rng, kind, body):
    return [head(kind, length(body), rng.choice(STATUS_LINES)) + b"\r\n" + body, CLOSE]


def status(rng, kind, body):
    line = b"HTTP/1.1 " + rng.choice(STATUSES).encode() + b"\r\n"
    return [head(kind, length(body), line) + b"\r\n" + body, CLOSE]


def interim(rng, kind, body):
    """Informational responses come first."""
    first = rng.choice([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n" * 3, b"HTTP/1.1 100 Continue\r\n\r\n" * 7,
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"])
    return [first + head(kind, length(body)) + b"\r\n" + body, CLOSE]


def encoded(rng, kind, body):
    packed = gzip.compress(body, mtime=0)
    data, name = rng.choice([
        (packed, b"gzip"), (packed, b"gzip"), (packed[:-4], b"gzip"), (packed[:-9], b"gzip"), (packed + packed, b"gzip"), (packed + b"trailing", b"gzip"), (packed + b"\x00" * 9, b"gzip"),
        (b"", b"gzip"), (body, b"gzip"), (gzip.compress(b"", mtime=0), b"gzip"), (packed[:-8] + b"\x00" * 8, b"gzip"), (gzip.compress(packed, mtime=0), b"gzip, gzip"), (body, b"identity"), (body, b"br"), (body, b""), (packed, b""), (body, b"zstd"), (packed, b" gzip "), (zlib.compress(body), b"gzip")])
    return [head(kind, length(data) + b"Content-Encoding: " + name + b"\r\n") + b"\r\n" + data, rng.choice([CLOSE, 0.0])]


def redirect(rng, kind, body):
    code = rng.choice([301, 302, 303, 307, 308, 300, 304, 306])
    location = rng.choice([b"@PATH@/final", b"http://127.0.0.1:@SELF@@PATH@/final", b"http://127.0.0.1:@OTHER@@PATH@/final", b"/nowhere", b"@PATH@/loop", b"final", b"?x=1", b"", b"http://127.0.0.1:1/", b"ftp://127.0.0.1/", b"//127.0.0.1:@OTHER@@PATH@/final",
                           b"http://[::1", b"@PATH@/hops/3", b"@PATH@/hops/9", b"@PATH@/hops/10", b"@PATH@/final#part", b"http://user:word@127.0.0.1:@SELF@@PATH@/final", b"http://localhost:@SELF@@PATH@/final", b"\xff", b"%zz",
                           b"@PATH@/caf\xc3\xa9/../final"])
    line = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\n" % (code, location)
    if rng.random() < 0.06:
        line = b"HTTP/1.1 %d Moved\r\n" % code
    return [line + b"Content-Length: 0\r\n\r\n"]


def empty(rng, kind, body):
    return [head(kind, b"Content-Length: 0\r\n") + b"\r\n"]


USUAL = [plain, plain, plain, closing, chunked, encoded, slow]
ODD = [without_length, short, odd_length, odd_chunks, too_slow, broken, broken, odd_head, odd_head, many_headers, odd_status_line, status, status, interim, encoded, encoded, redirect, redirect, redirect, empty]


def redirect_to(location):
    return [f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()]


def hop(path, rest):
    """Redirects to the next of several hops."""
    return redirect_to(path + ("/final" if rest <= 1 else f"/hops/{rest - 1}"))
