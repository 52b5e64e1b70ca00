use pharos_cluster::CutId;
use pharos_head::ShardWindow;
use pharos_model::{BlockDigest, ShardDigest};
use ulid::Ulid;

use super::*;
use crate::flush::known::{Listing, Verified, made_ms};

const WINDOW: i64 = 7_200_000;
const HOUR: i64 = 3_600_000;

fn window(number: i64, flushed_samples: u64, newest_cut: u32, flushed_cut: u32) -> WindowInfo {
    WindowInfo {
        start: number * WINDOW,
        end: (number + 1) * WINDOW,
        unflushed_samples: 7,
        flushed_samples,
        bytes: 0,
        newest_append_ms: 0,
        newest_cut,
        shards: vec![ShardWindow { shard: 0, unflushed_samples: 7, flushed_samples, flushed_cut, first_generation: 0 }],
    }
}

/// A block of window `number` that was made at its end.
fn block(number: i64, samples: u64, cut: Option<(&str, u32)>) -> BlockEntry {
    let end = (number + 1) * WINDOW;
    BlockEntry {
        id: Ulid::from_parts(end as u64, 7).to_string(),
        window_start: number * WINDOW,
        window_end: end,
        min_t: number * WINDOW,
        max_t: end - 1000,
        shards: vec![0],
        sequence: 1,
        bytes: 1,
        series: 1,
        samples,
        cut: cut.map(|(ingester, number)| CutId { ingester: ingester.into(), number }),
        digests: vec![BlockDigest { shard: 0, held: ShardDigest { samples, sum: 0 }, whole: None }],
        ..BlockEntry::default()
    }
}

const LASTING: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(3600);

fn from_at(now_ms: i64, blocks: &[BlockEntry], windows: &[WindowInfo]) -> i64 {
    complete_from(context(now_ms, &seen(blocks)), blocks, windows)
}

/// Blocks that were seen when they were made.
fn seen(blocks: &[BlockEntry]) -> Known {
    let listing = Listing::seen_at(blocks.iter().map(|block| (block, millis(made_ms(block)))));
    Known { listing, ..Known::default() }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

fn context(now_ms: i64, known: &Known) -> Context<'_> {
    Context { identity: "me", now: millis(now_ms), lasting: LASTING, grace: GRACE, shards: None, known }
}

/// Samples of some shards of a block of the first window were found in memory.
fn found_in(block: &BlockEntry, shards: &[u32]) -> Verified {
    Verified::from([(0, BTreeMap::from([(block.id.clone(), shards.iter().copied().collect())]))])
}

#[test]
fn without_blocks_the_head_has_everything() {
    assert_eq!(from_at(0, &[], &[window(0, 0, 0, 0)]), i64::MIN);
}

#[test]
fn flushed_samples_count_until_a_query_could_outlive_the_grace_period() {
    let (blocks, windows) = ([block(0, 100, Some(("me", 1)))], [window(0, 100, 1, 1), window(1, 0, 0, 0)]);
    let behind = WINDOW - 999;
    assert_eq!(from_at(WINDOW, &blocks, &windows), i64::MIN);
    assert_eq!(from_at(WINDOW + HOUR - 120_001, &blocks, &windows), i64::MIN);
    assert_eq!(from_at(WINDOW + HOUR - 120_000, &blocks, &windows), behind);
    assert_eq!(from_at(WINDOW, &blocks, &windows[1..]), behind, "the window has left memory");
}

#[test]
fn dropped_samples_are_noticed_by_their_number() {
    let blocks = [block(0, 100, Some(("me", 1))), block(0, 5, Some(("me", 2)))];
    let behind = WINDOW - 999;
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 105, 2, 2)]), i64::MIN);
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 5, 2, 2)]), behind);
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 100, 2, 1)]), i64::MIN, "the second is committed and not marked");
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 100, 1, 1)]), behind, "a cut that this head does not know");
}

#[test]
fn a_cut_of_an_earlier_life_is_not_in_memory() {
    let blocks = [block(0, 100, Some(("me", 5)))];
    // The log was lost, and what was learned since is not flushed, or as many samples as before are.
    for (flushed_samples, flushed_cut) in [(0, 0), (100, 8)] {
        let mut since = window(0, flushed_samples, 8, flushed_cut);
        assert_eq!(from_at(WINDOW, &blocks, &[since.clone()]), i64::MIN);
        since.shards[0].first_generation = 5;
        assert_eq!(from_at(WINDOW, &blocks, &[since]), WINDOW - 999);
    }
}

#[test]
fn blocks_of_others_are_not_in_memory() {
    let windows = [window(0, 500, 3, 3), window(1, 100, 1, 1)];
    for other in [None, Some(("other", 1))] {
        let blocks = [block(0, 100, other), block(1, 100, Some(("me", 1)))];
        assert_eq!(from_at(2 * WINDOW, &blocks, &windows), WINDOW - 999);
    }
    let mut merged = block(0, 100, Some(("me", 1)));
    merged.window_end = 2 * WINDOW;
    assert_eq!(from_at(WINDOW, &[merged], &windows), WINDOW - 999, "another width");
}

#[test]
fn a_query_without_a_deadline_cannot_be_promised_anything() {
    let blocks = [block(0, 100, Some(("me", 1)))];
    let known = seen(&blocks);
    let context = Context { lasting: Duration::MAX, ..context(WINDOW, &known) };
    assert_eq!(complete_from(context, &blocks, &[window(0, 100, 1, 1)]), i64::MAX);
    assert_eq!(complete_from(context, &[], &[window(0, 0, 0, 0)]), i64::MAX, "what is in no block yet may be soon");
}

#[test]
fn blocks_of_others_are_in_memory_where_they_were_found_there_shard_by_shard() {
    let shard = |shard, flushed_samples| ShardWindow {
        shard,
        unflushed_samples: 0,
        flushed_samples,
        flushed_cut: 1,
        first_generation: 0,
    };
    let mut held = window(0, 150, 1, 1);
    held.shards = vec![shard(0, 100), shard(1, 50)];
    let mut other = block(0, 100, Some(("other", 1)));
    (other.shards, other.sequence) = (vec![0, 1, 2], 7);
    other.digests.push(BlockDigest { shard: 1, held: ShardDigest { samples: 50, sum: 0 }, whole: None });
    let (windows, blocks) = ([held], [other]);
    let of = |shards: &[u32], found: &[u32]| {
        let shards = shards.iter().copied().collect();
        let known = Known { verified: found_in(&blocks[0], found), ..seen(&blocks) };
        complete_from(Context { shards: Some(&shards), ..context(WINDOW, &known) }, &blocks, &windows)
    };
    let behind = WINDOW - 999;
    assert_eq!(of(&[0], &[0]), i64::MIN);
    assert_eq!(of(&[0, 1], &[0]), behind);
    assert_eq!(of(&[0, 1], &[0, 1]), i64::MIN);
    assert_eq!(of(&[1], &[]), behind);
    assert_eq!(of(&[2], &[]), i64::MIN, "it covers the shard and has nothing of it");
    assert_eq!(of(&[3], &[]), i64::MIN, "the block has nothing to do with it");
    let mut dropped = windows.clone();
    dropped[0].shards[0].flushed_samples = 99;
    let shards = ShardSet::of(0);
    let known = Known { verified: found_in(&blocks[0], &[0]), ..seen(&blocks) };
    let context = Context { shards: Some(&shards), ..context(WINDOW, &known) };
    assert_eq!(complete_from(context, &blocks, &dropped), behind);
}

#[test]
fn entries_without_digests_are_not_known_to_be_in_memory() {
    let mut old = block(0, 100, Some(("me", 1)));
    old.digests.clear();
    assert_eq!(from_at(WINDOW, &[old], &[window(0, 100, 1, 1)]), WINDOW - 999);
}

#[test]
fn a_block_that_was_not_noted_yet_stays_for_a_grace_period_at_least_and_its_date_does_not_matter() {
    let blocks = [block(0, 100, Some(("me", 1)))];
    let windows = [window(0, 100, 1, 1)];
    let known = Known::default();
    assert_eq!(complete_from(context(100 * WINDOW, &known), &blocks, &windows), i64::MIN);
    let later = Known { listing: Listing::seen_at([(&blocks[0], millis(50 * WINDOW))]), ..Known::default() };
    assert_eq!(complete_from(context(50 * WINDOW + HOUR - 120_001, &later), &blocks, &windows), i64::MIN);
    assert_eq!(complete_from(context(50 * WINDOW + HOUR - 120_000, &later), &blocks, &windows), WINDOW - 999);
}

#[test]
fn each_shard_stays_for_its_own_grace_period() {
    let shard = |shard, flushed_samples| ShardWindow {
        shard,
        unflushed_samples: 0,
        flushed_samples,
        flushed_cut: 2,
        first_generation: 0,
    };
    let mut held = window(0, 150, 2, 2);
    held.shards = vec![shard(0, 100), shard(1, 50)];
    let mut main = block(0, 100, Some(("me", 1)));
    main.shards = vec![0, 1];
    // A late sample of one shard, an hour after the block of both.
    let mut late = block(0, 50, Some(("me", 2)));
    late.id = Ulid::from_parts((WINDOW + HOUR) as u64, 7).to_string();
    (late.shards, late.digests[0].shard) = (vec![1], 1);
    let (blocks, windows) = ([main, late], [held]);
    let at = |now, asked: &[u32]| {
        let shards = asked.iter().copied().collect();
        let known = seen(&blocks);
        complete_from(Context { shards: Some(&shards), ..context(now, &known) }, &blocks, &windows)
    };
    let behind = WINDOW - 999;
    assert_eq!(at(WINDOW + HOUR - 120_001, &[0, 1]), i64::MIN);
    assert_eq!(at(WINDOW + HOUR - 120_000, &[0, 1]), behind, "the first shard leaves");
    assert_eq!(at(WINDOW + HOUR - 120_000, &[1]), i64::MIN, "the second has a newer block");
    assert_eq!(at(WINDOW + 2 * HOUR - 120_000, &[1]), behind);
}
