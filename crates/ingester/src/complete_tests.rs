use pharos_head::ShardWindow;
use pharos_meta::CutId;
use ulid::Ulid;

use super::*;

const WINDOW: i64 = 7_200_000;
const HOUR: i64 = 3_600_000;

fn window(number: i64, flushed_samples: u64, cuts: u32, flushed: u32) -> WindowInfo {
    WindowInfo {
        start: number * WINDOW,
        end: (number + 1) * WINDOW,
        unflushed_samples: 7,
        flushed_samples,
        bytes: 0,
        newest_append_ms: 0,
        cuts,
        shards: vec![ShardWindow { shard: 0, unflushed_samples: 7, flushed_samples, flushed }],
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
        delta: false,
        sequence: 1,
        bytes: 1,
        series: 1,
        samples,
        resolution_ms: 0,
        cut: cut.map(|(ingester, number)| CutId { ingester: ingester.into(), number }),
        meta: String::new(),
    }
}

fn from_at(now_ms: i64, blocks: &[BlockEntry], windows: &[WindowInfo]) -> i64 {
    let (lasting, grace) = (Duration::from_secs(120), Duration::from_secs(3600));
    complete_from(Facts { identity: "me", now_ms, lasting, grace }, blocks, windows)
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
fn what_was_dropped_is_missed_by_its_number_of_samples() {
    let blocks = [block(0, 100, Some(("me", 1))), block(0, 5, Some(("me", 2)))];
    let behind = WINDOW - 999;
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 105, 2, 2)]), i64::MIN);
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 5, 2, 2)]), behind);
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 100, 2, 1)]), i64::MIN, "the second is committed and not marked");
    assert_eq!(from_at(WINDOW, &blocks, &[window(0, 100, 1, 1)]), behind, "a cut that this head does not know");
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
    let facts = Facts { identity: "me", now_ms: WINDOW, lasting: Duration::MAX, grace: Duration::from_secs(3600) };
    assert_eq!(complete_from(facts, &blocks, &[window(0, 100, 1, 1)]), i64::MAX);
    assert_eq!(complete_from(facts, &[], &[window(0, 0, 0, 0)]), i64::MAX, "what is in no block yet may be soon");
}
