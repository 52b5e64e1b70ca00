use super::*;

fn shards(numbers: impl IntoIterator<Item = u32>) -> ShardSet {
    numbers.into_iter().collect()
}

fn counts(entries: &[(u16, u64)]) -> ShardCounts {
    let mut counts = ShardCounts::new(8);
    entries.iter().for_each(|(shard, samples)| counts.add(*shard, *samples));
    counts
}

#[test]
fn an_empty_mask_covers_nothing() {
    let mask = FlushedMask::default();
    assert!(mask.is_empty());
    assert!(!mask.covers(0, 0));
    assert_eq!(mask.cut_of(7), 0);
}

#[test]
fn a_mask_covers_the_generations_below_the_cut_of_a_shard() {
    let mut mask = FlushedMask::default();
    mask.raise(&shards([2]), 5);
    assert!(mask.covers(2, 4));
    assert!(!mask.covers(2, 5));
    assert!(!mask.covers(1, 0));
    assert!(!mask.covers(3, 0), "shards past the end have no cut");
}

#[test]
fn raising_a_mask_never_lowers_a_cut() {
    let mut mask = FlushedMask::default();
    mask.raise(&shards([1, 2]), 5);
    mask.raise(&shards([2, 3]), 4);
    assert_eq!([1, 2, 3].map(|shard| mask.cut_of(shard)), [5, 5, 4]);
}

#[test]
fn raising_no_shards_changes_nothing() {
    let mut mask = FlushedMask::default();
    mask.raise(&ShardSet::new(), 5);
    assert!(mask.is_empty());
}

#[test]
fn a_copy_of_a_mask_does_not_change_with_it() {
    let mut mask = FlushedMask::default();
    let copy = mask.clone();
    mask.raise(&shards([1]), 5);
    assert!(copy.is_empty());
}

#[test]
fn a_restricted_mask_keeps_the_cuts_of_its_shards() {
    let mut mask = FlushedMask::default();
    mask.raise(&shards([1, 2]), 5);
    let restricted = mask.restricted_to(&shards([2, 3]));
    assert_eq!(restricted.by_cut(), BTreeMap::from([(5, shards([2]))]));
    assert!(mask.restricted_to(&shards([3])).is_empty());
}

#[test]
fn a_mask_is_restored_from_its_groups() {
    let mut mask = FlushedMask::default();
    mask.raise(&shards([0, 3, 5]), 7);
    mask.raise(&shards([4]), 9);
    let mut restored = FlushedMask::default();
    mask.by_cut().iter().for_each(|(cut, shards)| restored.raise(shards, *cut));
    assert!((0..8).all(|shard| restored.cut_of(shard) == mask.cut_of(shard)));
}

#[test]
fn flushed_windows_look_up_the_window_of_a_timestamp() {
    let mut windows = FlushedWindows::new(Arc::new(WindowSchedule::new(100)));
    assert!(!windows.is_flushed(150, 1, 0));
    let mut mask = FlushedMask::default();
    mask.raise(&shards([1]), 3);
    Arc::make_mut(&mut windows.masks).insert(100, mask);
    assert!(windows.is_flushed(100, 1, 2) && windows.is_flushed(199, 1, 2));
    assert!(!windows.is_flushed(99, 1, 2) && !windows.is_flushed(200, 1, 2));
    assert!(!windows.is_flushed(150, 1, 3));
}

#[test]
fn adding_counts_empties_them() {
    let mut window = WindowState::new(8, 0);
    let mut added = counts(&[(1, 2), (3, 4), (1, 1)]);
    window.add_counts(0, &mut added);
    assert!(added.is_empty());
    assert_eq!(window.total(), 7);
    window.add_counts(0, &mut added);
    assert_eq!(window.total(), 7, "nothing is added twice");
}

#[test]
fn generations_are_told_apart_whatever_their_order() {
    let mut window = WindowState::new(8, 0);
    for generation in [5, 1, 3] {
        window.add_counts(generation, &mut counts(&[(2, 10)]));
    }
    window.flushed.raise(&shards([2]), 4);
    let info = window.info(0, 100);
    assert_eq!(info.flushed_samples, 20);
    assert_eq!(info.unflushed_samples, 10);
}

#[test]
fn subtracting_more_than_there_is_leaves_zero() {
    let mut window = WindowState::new(8, 0);
    window.add_counts(1, &mut counts(&[(2, 10)]));
    window.subtract(1, 2, 4);
    assert_eq!(window.total(), 6);
    window.subtract(1, 2, 100);
    window.subtract(9, 2, 1);
    assert_eq!(window.total(), 0);
}

#[test]
fn clearing_the_last_counts_resets_the_memory() {
    let mut window = WindowState::new(8, 0);
    window.bytes = 500;
    window.add_counts(1, &mut counts(&[(2, 10), (3, 1)]));
    window.clear_counts(|shard, _| shard == 2);
    assert_eq!(window.total(), 1);
    assert_eq!(window.bytes, 500);
    window.clear_counts(|_, generation| generation == 1);
    assert_eq!(window.total(), 0);
    assert_eq!(window.bytes, 0);
}

#[test]
fn a_window_grew_since_a_cut_when_its_newest_generation_has_samples() {
    let mut window = WindowState::new(8, 3);
    assert!(!window.grew_since_cut(&ShardSet::all(8)));
    window.add_counts(3, &mut counts(&[(2, 1)]));
    assert!(window.grew_since_cut(&shards([2])));
    assert!(!window.grew_since_cut(&shards([1])));
    window.newest_cut = 4;
    assert!(!window.grew_since_cut(&ShardSet::all(8)));
}

#[test]
fn a_summary_lists_shards_with_samples_or_a_flushed_cut() {
    let mut window = WindowState::new(8, 3);
    window.add_counts(3, &mut counts(&[(2, 1)]));
    window.flushed.raise(&shards([5]), 2);
    let info = window.info(100, 150);
    assert_eq!(info.shards.iter().map(|s| s.shard).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(info.flushed_cut(5), 2);
    assert_eq!(info.flushed_cut(2), 0);
    assert_eq!(info.flushed_cut(7), 0, "of a shard that is not listed");
    assert_eq!(info.end, 150);
}

#[test]
fn a_shard_can_be_unflushed_and_evictable_at_once() {
    let mut window = WindowState::new(8, 3);
    window.add_counts(1, &mut counts(&[(2, 1), (4, 1)]));
    window.add_counts(3, &mut counts(&[(2, 1)]));
    window.flushed.raise(&shards([2]), 2);
    let info = window.info(0, 100);
    assert_eq!(info.unflushed(), shards([2, 4]));
    assert_eq!(info.evictable(), shards([2]));
}
