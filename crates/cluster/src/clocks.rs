//! The members' wall clocks as the leader knows them, and the time that the cluster goes by: their median. Pure.
//!
//! Everything is relative to the leader's monotonic clock, so that a step of its wall clock concerns only its own entry. A
//! wrong clock, the leader's included, moves the cluster's time only if most clocks agree with it.

use std::collections::{BTreeMap, BTreeSet};

/// How far a member's wall clock may be from the cluster's time before this is a problem, milliseconds: half of the margin
/// with which targets change hands.
pub const MAX_CLOCK_OFFSET_MS: i64 = crate::state::HANDOFF_MS / 2;

/// What members reported of their wall clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// Each member's wall clock minus the leader's monotonic clock, milliseconds.
    walls: BTreeMap<String, i64>,
    /// The members whose wall clocks were far from the cluster's time when they last reported.
    far: BTreeSet<String>,
}

/// A wall clock has crossed [`MAX_CLOCK_OFFSET_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossing {
    /// It is ahead by so many milliseconds; negative if it is behind.
    Far(i64),
    Near,
}

impl Clocks {
    /// Takes the report of a member.
    pub(crate) fn note(&mut self, node: &str, wall_ms: i64) {
        match self.walls.get_mut(node) {
            Some(known) => *known = wall_ms,
            None => {
                self.walls.insert(node.to_string(), wall_ms);
            }
        }
    }

    /// Forgets all members but these.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.walls.retain(|node, _| is_wanted(node));
        self.far.retain(|node| is_wanted(node));
    }

    /// Whether the last report of a member has crossed the bound. The time is relative to the leader's monotonic clock.
    pub(crate) fn crossed(&mut self, node: &str, time: i64) -> Option<Crossing> {
        let ahead = self.walls.get(node)?.saturating_sub(time);
        let is_far = ahead.unsigned_abs() > MAX_CLOCK_OFFSET_MS as u64;
        if is_far == self.far.contains(node) {
            return None;
        }
        if !is_far {
            self.far.remove(node);
            return Some(Crossing::Near);
        }
        self.far.insert(node.to_string());
        Some(Crossing::Far(ahead))
    }

    /// The cluster's time minus the leader's monotonic clock, milliseconds: the median of the reports; none until more than
    /// half of the `live` members have reported. Of two in the middle the one nearer to `current`, the present time, wins.
    pub(crate) fn time(&self, live: usize, current: i64) -> Option<i64> {
        if self.walls.len() * 2 <= live {
            return None;
        }
        let mut walls: Vec<i64> = self.walls.values().copied().collect();
        walls.sort_unstable();
        let middle = walls.len() / 2;
        let lower = if walls.len().is_multiple_of(2) { walls[middle - 1] } else { walls[middle] };
        let is_nearer = lower.abs_diff(current) <= walls[middle].abs_diff(current);
        Some(if is_nearer { lower } else { walls[middle] })
    }

    /// How far each member's wall clock is ahead of a time, milliseconds. The time is relative to the leader's monotonic clock.
    pub(crate) fn offsets(&self, time: i64) -> BTreeMap<String, i64> {
        self.walls.iter().map(|(node, wall)| (node.clone(), wall.saturating_sub(time))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(walls: &[(&str, i64)]) -> Clocks {
        let mut clocks = Clocks::default();
        walls.iter().for_each(|(node, wall)| clocks.note(node, *wall));
        clocks
    }

    #[test]
    fn one_wrong_clock_does_not_move_the_time() {
        assert_eq!(clocks(&[("A", 1000), ("B", 1007), ("C", -9000)]).time(3, 0), Some(1000));
        assert_eq!(clocks(&[("A", 1000), ("B", 1007), ("C", 90_000)]).time(3, 0), Some(1007));
    }

    #[test]
    fn of_two_clocks_the_one_nearer_to_the_present_time_wins() {
        let clocks = clocks(&[("A", 1000), ("B", 11_000)]);
        assert_eq!(clocks.time(2, 900), Some(1000));
        assert_eq!(clocks.time(2, 11_200), Some(11_000));
    }

    #[test]
    fn there_is_no_time_until_most_members_have_reported() {
        assert_eq!(clocks(&[]).time(0, 0), None);
        assert_eq!(clocks(&[("A", 5)]).time(2, 0), None);
        assert_eq!(clocks(&[("A", 5), ("B", 5)]).time(3, 0), Some(5));
    }

    #[test]
    fn a_clock_that_crosses_the_bound_is_told_once() {
        let mut clocks = clocks(&[("A", 1000)]);
        assert_eq!(clocks.crossed("A", 1000), None);
        clocks.note("A", -9000);
        assert_eq!(clocks.crossed("A", 1000), Some(Crossing::Far(-10_000)));
        assert_eq!(clocks.crossed("A", 1000), None);
        clocks.note("A", 1900);
        assert_eq!(clocks.crossed("A", 1000), Some(Crossing::Near));
        assert_eq!(clocks.crossed("B", 1000), None);
    }

    #[test]
    fn offsets_are_positive_for_clocks_that_are_ahead() {
        let mut clocks = clocks(&[("A", 1000), ("B", 11_000), ("C", 0)]);
        clocks.note("C", 400);
        clocks.retain(|node| node != "A");
        assert_eq!(clocks.offsets(1000), [("B".to_string(), 10_000), ("C".to_string(), -600)].into());
    }
}
