//! Queries that recently read little. Dashboards and rules ask the same again and again, so the last evaluation tells what the next
//! one costs. Asking a node costs more than a small query reads, so such a query asks few of them.

use std::collections::HashSet;

use parking_lot::Mutex;
use pharos_model::TenantId;
use pharos_model::fragment::Steps;
use pharos_model::hash::name_hash;

/// Most samples that a small query reads. An ingester takes about as long for them as for answering one more request.
const MAX_SAMPLES: u64 = 10_000;
/// Most series that a small query selects.
const MAX_SERIES: u64 = 500;
/// Maximum number of queries that are remembered.
const MAX_QUERIES: usize = 16 << 10;

/// What is remembered of small queries, by their keys. All of it may be forgotten at any time.
#[derive(Default)]
pub(super) struct SmallQueries(Mutex<HashSet<u64>>);

/// Identifies a query by its tenant, its text and its number of steps.
pub(super) fn key(tenant: &TenantId, text: &str, times: Steps) -> u64 {
    name_hash(&format!("{tenant}/{}/{text}", times.count()))
}

impl SmallQueries {
    /// Whether a query was small when it was last evaluated.
    pub(super) fn contains(&self, key: u64) -> bool {
        self.0.lock().contains(&key)
    }

    /// Notes how many samples of how many series a query has read.
    pub(super) fn note(&self, key: u64, samples: u64, series: u64) {
        let mut known = self.0.lock();
        if samples > MAX_SAMPLES || series > MAX_SERIES {
            known.remove(&key);
            return;
        }
        if known.len() >= MAX_QUERIES {
            known.clear();
        }
        known.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_evaluation_counts() {
        let small = SmallQueries::default();
        let key = key(&TenantId::default(), "up", Steps { start: 0, end: 10, step: 1 });
        for (samples, series, is_small) in [
            (0, 0, true),
            (MAX_SAMPLES + 1, 1, false),
            (MAX_SAMPLES, MAX_SERIES, true),
            (MAX_SERIES + 1, MAX_SERIES + 1, false),
            (7, 1, true),
        ] {
            small.note(key, samples, series);
            assert_eq!(small.contains(key), is_small, "{samples} samples of {series} series");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let small = SmallQueries::default();
        (0..2 * MAX_QUERIES as u64).for_each(|key| small.note(key, 1, 1));
        assert!(small.0.lock().len() <= MAX_QUERIES);
    }

    #[test]
    fn tenants_texts_and_numbers_of_steps_have_keys_of_their_own() {
        let times = |end| Steps { start: 0, end, step: 1 };
        let other = TenantId::new("other").unwrap();
        let keys = [
            key(&TenantId::default(), "up", times(10)),
            key(&other, "up", times(10)),
            key(&TenantId::default(), "down", times(10)),
            key(&TenantId::default(), "up", times(0)),
        ];
        assert_eq!(HashSet::from(keys).len(), keys.len());
    }
}
