//! The format of a segment file: a header, then records, each with its length and checksum.
//!
//! ```text
//! header: "PHAROSWL" | version u32 | number u32 | crc32 of those 16 bytes u32
//! record: length of the payload u32 | crc32 of the payload u32 | payload
//! ```
//! All numbers are little-endian. A length is trusted only if the file is long enough for it.

use std::io::{self, Read};

/// The length of a header.
pub(crate) const HEADER_BYTES: usize = 20;
/// The length of what precedes a payload.
pub(crate) const FRAME_BYTES: usize = 8;
/// The longest payload that is written. Records are closed well below it.
pub(crate) const MAX_RECORD_BYTES: usize = 32 << 20;
/// The longest payload that is read. Versions before 3 did not close every record in time.
const MAX_READ_BYTES: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"PHAROSWL";
/// Version 2 added shards to the records of cuts, version 3 the opening of a segment and durable records.
const VERSION: u32 = 3;
/// The oldest version that is read.
const OLDEST_VERSION: u32 = 2;
const READ_AHEAD_BYTES: usize = 1 << 20;

/// The file name of a segment.
pub(crate) fn file_name(number: u32) -> String {
    format!("{number:08}.wal")
}

/// The number in the file name of a segment; `None` for other files.
pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".wal")?;
    if digits.len() < 8 || !digits.bytes().all(|b| b.is_ascii_digit()) { None } else { digits.parse().ok() }
}

/// The header of a segment.
pub(crate) fn header(number: u32) -> [u8; HEADER_BYTES] {
    header_of(VERSION, number)
}

fn header_of(version: u32, number: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..16].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Begins a record at the end of `out` and returns where its payload starts.
pub(crate) fn begin_record(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; FRAME_BYTES]);
    out.len()
}

/// Completes the record whose payload starts at `start`.
pub(crate) fn end_record(out: &mut [u8], start: usize) {
    let len = (out.len() - start) as u32;
    let crc = crc32fast::hash(&out[start..]);
    out[start - FRAME_BYTES..start - 4].copy_from_slice(&len.to_le_bytes());
    out[start - 4..start].copy_from_slice(&crc.to_le_bytes());
}

/// Why the rest of a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not a valid record.
    #[error("{0}")]
    Bad(String),
    /// An incompatible version of Pharos wrote the segment.
    #[error("format version is {0}, supported are {OLDEST_VERSION} to {VERSION}")]
    Version(u32),
}

/// Reads the records of a segment in order.
pub(crate) struct SegmentReader {
    file: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes of the file that have not been read into the buffer.
    unread: u64,
    offset: u64,
}

impl SegmentReader {
    /// Reads and verifies the header. `len` is the length of the file.
    pub(crate) fn new(file: Box<dyn Read + Send>, len: u64, number: u32) -> Result<Self, ReadError> {
        let mut reader = SegmentReader { file, buffer: Vec::new(), at: 0, unread: len, offset: 0 };
        if !reader.fill(HEADER_BYTES)? {
            return Err(ReadError::Bad(format!("header is truncated after {len} bytes")));
        }
        let found = &reader.buffer[..HEADER_BYTES];
        let version = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
        let is_known = (OLDEST_VERSION..=VERSION).contains(&version);
        if !is_known || found != header_of(version, number) {
            let whole = found[16..] == crc32fast::hash(&found[..16]).to_le_bytes();
            return Err(if whole && found[..8] == MAGIC[..] && !is_known {
                ReadError::Version(version)
            } else {
                ReadError::Bad("header is damaged".into())
            });
        }
        reader.consume(HEADER_BYTES);
        Ok(reader)
    }

    /// The offset of the next record.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The payload of the next record; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.buffer.len() == self.at && self.unread == 0 {
            return Ok(None);
        }
        if !self.fill(FRAME_BYTES)? {
            return Err(ReadError::Bad("record is truncated within its length".into()));
        }
        let word = |at: usize| {
            u32::from_le_bytes([self.buffer[at], self.buffer[at + 1], self.buffer[at + 2], self.buffer[at + 3]])
        };
        let len = word(self.at) as usize;
        let crc = word(self.at + 4);
        if len == 0 || len > MAX_READ_BYTES {
            return Err(ReadError::Bad(format!("record length of {len} bytes is out of range")));
        }
        if !self.fill(FRAME_BYTES + len)? {
            return Err(ReadError::Bad(format!("record of {len} bytes is truncated")));
        }
        let start = self.at + FRAME_BYTES;
        if crc32fast::hash(&self.buffer[start..start + len]) != crc {
            return Err(ReadError::Bad("record has a wrong checksum".into()));
        }
        self.consume(FRAME_BYTES + len);
        Ok(Some(&self.buffer[start..start + len]))
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
        self.offset += bytes as u64;
    }

    /// Buffers `want` bytes from position `at` on; false when the file ends before that.
    fn fill(&mut self, want: usize) -> Result<bool, ReadError> {
        let have = self.buffer.len() - self.at;
        if have >= want {
            return Ok(true);
        }
        if (want - have) as u64 > self.unread {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let more = (want - have).max(READ_AHEAD_BYTES).min(usize::try_from(self.unread).unwrap_or(READ_AHEAD_BYTES));
        self.buffer.resize(have + more, 0);
        let mut filled = have;
        while filled < self.buffer.len() {
            match self.file.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        if filled < self.buffer.len() {
            self.unread = 0;
        } else {
            self.unread -= more as u64;
        }
        self.buffer.truncate(filled);
        Ok(filled >= want)
    }
}

#[cfg(test)]
mod tests;
