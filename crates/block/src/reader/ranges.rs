//! Decides which byte ranges to fetch together. A request costs time; a byte costs less.

use std::ops::Range;

/// Gaps up to this size, in bytes, are always bridged.
const MAX_FREE_GAP: u64 = 64 << 10;
/// Gaps up to this size, in bytes, are bridged while there are more than [`ENOUGH_RANGES`] ranges.
const MAX_GAP: u64 = 1 << 20;
/// Once this few ranges remain, larger gaps are not bridged.
const ENOUGH_RANGES: usize = 8;
/// The size limit of a merged range, in bytes.
const MAX_RANGE: u64 = 16 << 20;

/// Merges ascending ranges that do not overlap. Every range lies within one of the results.
pub(crate) fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let merged = merge(ranges, MAX_FREE_GAP);
    if merged.len() <= ENOUGH_RANGES {
        return merged;
    }
    // The smallest gaps are bridged first, until few enough ranges remain.
    let mut gaps: Vec<u64> = merged.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    gaps.sort_unstable();
    let limit = gaps[gaps.len() - ENOUGH_RANGES].min(MAX_GAP);
    merge(&merged, limit)
}

fn merge(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start.saturating_sub(last.end) <= gap && range.end - last.start <= MAX_RANGE => {
                last.end = last.end.max(range.end);
            }
            _ => out.push(range.clone()),
        }
    }
    out
}

#[cfg(test)]
mod tests;
