//! A Bloom filter over the label pairs of a block, by which a query skips blocks that cannot satisfy its matchers.
//!
//! A negative answer is certain; about 1 % of the positive ones are wrong. The bytes are a stable format, stored in footers
//! and in the catalogue.

use pharos_model::{MatchOp, Matcher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bits for each entry.
const BITS_PER_ENTRY: usize = 10;
/// How many bits an entry sets.
const PROBES: u64 = 6;
/// The size limit of a filter, in bytes. With more entries, positive answers are wrong more often.
pub(crate) const MAX_FILTER_BYTES: usize = 64 << 10;

/// The fingerprint by which a filter knows a label pair.
pub(crate) fn fingerprint(name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64_with_seed(name.as_bytes(), 0))
}

/// A Bloom filter over label pairs. A filter without bytes knows nothing and excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelFilter(Vec<u8>);

impl LabelFilter {
    /// Builds a filter of fingerprints.
    pub fn build(fingerprints: impl ExactSizeIterator<Item = u64>) -> Self {
        let bytes = (fingerprints.len() * BITS_PER_ENTRY).div_ceil(8).clamp(8, MAX_FILTER_BYTES);
        let mut bits = vec![0u8; bytes];
        for fingerprint in fingerprints {
            for bit in probes(fingerprint, bytes) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        LabelFilter(bits)
    }

    /// Restores a filter from its bytes; `None` when there are more than [`MAX_FILTER_BYTES`].
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX_FILTER_BYTES).then_some(LabelFilter(bytes))
    }

    /// The stable encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the block may have a series with a label pair.
    pub fn may_contain(&self, name: &str, value: &str) -> bool {
        self.0.is_empty()
            || probes(fingerprint(name, value), self.0.len()).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }

    /// Whether the block may have a series that satisfies a matcher. Only positive matchers with known values can exclude
    /// a block.
    pub fn may_match(&self, matcher: &Matcher) -> bool {
        if matcher.matches_empty() {
            return true;
        }
        match (matcher.op, matcher.set_of_values()) {
            (MatchOp::Equal, _) => self.may_contain(&matcher.name, &matcher.value),
            (MatchOp::Regex, Some(values)) => values.iter().any(|value| self.may_contain(&matcher.name, value)),
            _ => true,
        }
    }
}

fn probes(fingerprint: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let bits = bytes as u64 * 8;
    let step = fingerprint.rotate_left(32) | 1;
    (0..PROBES).map(move |i| (fingerprint.wrapping_add(step.wrapping_mul(i)) % bits) as usize)
}

#[cfg(test)]
mod tests;
