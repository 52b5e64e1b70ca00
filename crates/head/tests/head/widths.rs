//! Another width of windows: windows that exist keep theirs, and no sample is lost or shipped twice.

use std::collections::BTreeMap;

use pharos_head::{Head, HeadConfig, WindowInfo};
use pharos_model::TimeRange;

use crate::cuts::contents;
use crate::support::*;

/// Far from the epoch, so that the clock in the tests is at a plausible time.
const T: i64 = 1_700_006_400_000;

fn config_of(hours: i64) -> HeadConfig {
    HeadConfig { window_ms: hours * HOUR, out_of_order_window_ms: 100 * HOUR, ..config() }
}

fn open_at(fs: &MemFs, hours: i64, now: i64) -> Head {
    try_open_at(fs, config_of(hours), now).unwrap()
}

/// How far a window got before the restart.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Stage {
    Unflushed,
    Cut,
    Flushed,
    Dropped,
}

const STAGES: [Stage; 4] = [Stage::Unflushed, Stage::Cut, Stage::Flushed, Stage::Dropped];

/// What is in blocks.
#[derive(Default)]
struct Shipped(BTreeMap<i64, Vec<(i64, Samples)>>);

impl Shipped {
    fn ship(&mut self, head: &Head, window: &WindowInfo, stage: Stage) {
        if stage == Stage::Unflushed {
            return;
        }
        let cut = head.cut(&tenant(), window.start, &all_shards());
        head.commit().wait().unwrap();
        assert_eq!((cut.window().start, cut.window().end), (window.start, window.end));
        if stage >= Stage::Flushed {
            let samples = contents(&cut);
            assert!(samples.keys().all(|(_, t)| (window.start..window.end).contains(t)));
            self.0.entry(window.start).or_default().push((window.end, samples));
            head.mark_flushed(&cut).wait().unwrap();
        }
        if stage >= Stage::Dropped {
            head.evict_flushed(&tenant(), window.start, &all_shards()).unwrap();
        }
    }

    /// All samples, each of which is in one block.
    fn all(&self) -> Samples {
        let mut all = Samples::new();
        for (key, bits) in self.0.values().flatten().flat_map(|(_, samples)| samples) {
            assert_eq!(all.insert(key.clone(), *bits), None, "{key:?} is in two blocks");
        }
        all
    }
}

fn samples(from: i64, to: i64) -> Vec<(u32, i64, f64)> {
    (from..to).step_by(600_000).flat_map(|t| [(1, t, t as f64), (2, t + 1, 1.0)]).collect()
}

fn expected(samples: &[(u32, i64, f64)]) -> Samples {
    samples.iter().map(|(series, t, v)| ((labels(*series), *t), v.to_bits())).collect()
}

#[test]
fn no_sample_is_lost_or_shipped_twice_when_windows_get_wider_or_narrower_at_any_point_of_a_flush() {
    for (before, after) in [(1, 2), (2, 1), (1, 3), (3, 2)] {
        for stage in STAGES {
            let fs = MemFs::default();
            let mut shipped = Shipped::default();
            // Two windows, of which the first has ended. The clock is in the second.
            let now = T + before * HOUR + 5 * 600_000;
            let mut all = samples(T, now);
            let head = open_at(&fs, before, now);
            append(&head, &all);
            shipped.ship(&head, &head.windows(&tenant())[0], stage);
            let windows = head.windows(&tenant());
            drop(head);
            for (round, width) in [after, after, before, after].into_iter().enumerate() {
                let head = open_at(&fs, width, now);
                for known in windows.iter().filter(|_| round == 0) {
                    let found = head.windows(&tenant()).into_iter().find(|w| w.start == known.start).unwrap();
                    assert_eq!(found.end, known.end, "windows that exist keep their width");
                    assert_eq!(found.unflushed_samples, known.unflushed_samples);
                }
                let held = read(&head, TimeRange::ALL, None);
                let whole = expected(&all);
                assert!(
                    whole.iter().all(|(key, bits)| held.get(key) == Some(bits) || shipped.all().get(key) == Some(bits))
                );
                // Late samples of the first window, and new ones around the boundary of the windows to come.
                let late =
                    [(3, T + 7 + round as i64, 3.0), (1, T + before * HOUR + 5 * 600_000 + 1 + round as i64, 4.0)];
                append(&head, &late);
                all.extend(late);
            }
            let head = open_at(&fs, after, now);
            let new = samples(now + 600_000, T + 20 * HOUR);
            append(&head, &new);
            all.extend(new);
            drop(head);
            let head = open_at(&fs, after, now);
            let windows = head.windows(&tenant());
            assert!(windows.windows(2).all(|pair| pair[0].end <= pair[1].start), "windows do not overlap: {windows:?}");
            assert_eq!(windows.last().map(|w| w.end - w.start), Some(after * HOUR));
            windows.iter().for_each(|window| shipped.ship(&head, window, Stage::Dropped));
            assert!(read_all(&head).is_empty());
            assert_eq!(shipped.all(), expected(&all), "{before} h to {after} h, {stage:?}");
        }
    }
}

#[test]
fn another_width_applies_behind_the_windows_that_exist() {
    let fs = MemFs::default();
    let head = open_at(&fs, 1, T + HOUR / 2);
    append(&head, &[(1, T + 3 * HOUR, 1.0)]);
    drop(head);
    let head = open_at(&fs, 2, T + HOUR / 2);
    append(&head, &[(1, T + 3 * HOUR + 1, 1.0), (1, T + 4 * HOUR, 1.0)]);
    let windows: Vec<_> = head.windows(&tenant()).iter().map(|w| (w.start - T, w.end - T)).collect();
    assert_eq!(windows, [(3 * HOUR, 4 * HOUR), (4 * HOUR, 6 * HOUR)]);
}

#[test]
fn late_samples_of_a_time_before_the_change_go_to_windows_of_the_previous_width() {
    let fs = MemFs::default();
    let head = open_at(&fs, 1, T + HOUR / 2);
    append(&head, &[(1, T, 1.0)]);
    drop(head);
    drop(open_at(&fs, 2, T + HOUR / 2));
    let head = open_at(&fs, 2, T + HOUR / 2);
    append(&head, &[(2, T - HOUR, 1.0)]);
    assert_eq!(head.windows(&tenant())[0].start, T - HOUR);
    assert_eq!(head.windows(&tenant())[0].end, T);
}

#[test]
fn the_width_survives_the_segments_in_which_it_was_set() {
    let fs = MemFs::default();
    let head = open_at(&fs, 1, T);
    append(&head, &[(1, T, 1.0)]);
    drop(head);
    let head = open_at(&fs, 2, T);
    append(&head, &[(1, T + 2 * HOUR, 1.0)]);
    for window in head.windows(&tenant()) {
        Shipped::default().ship(&head, &window, Stage::Dropped);
    }
    append(&head, &[(1, T + 4 * HOUR, 1.0)]);
    drop(head);
    // A start with a third width must know that this window is two hours wide.
    let head = open_at(&fs, 3, T);
    let windows: Vec<_> = head.windows(&tenant()).iter().map(|w| (w.start - T, w.end - T)).collect();
    assert_eq!(windows.last(), Some(&(4 * HOUR, 6 * HOUR)));
}

#[test]
fn windows_keep_their_width_while_there_are_samples_at_the_end_of_time() {
    let fs = MemFs::default();
    let head = open_at(&fs, 1, T);
    append(&head, &[(1, i64::MAX, 1.0)]);
    drop(head);
    let head = open_at(&fs, 2, T);
    assert_eq!(read_all(&head).len(), 1);
    append(&head, &[(2, T, 1.0)]);
    assert_eq!(head.windows(&tenant())[0].end - head.windows(&tenant())[0].start, HOUR);
}
