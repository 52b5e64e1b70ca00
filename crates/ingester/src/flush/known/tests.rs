use pharos_cluster::{Catalogue, CatalogueCommand};
use pharos_head::ShardWindow;
use ulid::Ulid;

use super::*;

const GRACE: Duration = Duration::from_secs(3600);
const WINDOW: i64 = 7_200_000;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The first window, with flushed samples of some shards.
fn window(shards: &[u32]) -> WindowInfo {
    let flushed = |shard: &u32| ShardWindow {
        shard: *shard,
        unflushed_samples: 0,
        flushed_samples: 5,
        flushed_cut: 1,
        first_generation: 0,
    };
    WindowInfo {
        start: 0,
        end: WINDOW,
        unflushed_samples: 0,
        flushed_samples: 5,
        bytes: 0,
        newest_append_ms: 0,
        newest_cut: 1,
        shards: shards.iter().map(flushed).collect(),
    }
}

/// A block of the first window that was made at a time.
fn block(made_ms: i64, number: u128, shards: &[u32], delta: bool) -> BlockEntry {
    BlockEntry {
        id: Ulid::from_parts(made_ms as u64, number).to_string(),
        window_end: WINDOW,
        max_t: 1,
        shards: shards.to_vec(),
        delta,
        bytes: 1,
        series: 1,
        samples: 1,
        ..BlockEntry::default()
    }
}

/// The catalogue of a tenant after some blocks were committed and some removed by retention.
fn catalogue(blocks: &[&BlockEntry], removed: &[&BlockEntry]) -> Arc<TenantCatalogue> {
    let mut catalogue = Catalogue::default();
    let blocks = blocks.iter().copied().cloned().collect();
    let tenant = || "t".to_string();
    catalogue.apply(CatalogueCommand::CommitBlocks { tenant: tenant(), blocks, flushed_until: None }).unwrap();
    let ids = removed.iter().map(|block| block.id.clone()).collect();
    catalogue
        .apply(CatalogueCommand::RemoveBlocks { tenant: tenant(), ids, at_ms: 5, reason: RemovalReason::Retention })
        .unwrap();
    catalogue.tenant("t").unwrap().clone()
}

fn of(listing: &Listing, shard: u32) -> ShardBlocks {
    listing.of_windows(&[window(&[0, 1])])[&(0, shard)]
}

fn listed_since(seconds: u64) -> ShardBlocks {
    ShardBlocks { newest_seen: Some(secs(seconds)), is_missing: false }
}

const MISSING: ShardBlocks = ShardBlocks { newest_seen: None, is_missing: true };

#[test]
fn grace_counts_from_when_a_block_was_seen_however_it_is_dated() {
    let year = 365 * 86_400_000;
    let (past, future) = (block(5, 1, &[0], false), block(year, 2, &[1], false));
    let known = catalogue(&[&past, &future], &[]);
    let mut listing = Listing::default();
    listing.note(secs(7), Some(&known), &[window(&[0, 1])]);
    assert_eq!([of(&listing, 0), of(&listing, 1)], [listed_since(7), listed_since(7)]);
    assert_eq!(listing.stays(&future.id, secs(7), GRACE), GRACE);
    assert_eq!(listing.stays(&future.id, secs(7) + GRACE, GRACE), Duration::ZERO);
    listing.note(secs(9), Some(&catalogue(&[&past, &future], &[])), &[window(&[0, 1])]);
    assert_eq!(of(&listing, 0), listed_since(7), "seen before");
}

#[test]
fn after_a_restart_a_block_has_the_age_that_it_claims_but_no_more_than_the_grace_period() {
    let now_ms = 100 * WINDOW;
    let young = block(now_ms - 60_000, 1, &[0], false);
    let old = block(0, 2, &[1], false);
    let future = block(now_ms + WINDOW, 3, &[2], false);
    let mut listing = Listing::default();
    let known = catalogue(&[&young, &old, &future], &[]);
    listing.begin(secs(10_000), now_ms, GRACE, Some(&known), &[window(&[0, 1, 2])]);
    assert_eq!(of(&listing, 0), listed_since(10_000 - 60));
    assert_eq!(of(&listing, 1), listed_since(10_000 - 3600));
    assert_eq!(of(&listing, 2), listed_since(10_000));
}

#[test]
fn a_block_that_vanishes_is_missing_until_it_is_listed_again() {
    let (main, delta) = (block(5, 1, &[0, 1], false), block(6, 2, &[0], true));
    let mut listing = Listing::default();
    let windows = [window(&[0, 1])];
    assert_eq!(listing.note(secs(1), Some(&catalogue(&[&main, &delta], &[])), &windows), [""; 0]);
    // For example after a restore of an older state.
    assert_eq!(listing.note(secs(2), Some(&catalogue(&[&main], &[])), &windows), std::slice::from_ref(&delta.id));
    assert_eq!(listing.note(secs(3), Some(&catalogue(&[&main], &[])), &windows), [""; 0], "said once");
    assert_eq!(of(&listing, 0), ShardBlocks { is_missing: true, ..listed_since(1) });
    assert_eq!(of(&listing, 1), listed_since(1));
    listing.note(secs(4), None, &windows);
    assert!(of(&listing, 1).is_missing);
    listing.note(secs(5), Some(&catalogue(&[&main, &delta], &[])), &windows);
    assert_eq!([of(&listing, 0), of(&listing, 1)], [listed_since(5), listed_since(5)]);
}

#[test]
fn a_block_that_retention_removed_is_not_missing() {
    let (main, delta) = (block(5, 1, &[0], false), block(6, 2, &[1], true));
    let mut listing = Listing::default();
    let windows = [window(&[0, 1])];
    listing.note(secs(1), Some(&catalogue(&[&main, &delta], &[])), &windows);
    assert_eq!(listing.note(secs(2), Some(&catalogue(&[&main, &delta], &[&main, &delta])), &windows), [""; 0]);
    assert_eq!([of(&listing, 0), of(&listing, 1)], [ShardBlocks::default(); 2]);
    // A process that starts later knows it by what the catalogue remembers.
    let mut later = Listing::default();
    later.note(secs(3), Some(&catalogue(&[&main], &[&main])), &windows);
    assert_eq!(of(&later, 0), ShardBlocks::default());
}

#[test]
fn flushed_samples_of_which_no_block_was_ever_seen_are_missing() {
    let mut listing = Listing::default();
    listing.note(secs(1), None, &[window(&[0])]);
    assert_eq!(of(&listing, 0), MISSING);
}

#[test]
fn what_was_shipped_again_is_not_missing() {
    let main = block(5, 1, &[0, 1], false);
    let mut listing = Listing::default();
    let windows = [window(&[0, 1])];
    listing.note(secs(1), Some(&catalogue(&[&main], &[])), &windows);
    listing.note(secs(2), None, &windows);
    let again = block(7, 3, &[0], true);
    listing.recovered(&windows[0], &ShardSet::of(0));
    listing.note(secs(3), Some(&catalogue(&[&again], &[])), &windows);
    assert_eq!([of(&listing, 0), of(&listing, 1)], [listed_since(3), MISSING]);
}

#[test]
fn blocks_of_other_widths_count_for_the_windows_that_they_overlap() {
    let mut wide = block(5, 1, &[0], false);
    (wide.window_start, wide.window_end) = (-WINDOW, 2 * WINDOW);
    let mut listing = Listing::default();
    listing.note(secs(1), Some(&catalogue(&[&wide], &[])), &[window(&[0])]);
    assert_eq!(of(&listing, 0), listed_since(1));
}
