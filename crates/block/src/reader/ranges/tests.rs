use proptest::prelude::*;

use super::*;

#[test]
fn no_ranges_need_no_request() {
    assert!(coalesce(&[]).is_empty());
}

#[test]
fn near_ranges_are_merged() {
    assert_eq!(coalesce(&[0..10, 20..30, 30..40]).as_slice(), std::slice::from_ref(&(0..40)));
}

#[test]
fn a_few_distant_ranges_stay_apart() {
    assert_eq!(coalesce(&[0..10, 1_000_000..1_000_010]), [0..10, 1_000_000..1_000_010]);
}

#[test]
fn many_distant_ranges_are_merged_until_few_are_left() {
    let spread: Vec<_> = (0..100u64).map(|i| i * 200_000..i * 200_000 + 10).collect();
    assert!(coalesce(&spread).len() <= 2);
}

#[test]
fn gaps_beyond_the_limit_are_never_bridged() {
    let spread: Vec<_> = (0..100u64).map(|i| i * (MAX_GAP + 11)..i * (MAX_GAP + 11) + 10).collect();
    assert_eq!(coalesce(&spread).len(), 100);
}

#[test]
fn a_merged_range_does_not_exceed_its_limit() {
    let adjacent: Vec<_> = (0..40u64).map(|i| i << 20..(i + 1) << 20).collect();
    let merged = coalesce(&adjacent);
    assert_eq!(merged.len(), 3);
    assert!(merged.iter().all(|range| range.end - range.start <= MAX_RANGE));
}

proptest! {
    #[test]
    fn every_range_lies_within_a_result(steps in proptest::collection::vec((0u64..3_000_000, 1u64..100_000), 0..60)) {
        let mut at = 0;
        let ranges: Vec<_> = steps.iter().map(|(gap, len)| { at += gap + len; at - len..at }).collect();
        let merged = coalesce(&ranges);
        for range in &ranges {
            prop_assert!(merged.iter().any(|m| m.start <= range.start && range.end <= m.end));
        }
        prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start || pair[0].end <= pair[1].start));
    }
}
