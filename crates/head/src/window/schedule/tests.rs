use proptest::prelude::*;

use super::*;

const H: i64 = 3_600_000;

#[test]
fn windows_of_one_width_are_aligned_to_the_epoch() {
    let schedule = WindowSchedule::new(100);
    assert_eq!(schedule.window_of(250), WindowSpan { start: 200, last: 299 });
    assert_eq!(schedule.window_of(-1), WindowSpan { start: -100, last: -1 });
    assert_eq!(schedule.end_of(200), 300);
}

#[test]
fn the_first_and_the_last_window_of_time_end_with_it() {
    let schedule = WindowSchedule::new(H);
    assert_eq!(schedule.window_of(i64::MAX).last, i64::MAX);
    let first = schedule.window_of(i64::MIN);
    assert_eq!(first.start, i64::MIN);
    assert_eq!(schedule.window_of(first.last), first);
}

#[test]
fn a_change_takes_effect_where_windows_of_both_widths_begin() {
    let mut schedule = WindowSchedule::new(H);
    assert!(schedule.change(2 * H, 3 * H));
    assert_eq!(schedule.newest(), (4 * H, 2 * H));
    assert_eq!(schedule.window_of(3 * H + 5), WindowSpan { start: 3 * H, last: 4 * H - 1 });
    assert_eq!(schedule.window_of(4 * H), WindowSpan { start: 4 * H, last: 6 * H - 1 });
}

#[test]
fn a_change_to_narrower_windows_takes_effect_after_the_window_that_exists() {
    let mut schedule = WindowSchedule::new(2 * H);
    assert!(schedule.change(H, 2 * H));
    assert_eq!(schedule.newest(), (2 * H, H));
    assert_eq!(schedule.start_of(2 * H - 1), 0);
    assert_eq!(schedule.start_of(3 * H), 3 * H);
}

#[test]
fn widths_without_a_near_common_boundary_meet_where_the_new_windows_begin() {
    let mut schedule = WindowSchedule::new(7_200_000);
    assert!(schedule.change(7_200_001, 7_200_000));
    assert_eq!(schedule.newest(), (7_200_001, 7_200_001));
    assert_eq!(schedule.window_of(7_200_000), WindowSpan { start: 7_200_000, last: 7_200_000 });
}

#[test]
fn a_change_that_never_took_effect_is_replaced() {
    let mut schedule = WindowSchedule::new(H);
    assert!(schedule.change(2 * H, 3 * H) && schedule.change(H, 3 * H + 1));
    assert_eq!(schedule, WindowSchedule::new(H));
}

#[test]
fn a_change_after_the_end_of_time_is_refused() {
    let mut schedule = WindowSchedule::new(H);
    assert!(!schedule.change(2 * H, i64::MAX));
    assert_eq!(schedule, WindowSchedule::new(H));
}

#[test]
fn widths_before_every_window_are_forgotten() {
    let mut schedule = WindowSchedule::new(H);
    assert!(schedule.change(2 * H, 3 * H));
    schedule.forget_before(4 * H - 1);
    assert_eq!(schedule.widths().len(), 2);
    schedule.forget_before(4 * H);
    assert_eq!(schedule, WindowSchedule::new(2 * H));
}

#[test]
fn widths_that_do_not_ascend_from_the_beginning_of_time_are_no_schedule() {
    let wrong = [vec![], vec![(0, 5)], vec![(i64::MIN, 0)], vec![(i64::MIN, 5), (3, 5), (3, 6)]];
    assert!(wrong.into_iter().all(|widths| WindowSchedule::from_widths(widths).is_none()));
}

proptest! {
    #[test]
    fn windows_neither_overlap_nor_leave_gaps_and_those_before_a_change_stay(
        first in 1i64..200, changes in proptest::collection::vec((1i64..200, 0i64..2000), 0..5), t in -500i64..20_000,
    ) {
        let mut schedule = WindowSchedule::new(first);
        let mut after = 0;
        for (width, later) in changes {
            after += later;
            let before = schedule.clone();
            prop_assert!(schedule.change(width, after));
            prop_assert_eq!(schedule.newest().1, width);
            if t < after {
                prop_assert_eq!(schedule.start_of(t), before.start_of(t));
            }
        }
        let window = schedule.window_of(t);
        prop_assert!(window.start <= t && t <= window.last);
        prop_assert_eq!(schedule.window_of(window.start), window);
        prop_assert_eq!(schedule.window_of(window.last), window);
        prop_assert_eq!(schedule.window_of(window.last + 1).start, window.last + 1);
        prop_assert_eq!(schedule.window_of(window.start - 1).last, window.start - 1);
    }
}
