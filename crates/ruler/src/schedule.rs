//! When groups are evaluated. The hash of a group picks its slot within each interval, as in Prometheus, so that samples
//! keep their timestamps when one replaces the other, and slots survive restarts.

use pharos_model::TenantId;
use xxhash_rust::xxh64::xxh64;

/// The slots of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval_ms: i64,
    offset_ms: i64,
}

/// The slot after another one, and how many between them were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) slot_ms: i64,
    pub(crate) missed: u64,
}

impl Schedule {
    /// The slots of the group with this hash.
    pub(crate) fn new(group_hash: u64, interval_ms: i64) -> Self {
        let interval_ms = interval_ms.max(1);
        let interval_ns = (interval_ms as u64).saturating_mul(1_000_000);
        let offset_ns = group_hash % interval_ns;
        Schedule { interval_ms, offset_ms: (offset_ns / 1_000_000) as i64 }
    }

    /// The first slot after a time.
    pub(crate) fn first_after(&self, now_ms: i64) -> i64 {
        let since = (now_ms - self.offset_ms).rem_euclid(self.interval_ms);
        now_ms - since + self.interval_ms
    }

    /// The slot to evaluate when the one at `slot_ms` was waited for and it is `now_ms`: the latest one. Those that passed
    /// meanwhile are missed.
    pub(crate) fn due(&self, slot_ms: i64, now_ms: i64) -> Next {
        self.following(slot_ms - self.interval_ms, now_ms)
    }

    /// How many slots lie between two others.
    pub(crate) fn between(&self, earlier_ms: i64, later_ms: i64) -> u64 {
        let slots = (later_ms.saturating_sub(earlier_ms)).div_euclid(self.interval_ms).saturating_sub(1);
        u64::try_from(slots).unwrap_or_default()
    }

    /// The slot that follows `slot_ms` when that evaluation has ended at `now_ms`. An evaluation that ends late delays the
    /// next one; slots that are over by then are missed.
    pub(crate) fn following(&self, slot_ms: i64, now_ms: i64) -> Next {
        let missed = ((now_ms - slot_ms) / self.interval_ms - 1).max(0);
        Next { slot_ms: slot_ms + (missed + 1) * self.interval_ms, missed: missed as u64 }
    }
}

/// The hash of a group. For the default tenant it is Prometheus's.
pub(crate) fn group_hash(tenant: &TenantId, file: &str, name: &str) -> u64 {
    let mut bytes = Vec::new();
    let of_tenant = if *tenant == TenantId::default() { &[][..] } else { &["tenant", tenant.as_str()] };
    for text in ["file", file, "name", name].iter().chain(of_tenant) {
        match text.len() {
            short @ 0..255 => bytes.push(short as u8),
            long => bytes.extend_from_slice(&[255, long as u8, (long >> 8) as u8, (long >> 16) as u8]),
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { interval_ms: 1000, offset_ms: 300 };

    #[test]
    fn the_first_slot_comes_after_now() {
        assert_eq!(SCHEDULE.first_after(10_000), 10_300);
        assert_eq!(SCHEDULE.first_after(10_299), 10_300);
        assert_eq!(SCHEDULE.first_after(10_300), 11_300);
    }

    #[test]
    fn an_evaluation_that_ends_in_time_is_followed_by_the_next_slot() {
        assert_eq!(SCHEDULE.following(10_300, 10_400), Next { slot_ms: 11_300, missed: 0 });
    }

    #[test]
    fn a_slow_evaluation_delays_the_next_one() {
        assert_eq!(SCHEDULE.following(10_300, 11_900), Next { slot_ms: 11_300, missed: 0 });
    }

    #[test]
    fn slots_that_are_over_are_missed() {
        assert_eq!(SCHEDULE.following(10_300, 12_400), Next { slot_ms: 12_300, missed: 1 });
        assert_eq!(SCHEDULE.following(10_300, 14_400), Next { slot_ms: 14_300, missed: 3 });
    }

    #[test]
    fn whoever_wakes_late_evaluates_the_latest_slot() {
        assert_eq!(SCHEDULE.due(10_300, 10_300), Next { slot_ms: 10_300, missed: 0 });
        assert_eq!(SCHEDULE.due(10_300, 11_299), Next { slot_ms: 10_300, missed: 0 });
        assert_eq!(SCHEDULE.due(10_300, 13_900), Next { slot_ms: 13_300, missed: 3 });
    }

    #[test]
    fn slots_between_two_others_are_counted() {
        assert_eq!(SCHEDULE.between(10_300, 11_300), 0);
        assert_eq!(SCHEDULE.between(10_300, 13_300), 2);
        assert_eq!(SCHEDULE.between(10_300, 10_300), 0);
        assert_eq!(SCHEDULE.between(13_300, 10_300), 0);
    }

    #[test]
    fn a_clock_that_goes_back_misses_nothing() {
        assert_eq!(SCHEDULE.following(10_300, 5_000), Next { slot_ms: 11_300, missed: 0 });
    }

    #[test]
    fn groups_of_one_interval_have_slots_of_their_own() {
        let tenant = TenantId::default();
        let slots = |name: &str| Schedule::new(group_hash(&tenant, "rules.yml", name), 60_000);
        assert_ne!(slots("a"), slots("b"));
        assert_eq!(slots("a"), slots("a"));
    }

    #[test]
    fn groups_of_tenants_have_hashes_of_their_own() {
        let [a, b] = ["a", "b"].map(|tenant| group_hash(&TenantId::new(tenant).unwrap(), "rules", "g"));
        assert!(a != b && a != group_hash(&TenantId::default(), "rules", "g"));
    }

    #[test]
    fn long_names_have_a_hash() {
        let hash = |length: usize| group_hash(&TenantId::default(), &"x".repeat(length), "a");
        assert_ne!(hash(300), hash(301));
    }
}
