//! Sets against sets of the standard library; digests.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The sum in [`the_digest_is_pinned`], computed apart from the code.
const PINNED: u64 = 0x4234_4ad3_2cbb_0df5;

fn sets() -> impl Strategy<Value = BTreeSet<u32>> {
    prop_oneof![
        proptest::collection::btree_set(0u32..64, 0..64),
        proptest::collection::btree_set(0u32..MAX_SHARDS, 0..40),
        Just((0..MAX_SHARDS).collect()),
    ]
}

#[test]
fn a_set_is_written_as_its_ranges() {
    let set = ShardSet::from_iter([0, 1, 2, 5, 63, 64, 65]);
    assert_eq!(set.to_string(), "0-2,5,63-65");
    assert_eq!(ShardSet::new().to_string(), "");
    assert_eq!(ShardSet::all(64).to_string(), "0-63");
}

#[test]
fn json_has_the_text_form() {
    assert_eq!(serde_json::to_string(&ShardSet::from_iter([0, 1, 5])).unwrap(), "\"0-1,5\"");
    assert_eq!(serde_json::from_str::<ShardSet>("\"0-1,5\"").unwrap(), ShardSet::from_iter([5, 1, 0]));
    assert!(serde_json::from_str::<ShardSet>("\"9999\"").is_err());
}

#[test]
fn text_that_is_not_a_set_is_refused() {
    for text in ["1,", ",", "-", "3-2", "4096", "0-4096", "a", "1 ", "1-2-3", "+1", "1--"] {
        assert!(text.parse::<ShardSet>().is_err(), "{text}");
    }
    let error = "x".parse::<ShardSet>().unwrap_err();
    assert_eq!(error.to_string(), "\"x\" is not a set of shards such as \"0-15,40\" with numbers below 4096");
}

#[test]
fn shards_beyond_the_last_one_are_in_no_set() {
    let mut set = ShardSet::new();
    assert!(!set.insert(MAX_SHARDS) && !set.insert(u32::MAX));
    assert!(set.is_empty());
    assert!(!set.contains(u32::MAX) && !set.remove(u32::MAX));
    assert_eq!(ShardSet::all(u32::MAX).len(), MAX_SHARDS as usize);
}

#[test]
fn sets_that_lost_their_last_shards_are_equal_to_smaller_ones() {
    let mut set = ShardSet::from_iter([1, 200]);
    assert!(set.remove(200));
    assert_eq!(set, ShardSet::of(1));
    assert_eq!(set.ranges().collect::<Vec<_>>(), [1..=1]);
}

/// A digest of four floats with all kinds of values.
fn digest() -> ShardDigest {
    let mut digest = ShardDigest::default();
    digest.add_floats(0x0123_4567_89ab_cdef, &[0, 1, -1, i64::MAX], &[0.0, -0.0, f64::NAN, 1.5]);
    digest
}

#[test]
fn the_digest_is_pinned() {
    assert_eq!(digest(), ShardDigest { samples: 4, sum: PINNED });
}

#[test]
fn digests_of_blocks_are_lists_in_json() {
    let plain = BlockDigest { shard: 3, held: digest(), whole: None };
    assert_eq!(serde_json::to_string(&plain).unwrap(), format!("[3,4,{PINNED}]"));
    let whole = BlockDigest { whole: Some(ShardDigest { samples: 1, sum: u64::MAX }), ..plain };
    for digest in [plain, whole] {
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<BlockDigest>(&json).unwrap(), digest);
    }
}

#[test]
fn lists_that_are_not_digests_are_refused() {
    for json in ["[]", "[1,2]", "[1,2,3,4]", "[4294967296,1,1]", "[1,-2,3]", "3"] {
        assert!(serde_json::from_str::<BlockDigest>(json).is_err(), "{json}");
    }
}

#[test]
fn digests_depend_on_series_time_and_value() {
    let of = |series: u64, t: i64, value: u64| {
        let mut digest = ShardDigest::default();
        digest.add(series, t, value);
        digest
    };
    let digests = [of(1, 2, 3), of(1, 2, 4), of(1, 3, 3), of(2, 2, 3), of(1, 2, 0), of(1, 2, u64::MAX)];
    assert_eq!(digests.iter().collect::<std::collections::HashSet<_>>().len(), digests.len());
}

fn histogram() -> Histogram {
    Histogram { sum: 3.0, count: 2.0, positive_buckets: vec![1.0, 1.0], ..Histogram::default() }
}

#[test]
fn the_value_of_a_histogram_depends_on_its_sum_and_counts() {
    let h = histogram();
    let others = [
        Histogram { sum: 4.0, ..h.clone() },
        Histogram { count: 3.0, ..h.clone() },
        Histogram { positive_buckets: vec![2.0, 0.0], ..h.clone() },
        Histogram { zero_count: 1.0, ..h.clone() },
    ];
    assert!(others.iter().all(|other| histogram_value(other) != histogram_value(&h)));
}

#[test]
fn the_value_of_a_histogram_does_not_depend_on_its_hint() {
    let reset = Histogram { counter_reset: pharos_histogram::CounterReset::Reset, ..histogram() };
    assert_eq!(histogram_value(&reset), histogram_value(&histogram()));
}

proptest! {
    #[test]
    fn a_set_is_a_set(a in sets(), b in sets(), shard in 0..MAX_SHARDS) {
        let [left, right] = [&a, &b].map(|set| set.iter().copied().collect::<ShardSet>());
        let same = |got: ShardSet, expected: BTreeSet<u32>| {
            assert_eq!(got.iter().collect::<Vec<_>>(), expected.iter().copied().collect::<Vec<_>>());
            assert_eq!(got, expected.iter().rev().copied().collect(), "equal sets are equal values");
            assert_eq!((got.len(), got.is_empty()), (expected.len(), expected.is_empty()));
        };
        same(left.union(&right), a.union(&b).copied().collect());
        same(left.intersection(&right), a.intersection(&b).copied().collect());
        same(left.difference(&right), a.difference(&b).copied().collect());
        prop_assert_eq!(left.is_disjoint(&right), a.is_disjoint(&b));
        prop_assert_eq!(left.is_subset(&right), a.is_subset(&b));
        prop_assert_eq!(left.contains(shard), a.contains(&shard));
        prop_assert_eq!(&left.to_string().parse::<ShardSet>().unwrap(), &left);
        let (mut set, mut model) = (left.clone(), a.clone());
        prop_assert_eq!(set.remove(shard), model.remove(&shard));
        same(set.clone(), model.clone());
        prop_assert_eq!(set.insert(shard), model.insert(shard));
        same(set, model);
    }

    #[test]
    fn digests_of_parts_add_up_in_any_order(samples in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..50), cut in 0usize..50) {
        let digest = |samples: &mut dyn Iterator<Item = &(u64, i64, u64)>| {
            let mut digest = ShardDigest::default();
            samples.for_each(|(hash, t, value)| digest.add(*hash, *t, *value));
            digest
        };
        let (head, tail) = samples.split_at(cut.min(samples.len()));
        let mut parts = digest(&mut tail.iter().rev());
        parts.absorb(digest(&mut head.iter()));
        prop_assert_eq!(parts, digest(&mut samples.iter()));
    }

    #[test]
    fn text_that_is_no_set_is_an_error(text in "[0-9,-]{0,12}|.{0,12}") {
        if let Ok(set) = text.parse::<ShardSet>() {
            prop_assert_eq!(set.to_string().parse::<ShardSet>().unwrap(), set);
        }
    }
}
