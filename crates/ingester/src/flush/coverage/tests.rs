use proptest::prelude::*;

use super::*;

fn digest(samples: &[i64]) -> ShardDigest {
    let mut digest = ShardDigest::default();
    samples.iter().for_each(|t| digest.add(7, *t, 0));
    digest
}

fn block(sequence: u64, shard: u32, samples: &[i64]) -> BlockEntry {
    let held = digest(samples);
    BlockEntry {
        id: format!("B{sequence}"),
        window_start: 0,
        window_end: 100,
        min_t: 0,
        max_t: 99,
        shards: vec![shard, 9],
        delta: sequence > 1,
        sequence,
        bytes: 1,
        series: 1,
        samples: held.samples,
        resolution_ms: 0,
        cut: None,
        digests: vec![BlockDigest { shard, held, whole: None }],
        meta: String::new(),
    }
}

fn held(unflushed: &[i64], flushed: &[i64]) -> HeldDigest {
    let mut all = digest(unflushed);
    all.absorb(digest(flushed));
    HeldDigest { unflushed: digest(unflushed), all }
}

#[test]
fn what_equals_the_newest_blocks_is_in_them() {
    let blocks = [block(1, 3, &[1, 2]), block(2, 3, &[5]), block(3, 4, &[8])];
    let blocks = WindowBlocks(blocks.iter().collect());
    assert_eq!(blocks.cover(3, held(&[5], &[])), Some(vec![2]));
    assert_eq!(blocks.cover(3, held(&[1, 2, 5], &[])), Some(vec![2, 1]));
    assert_eq!(blocks.cover(3, held(&[1, 2], &[])), None, "then the delta is missing here");
    assert_eq!(blocks.cover(3, held(&[1, 2, 5, 6], &[])), None, "one too many");
    assert_eq!(blocks.cover(4, held(&[8], &[])), Some(vec![3]));
    assert_eq!(blocks.newest(), 3);
    assert_eq!(blocks.covered(), ShardSet::from_iter([3, 9]));
}

#[test]
fn a_block_that_says_nothing_ends_the_search() {
    let mut old = block(2, 3, &[5]);
    old.digests.clear();
    let blocks = [block(1, 3, &[1, 2]), old, block(3, 3, &[6])];
    let blocks = WindowBlocks(blocks.iter().collect());
    assert_eq!(blocks.cover(3, held(&[6], &[])), Some(vec![3]));
    assert_eq!(blocks.cover(3, held(&[1, 2, 5, 6], &[])), None);
}

#[test]
fn what_equals_all_that_the_maker_had_is_in_blocks_too() {
    let mut whole = block(2, 3, &[5]);
    whole.digests[0].whole = Some(digest(&[1, 2, 5, 7]));
    let blocks = [block(1, 3, &[1, 2]), whole];
    let blocks = WindowBlocks(blocks.iter().collect());
    assert_eq!(blocks.cover(3, held(&[1, 5, 7], &[2])), Some(vec![]));
    assert_eq!(blocks.cover(3, held(&[1, 5], &[2])), None);
}

proptest! {
    /// Whatever is told of late samples and marks in between: equality is found where it is, and the cheap look by counts
    /// never hides it.
    #[test]
    fn a_replica_with_the_same_samples_is_covered_whenever_it_looks(
        sizes in proptest::collection::vec(1usize..5, 1..6), looked in 0usize..6, extra in 0usize..2
    ) {
        let mut next = 0i64;
        let parts: Vec<Vec<i64>> = sizes.iter().map(|n| (0..*n).map(|_| { next += 1; next }).collect()).collect();
        let blocks: Vec<BlockEntry> = (1..).zip(&parts).map(|(sequence, part)| block(sequence, 3, part)).collect();
        let blocks = WindowBlocks(blocks.iter().collect());
        let looked = looked.min(parts.len() - 1);
        let mut unflushed = parts[looked..].concat();
        let flushed = parts[..looked].concat();
        unflushed.extend((0..extra).map(|n| 1000 + n as i64));
        let covered = blocks.cover(3, held(&unflushed, &flushed));
        prop_assert_eq!(covered.is_some(), extra == 0);
        let counts = ShardWindow {
            shard: 3, unflushed_samples: unflushed.len() as u64, flushed_samples: flushed.len() as u64, flushed_cut: 0,
        };
        prop_assert!(covered.is_none() || blocks.may_cover(&counts));
    }
}
