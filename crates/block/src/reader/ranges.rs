//! Which byte ranges to fetch together: requests cost time, bytes cost less.

use std::ops::Range;

/// Gaps up to this are always read over.
const FREE_GAP: u64 = 64 << 10;
/// Gaps up to this are read over while there are more than [`FEW`] ranges.
const MAX_GAP: u64 = 1 << 20;
/// As many ranges are fetched without further ado.
const FEW: usize = 8;
/// A merged range does not grow beyond this.
const MAX_RANGE: u64 = 16 << 20;

/// Merges ascending ranges that do not overlap. Each input lies within one of the results.
pub(crate) fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let merged = merge(ranges, FREE_GAP);
    if merged.len() <= FEW {
        return merged;
    }
    // The smallest gaps first, as many as it takes to be left with few ranges.
    let mut gaps: Vec<u64> = merged.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    gaps.sort_unstable();
    let limit = gaps[gaps.len() - FEW].min(MAX_GAP);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn near_ranges_are_one_and_few_far_ones_stay_apart() {
        assert_eq!(coalesce(&[0..10, 20..30, 1_000_000..1_000_010]), [0..30, 1_000_000..1_000_010]);
        let spread: Vec<_> = (0..100u64).map(|i| i * 200_000..i * 200_000 + 10).collect();
        assert!(coalesce(&spread).len() <= 2);
    }

    proptest! {
        #[test]
        fn every_range_is_covered(steps in proptest::collection::vec((0u64..3_000_000, 1u64..100_000), 0..60)) {
            let mut at = 0;
            let ranges: Vec<_> = steps.iter().map(|(gap, len)| { at += gap + len; at - len..at }).collect();
            let merged = coalesce(&ranges);
            for range in &ranges {
                prop_assert!(merged.iter().any(|m| m.start <= range.start && range.end <= m.end));
            }
        }
    }
}
