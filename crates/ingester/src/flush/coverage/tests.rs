use pharos_cluster::Deletion;
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
        window_end: 100,
        max_t: 99,
        shards: vec![shard, 9],
        delta: sequence > 1,
        sequence,
        bytes: 1,
        series: 1,
        samples: held.samples,
        digests: vec![BlockDigest { shard, held, whole: None }],
        ..BlockEntry::default()
    }
}

/// The blocks that overlap the window of the blocks above.
fn over(blocks: &[BlockEntry]) -> WindowBlocks<'_> {
    let blocks = blocks.iter().map(|entry| WindowBlock { entry, is_masked: false });
    WindowBlocks { blocks: blocks.collect(), start: 0, end: 100 }
}

fn held(unflushed: &[i64], flushed: &[i64]) -> HeldDigest {
    let mut all = digest(unflushed);
    all.absorb(digest(flushed));
    HeldDigest { unflushed: digest(unflushed), all }
}

#[test]
fn what_equals_the_newest_blocks_is_in_them() {
    let blocks = [block(1, 3, &[1, 2]), block(2, 3, &[5]), block(3, 4, &[8])];
    let blocks = over(&blocks);
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
    let blocks = over(&blocks);
    assert_eq!(blocks.cover(3, held(&[6], &[])), Some(vec![3]));
    assert_eq!(blocks.cover(3, held(&[1, 2, 5, 6], &[])), None);
}

#[test]
fn what_equals_all_that_the_maker_had_is_in_blocks_too() {
    let mut whole = block(2, 3, &[5]);
    whole.digests[0].whole = Some(digest(&[1, 2, 5, 7]));
    let blocks = [block(1, 3, &[1, 2]), whole];
    let blocks = over(&blocks);
    assert_eq!(blocks.cover(3, held(&[1, 5, 7], &[2])), Some(vec![]));
    assert_eq!(blocks.cover(3, held(&[1, 5], &[2])), None);
}

#[test]
fn a_block_of_another_width_covers_what_it_overlaps_and_proves_nothing() {
    let mut wide = block(1, 3, &[1, 2]);
    wide.window_end = 200;
    let catalogue = Arc::new(TenantCatalogue { blocks: vec![Arc::new(wide)], ..TenantCatalogue::default() });
    let window = |start: i64, end: i64| WindowInfo {
        start,
        end,
        unflushed_samples: 2,
        flushed_samples: 0,
        bytes: 0,
        newest_append_ms: 0,
        newest_cut: 0,
        shards: Vec::new(),
    };
    for overlapping in [window(0, 100), window(100, 200), window(-50, 50), window(0, 400)] {
        let blocks = WindowBlocks::of(Some(&catalogue), &overlapping);
        assert_eq!(blocks.covered(), ShardSet::from_iter([3, 9]), "{overlapping:?}");
        assert_eq!(blocks.cover(3, held(&[1, 2], &[])), None, "the digest is of another window");
    }
    assert_eq!(WindowBlocks::of(Some(&catalogue), &window(0, 200)).cover(3, held(&[1, 2], &[])), Some(vec![1]));
    assert!(WindowBlocks::of(Some(&catalogue), &window(200, 300)).is_empty());
}

#[test]
fn a_replica_that_equals_what_another_compared_with_blocks_is_in_them() {
    let mut difference = block(2, 3, &[5]);
    difference.digests[0].whole = Some(digest(&[1, 2, 5]));
    let blocks = [block(1, 3, &[1, 2, 7]), difference];
    let blocks = over(&blocks);
    assert_eq!(blocks.cover(3, held(&[1, 2, 5], &[4])), Some(vec![]), "flushed samples do not matter");
    let counts =
        ShardWindow { shard: 3, unflushed_samples: 3, flushed_samples: 1, flushed_cut: 0, first_generation: 0 };
    assert!(blocks.may_cover(&counts));
}

#[test]
fn a_masked_block_covers_nothing_that_was_written_after_the_deletion() {
    let block = |sequence, seen| BlockEntry { deletions_seen: Some(seen), ..block(sequence, 3, &[1, 2]) };
    let deletion = |start, end, sequence| Deletion { selector: "{a=\"1\"}".into(), start, end, sequence };
    let window = WindowInfo {
        start: 0,
        end: 100,
        unflushed_samples: 2,
        flushed_samples: 0,
        bytes: 0,
        newest_append_ms: 0,
        newest_cut: 9,
        shards: Vec::new(),
    };
    let covered_by = |blocks: Vec<BlockEntry>, deletions: Vec<Deletion>| {
        let blocks = blocks.into_iter().map(Arc::new).collect();
        let catalogue = Arc::new(TenantCatalogue { blocks, deletions, ..TenantCatalogue::default() });
        let counts =
            ShardWindow { shard: 3, unflushed_samples: 2, flushed_samples: 0, flushed_cut: 0, first_generation: 0 };
        let blocks = WindowBlocks::of(Some(&catalogue), &window);
        let covered = blocks.cover(3, held(&[1, 2], &[]));
        assert_eq!(blocks.may_cover(&counts), covered.is_some());
        covered
    };
    assert_eq!(covered_by(vec![block(1, 0)], vec![deletion(0, 50, 7)]), None);
    assert_eq!(covered_by(vec![block(1, 7)], vec![deletion(0, 50, 7)]), Some(vec![1]), "it has seen the deletion");
    assert_eq!(covered_by(vec![block(1, 0)], vec![deletion(100, 150, 7)]), Some(vec![1]), "of another time");
    assert_eq!(covered_by(vec![block(1, 0), block(2, 7)], vec![deletion(0, 50, 7)]), Some(vec![2]));
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
        let blocks = over(&blocks);
        let looked = looked.min(parts.len() - 1);
        let mut unflushed = parts[looked..].concat();
        let flushed = parts[..looked].concat();
        unflushed.extend((0..extra).map(|n| 1000 + n as i64));
        let covered = blocks.cover(3, held(&unflushed, &flushed));
        prop_assert_eq!(covered.is_some(), extra == 0);
        let counts = ShardWindow {
            shard: 3, unflushed_samples: unflushed.len() as u64, flushed_samples: flushed.len() as u64, flushed_cut: 0, first_generation: 0 };
        prop_assert!(covered.is_none() || blocks.may_cover(&counts));
    }
}
