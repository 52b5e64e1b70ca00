//! Request lines as clients write them: `GET /api/v1/query?query=up{job="x"}` has characters that a URL must not have, yet
//! curl and Prometheus's documentation send them raw, and Go takes them. They are escaped before the HTTP library reads them.
//!
//! `Content-Length` tells where the next request starts. After anything else that delimits a body or leaves HTTP/1 (chunked
//! bodies, upgrades, HTTP/2) the rest of the stream is passed on unchanged.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes of a line are kept. No header that is read here is longer, unless it is meant to deceive.
const MAX_LINE_START: usize = 64;
/// The start of an HTTP/2 connection, in lower case.
const HTTP2_PREFACE: &[u8] = b"pri ";

/// A stream whose HTTP/1 request lines have no raw quotes and angle brackets.
pub(super) struct RequestLines<S> {
    stream: S,
    scanner: Scanner,
    /// Bytes that did not fit into the reader's buffer because escapes are longer.
    pending: Vec<u8>,
    /// How many of them were read.
    taken: usize,
}

impl<S> RequestLines<S> {
    pub(super) fn new(stream: S) -> Self {
        RequestLines { stream, scanner: Scanner::default(), pending: Vec::new(), taken: 0 }
    }

    fn read_pending(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.pending[self.taken..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.pending.len() {
            (self.pending, self.taken) = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestLines<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.pending.is_empty() {
            this.read_pending(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(escaped) = this.scanner.scan(&buf.filled()[before..]) {
            buf.set_filled(before);
            this.pending = escaped;
            this.read_pending(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestLines<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The part of a request that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    RequestLine,
    Headers,
    /// This many bytes of the body follow.
    Body(u64),
    /// Where the next request starts is unknown.
    Opaque,
}

/// Follows the requests in a stream.
#[derive(Debug)]
struct Scanner {
    part: Part,
    /// The start of the current line, in lower case.
    line: Vec<u8>,
    content_length: Option<u64>,
    /// Whether the body may end somewhere else than `content_length` says.
    is_framed_otherwise: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner { part: Part::RequestLine, line: Vec::new(), content_length: None, is_framed_otherwise: false }
    }
}

impl Scanner {
    /// Follows the next bytes; returns them with escapes if they need any.
    fn scan(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut escaped: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let part = self.part;
            let used = match part {
                Part::Opaque => rest.len(),
                Part::Body(left) => {
                    let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.part = if used as u64 == left { Part::RequestLine } else { Part::Body(left - used as u64) };
                    used
                }
                Part::RequestLine | Part::Headers => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
            };
            let piece = &rest[..used];
            if part == Part::RequestLine && needs_escape(piece) {
                escape(piece, escaped.get_or_insert_with(|| bytes[..at].to_vec()));
            } else if let Some(escaped) = &mut escaped {
                escaped.extend_from_slice(piece);
            }
            if matches!(part, Part::RequestLine | Part::Headers) {
                self.line(piece);
            }
            at += used;
        }
        escaped
    }

    /// Takes a part of a line, which may be its end.
    fn line(&mut self, piece: &[u8]) {
        let room = MAX_LINE_START.saturating_sub(self.line.len()).min(piece.len());
        self.line.extend(piece[..room].iter().map(u8::to_ascii_lowercase));
        if !piece.ends_with(b"\n") {
            return;
        }
        let line = std::mem::take(&mut self.line);
        let is_cut = !line.ends_with(b"\n");
        let text = line.trim_ascii();
        match self.part {
            // Empty lines may precede a request.
            Part::RequestLine if text.is_empty() => {}
            Part::RequestLine if line.starts_with(HTTP2_PREFACE) => self.part = Part::Opaque,
            Part::RequestLine => self.part = Part::Headers,
            _ if text.is_empty() => self.end_of_headers(),
            _ => self.header(text, is_cut),
        }
    }

    /// Takes a header, of which the end may be missing.
    fn header(&mut self, line: &[u8], is_cut: bool) {
        let Some(colon) = memchr::memchr(b':', line) else { return };
        match &line[..colon] {
            b"content-length" => {
                let length = std::str::from_utf8(&line[colon + 1..]).ok().and_then(|text| text.trim().parse().ok());
                self.is_framed_otherwise |= is_cut || length.is_none() || self.content_length.is_some();
                self.content_length = length;
            }
            b"transfer-encoding" | b"upgrade" => self.is_framed_otherwise = true,
            _ => {}
        }
    }

    fn end_of_headers(&mut self) {
        let length = self.content_length.take().unwrap_or(0);
        self.part = match length {
            _ if self.is_framed_otherwise => Part::Opaque,
            0 => Part::RequestLine,
            length => Part::Body(length),
        };
    }
}

fn needs_escape(line: &[u8]) -> bool {
    memchr::memchr3(b'"', b'<', b'>', line).is_some()
}

fn escape(line: &[u8], out: &mut Vec<u8>) {
    for byte in line {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'<' => out.extend_from_slice(b"%3C"),
            b'>' => out.extend_from_slice(b"%3E"),
            other => out.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What a reader sees of a stream whose bytes arrive in pieces of this size.
    async fn seen(stream: &str, size: usize) -> String {
        let mut builder = String::new();
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let (mut near, far) = tokio::io::duplex(size);
        let mut lines = RequestLines::new(far);
        let write = async {
            for piece in pieces {
                tokio::io::AsyncWriteExt::write_all(&mut near, piece).await.unwrap();
            }
            drop(near);
        };
        let read = lines.read_to_string(&mut builder);
        tokio::join!(write, read).1.unwrap();
        builder
    }

    async fn assert_seen(stream: &str, expected: &str) {
        for size in [1, 2, 7, 1000] {
            assert_eq!(seen(stream, size).await, expected, "pieces of {size} bytes");
        }
    }

    #[tokio::test]
    async fn quotes_and_angle_brackets_of_a_request_line_are_escaped() {
        assert_seen(
            "GET /q?a={b=\"c\"}<>1 HTTP/1.1\r\nX: \"<\r\n\r\n",
            "GET /q?a={b=%22c%22}%3C%3E1 HTTP/1.1\r\nX: \"<\r\n\r\n",
        )
        .await;
    }

    #[tokio::test]
    async fn bodies_stay_as_they_are_and_the_next_request_is_escaped() {
        let post = "POST /w HTTP/1.1\r\nContent-length:  4\r\n\r\n\"\n<>";
        assert_seen(&format!("{post}GET /\" HTTP/1.1\r\n\r\n"), &format!("{post}GET /%22 HTTP/1.1\r\n\r\n")).await;
    }

    #[tokio::test]
    async fn nothing_is_changed_where_the_next_request_may_start_elsewhere() {
        let zeros = "0".repeat(MAX_LINE_START);
        let long_length = format!("POST /w HTTP/1.1\r\nContent-Length: {zeros}3\r\n\r\n\"\"\"");
        for stream in [
            &long_length,
            "POST /w HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\"\r\n0\r\n\r\nGET /\" HTTP/1.1\r\n\r\n",
            "POST /w HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 3\r\n\r\n\"\"\"",
            "POST /w HTTP/1.1\r\nContent-Length: x\r\n\r\n\"",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\"\"\"",
        ] {
            assert_seen(stream, stream).await;
        }
    }
}
