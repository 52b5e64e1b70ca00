//! Converts the labels of a series from a request to canonical bytes.
//!
//! Labels usually arrive sorted and valid. The fast path copies them as they come and checks them on the way. Anything else
//! (unsorted, repeated, empty, not UTF-8) takes a slow path that sorts them or finds the error.

use std::cmp::Ordering;

use pharos_model::METRIC_NAME;
use pharos_model::labels::{LabelsIter, MAX_LABEL_BYTES, append_uvarint};

use crate::wire::PlainLabel;

/// Labels that do not make a series. The messages are Prometheus's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LabelError {
    /// The metric name is missing, a name is empty, or bytes are not UTF-8.
    #[error("invalid metric name or labels, got {0}")]
    Invalid(String),
    /// A name is repeated.
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    Duplicate { labels: String, name: String },
    /// The labels are longer than a series may have them.
    #[error("labels take {bytes} bytes, more than {MAX_LABEL_BYTES}, series {labels}")]
    TooLong { bytes: usize, labels: String },
    /// A reference points outside of the table of symbols.
    #[error("parsing labels for series: {0}")]
    Reference(String),
    /// A series of remote write 2.0 has neither samples nor histograms.
    #[error("TimeSeries must contain at least one sample or histogram for series {0}")]
    NoSamples(String),
}

/// Writes labels in canonical form, as long as they arrive sorted.
///
/// Most labels are so short that calling `memcmp` and `memcpy` would dominate. Pieces of up to [`BLOCK`] bytes are therefore
/// copied as whole blocks into space that was reserved before, and names are compared by their first eight bytes.
pub(super) struct CanonicalWriter<'a, 'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    /// The offset of the next byte.
    at: usize,
    previous: &'a [u8],
    previous_prefix: u64,
    has_metric_name: bool,
    in_order: bool,
}

/// The number of bytes that are copied at once, however short a piece is.
const BLOCK: usize = 32;
/// The number of bytes that are reserved at a time.
const RESERVE: usize = 1024;

/// The first eight bytes of a text, padded with zeros, as a number with the same order.
#[inline]
fn prefix(text: &[u8], len: usize) -> u64 {
    match text.first_chunk::<8>() {
        Some(bytes) if len >= 8 => u64::from_be_bytes(*bytes),
        Some(bytes) => u64::from_be_bytes(*bytes) & !(u64::MAX >> (8 * len)),
        None => text.iter().take(len).enumerate().fold(0, |sum, (at, byte)| sum | u64::from(*byte) << (56 - 8 * at)),
    }
}

impl<'a, 'o> CanonicalWriter<'a, 'o> {
    /// Creates a writer that appends to `out`. `bytes` is an estimate of the size.
    #[inline]
    pub(super) fn new(out: &'o mut Vec<u8>, bytes: usize) -> Self {
        let start = out.len();
        out.resize(start + bytes.min(RESERVE) + BLOCK, 0);
        CanonicalWriter {
            out,
            start,
            at: start,
            previous: &[],
            previous_prefix: 0,
            has_metric_name: false,
            in_order: true,
        }
    }

    /// Appends a label. One with an empty value is checked but left out.
    pub(super) fn push(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.note(name, name.len(), !value.is_empty());
        if !value.is_empty() {
            self.put_text(name);
            self.put_text(value);
        }
    }

    /// Appends a label that the request encodes exactly as the canonical form does.
    #[inline]
    pub(super) fn push_plain(&mut self, label: &PlainLabel<'a>) {
        self.note(&label.name[1..], label.name_len, label.value_len > 0);
        if label.value_len > 0 {
            self.put(label.name, label.name_len + 1);
            self.put(label.value, label.value_len + 1);
        }
    }

    /// Checks a name: the first `len` bytes of `name`.
    #[inline]
    fn note(&mut self, name: &'a [u8], len: usize, has_value: bool) {
        let prefix = prefix(name, len);
        let name = &name[..len];
        self.in_order &= match self.previous_prefix.cmp(&prefix) {
            Ordering::Less => true,
            Ordering::Equal => self.previous < name,
            Ordering::Greater => false,
        };
        self.has_metric_name |= has_value && len == METRIC_NAME.len() && name == METRIC_NAME.as_bytes();
        self.previous = name;
        self.previous_prefix = prefix;
    }

    fn put_text(&mut self, text: &[u8]) {
        let mut length = [0; 10];
        let used = write_uvarint(&mut length, text.len() as u64);
        self.put(&length, used);
        self.put(text, text.len());
    }

    /// Appends the first `len` bytes of `from`.
    #[inline]
    fn put(&mut self, from: &[u8], len: usize) {
        match (self.out[self.at..].first_chunk_mut::<BLOCK>(), from.first_chunk::<BLOCK>()) {
            (Some(room), Some(block)) if len <= BLOCK => {
                *room = *block;
                self.at += len;
            }
            _ => self.put_long(&from[..len]),
        }
    }

    fn put_long(&mut self, text: &[u8]) {
        let end = self.at + text.len();
        if end > self.out.len() {
            self.out.resize(end + RESERVE + BLOCK, 0);
        }
        self.out[self.at..end].copy_from_slice(text);
        self.at = end;
    }

    /// Ends the labels and returns whether they are valid. If not, the output is as before, and the labels have to take
    /// [`write_any_order`].
    #[inline]
    pub(super) fn finish(self) -> bool {
        let written = &self.out[self.start..self.at];
        // Lengths below 128 and ASCII strings are ASCII together; anything else is checked string by string.
        let good = self.in_order && self.has_metric_name && (written.is_ascii() || all_utf8(written));
        self.out.truncate(if good { self.at } else { self.start });
        good
    }
}

/// Writes a varint; returns its length.
fn write_uvarint(out: &mut [u8; 10], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        out[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    out[len] = value as u8;
    len + 1
}

#[inline]
fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    append_uvarint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Whether all names and values in canonical bytes are UTF-8.
fn all_utf8(written: &[u8]) -> bool {
    let mut labels = LabelsIter::over(written);
    let read: usize = labels.by_ref().map(|(name, value)| encoded_len(name.len()) + encoded_len(value.len())).sum();
    read == written.len()
}

/// The length of a string with its varint prefix.
fn encoded_len(len: usize) -> usize {
    let bits = (usize::BITS - len.leading_zeros()).max(1);
    bits.div_ceil(7) as usize + len
}

/// Sorts labels and appends them in canonical form. Labels with an empty value are checked but left out. On an error `out` is
/// as before.
pub(super) fn write_any_order<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), LabelError> {
    let mut pairs: Vec<(&[u8], &[u8])> = pairs.collect();
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let has_metric_name = pairs.iter().any(|(n, v)| *n == METRIC_NAME.as_bytes() && !v.is_empty());
    if !has_metric_name || pairs.iter().any(|(n, v)| n.is_empty() || !is_text(n) || !is_text(v)) {
        return Err(LabelError::Invalid(display(&pairs)));
    }
    if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = String::from_utf8_lossy(twice[0].0).into_owned();
        return Err(LabelError::Duplicate { labels: display(&pairs), name });
    }
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        append_text(out, name);
        append_text(out, value);
    }
    Ok(())
}

/// Formats labels for a message, at most [`MAX_SHOWN_BYTES`] of them.
pub(super) fn display(pairs: &[(&[u8], &[u8])]) -> String {
    use std::fmt::Write;
    let mut text = String::from("{");
    for (i, (name, value)) in pairs.iter().enumerate() {
        if text.len() + name.len() + value.len() > MAX_SHOWN_BYTES {
            text.push_str(", ...");
            break;
        }
        let separator = if i > 0 { ", " } else { "" };
        let name = String::from_utf8_lossy(name);
        let quoted = pharos_gocompat::GoQuoted(&name).to_string();
        let name = if pharos_model::labels::is_legacy_label_name(&name) { &name } else { quoted.as_str() };
        let value = String::from_utf8_lossy(value);
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name}={}", pharos_gocompat::GoQuoted(&value));
    }
    text.push('}');
    text
}

/// The limit on labels in a message, bytes.
const MAX_SHOWN_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
