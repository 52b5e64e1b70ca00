//! The label set of a series, held as one shared byte string in canonical form.
//!
//! The canonical form is the name and the value of each label in ascending order of names. Both are UTF-8 after their
//! length, which is an unsigned LEB128 number. Equal sets have equal bytes, so sets are compared and hashed as bytes. A
//! label with an empty value is the same as no label in PromQL, so none is stored.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use pharos_gocompat::GoQuoted;

use crate::METRIC_NAME;

/// The longest canonical form that is stored, bytes. It fits into a record of the log.
pub const MAX_LABEL_BYTES: usize = 1 << 20;

/// An immutable label set, sorted by name, without duplicates and without empty values. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

/// Why bytes are not a canonical label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// The canonical bytes end inside a length or a string.
    #[error("label set is cut off at byte {0}")]
    Truncated(usize),
    /// A name or value is not UTF-8.
    #[error("label {0:?} is not valid UTF-8")]
    NotUtf8(String),
    /// Names are not strictly ascending.
    #[error("label name {0:?} is duplicated or out of order")]
    Unsorted(String),
}

impl Labels {
    /// The set without labels.
    pub fn empty() -> Self {
        Labels(Arc::from(&[][..]))
    }

    /// A set of pairs in any order. The last pair of a name wins, and empty values are dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Checks bytes that came from a file or the network.
    ///
    /// # Errors
    /// The bytes are not canonical.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, LabelsError> {
        check_canonical(bytes)?;
        Ok(Labels(Arc::from(bytes)))
    }

    /// Takes bytes that [`append_canonical`] wrote in sorted order, or that were checked before. A set of other bytes has
    /// fewer labels but does not panic.
    pub fn from_canonical_unchecked(bytes: &[u8]) -> Self {
        Labels(Arc::from(bytes))
    }

    /// The set in canonical form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The labels in ascending order of their names.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// The value of a label, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy without the labels for whose names `drop` returns true.
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            if !drop(name) {
                append_canonical(&mut bytes, name, value);
            }
        }
        Labels(Arc::from(bytes))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

/// Compares pairwise, name then value, as Prometheus orders label sets; a prefix sorts first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prometheus's form: `{__name__="up", job="node"}`, with Go-quoted values.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                write!(f, "{name}={}", GoQuoted(value))?;
            } else {
                write!(f, "{}={}", GoQuoted(name), GoQuoted(value))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An iterator over names and values.
#[derive(Clone)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> LabelsIter<'a> {
    /// Iterates over canonical bytes that are not a [`Labels`]. Ends at the first byte that is not canonical.
    pub fn over(canonical: &'a [u8]) -> Self {
        LabelsIter { rest: canonical }
    }
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = take_string(self.rest)?;
        let (value, rest) = take_string(rest)?;
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    }
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, used) = read_uvarint(bytes)?;
    let end = used.checked_add(usize::try_from(len).ok()?)?;
    Some((bytes.get(used..end)?, &bytes[end..]))
}

/// Reads an unsigned LEB128 number and returns it with the number of bytes that it took.
pub fn read_uvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Appends an unsigned LEB128 number.
pub fn append_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a label in canonical form. The caller appends labels in ascending order of names and skips empty values.
pub fn append_canonical(out: &mut Vec<u8>, name: &str, value: &str) {
    append_uvarint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
    append_uvarint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// Checks that bytes are a canonical label set.
///
/// # Errors
/// The first thing that is not canonical.
pub fn check_canonical(bytes: &[u8]) -> Result<(), LabelsError> {
    let mut rest = bytes;
    let mut previous: Option<&str> = None;
    let text = |b: &'_ [u8]| String::from_utf8_lossy(b).into_owned();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (name, after) = take_string(rest).ok_or(LabelsError::Truncated(at))?;
        let (value, after) = take_string(after).ok_or(LabelsError::Truncated(at))?;
        let name = std::str::from_utf8(name).map_err(|_| LabelsError::NotUtf8(text(name)))?;
        std::str::from_utf8(value).map_err(|_| LabelsError::NotUtf8(name.to_string()))?;
        if previous.is_some_and(|p| p >= name) {
            return Err(LabelsError::Unsorted(name.to_string()));
        }
        previous = Some(name);
        rest = after;
    }
    Ok(())
}

/// Whether a name needs no quotes in PromQL: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a metric name needs no quotes in PromQL: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Builds [`Labels`] from labels in any order. [`LabelsBuilder::clear`] keeps the memory, so that builders are reused.
#[derive(Default, Clone, Debug)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
    /// The positions of all names, unless there are few or the order of the pairs has changed since.
    index: HashMap<String, usize>,
}

/// Up to this number of labels, comparing a name with all others is faster than looking it up.
const FEW: usize = 64;

impl LabelsBuilder {
    /// A builder with the labels of a set.
    pub fn from_labels(labels: &Labels) -> Self {
        let pairs = labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        LabelsBuilder { pairs, index: HashMap::new() }
    }

    /// Sets a label. An empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        let old = self.value_mut(name);
        old.clear();
        old.push_str(value);
        self
    }

    /// Appends to the value of a label, after a separator unless the value is empty so far.
    pub fn append(&mut self, name: &str, separator: char, more: &str) -> &mut Self {
        let value = self.value_mut(name);
        if !value.is_empty() {
            value.push(separator);
        }
        value.push_str(more);
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        match self.index.remove(name) {
            Some(at) => {
                self.pairs.swap_remove(at);
                if let Some((moved, _)) = self.pairs.get(at)
                    && let Some(position) = self.index.get_mut(moved)
                {
                    *position = at;
                }
            }
            None => self.pairs.retain(|(n, _)| n != name),
        }
        self
    }

    /// The value of a label, or the empty string.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |at| &self.pairs[at].1)
    }

    /// Whether a label was set, even to the empty value.
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// The labels so far in any order, without those that an empty value removed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Removes all labels. The memory stays allocated.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.index.clear();
    }

    /// The set of the labels so far.
    pub fn build(&mut self) -> Labels {
        let mut bytes = Vec::new();
        self.write_canonical(&mut bytes);
        Labels(Arc::from(bytes))
    }

    /// Appends the canonical form to `out`.
    pub fn write_canonical(&mut self, out: &mut Vec<u8>) {
        self.pairs.sort_unstable();
        self.index.clear();
        for (name, value) in self.pairs.iter().filter(|(_, v)| !v.is_empty()) {
            append_canonical(out, name, value);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        match self.index.len() == self.pairs.len() {
            true => self.index.get(name).copied(),
            false => self.pairs.iter().position(|(n, _)| n == name),
        }
    }

    /// The value of a label, which is added if it is new.
    fn value_mut(&mut self, name: &str) -> &mut String {
        if self.pairs.len() > FEW && self.index.len() < self.pairs.len() {
            self.index = self.pairs.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        }
        let at = self.position(name).unwrap_or_else(|| {
            let at = self.pairs.len();
            if at > FEW {
                self.index.insert(name.to_string(), at);
            }
            self.pairs.push((name.to_string(), String::new()));
            at
        });
        &mut self.pairs[at].1
    }
}

#[cfg(test)]
mod tests;
