//! Tests of the caches: what is found again, and what eviction releases.

use pharos_model::{Budget, Labels, METRIC_NAME, MatchOp};

use super::*;
use crate::promqltest::GridSeries;
use crate::{Engine, EngineOptions, QueryOptions};

fn selector(name: &str) -> Selector {
    let matcher = Matcher::new(MatchOp::Equal, METRIC_NAME, name).unwrap();
    Selector {
        matchers: vec![matcher],
        time: crate::plan::Reference::default(),
        anchored: false,
        smoothed: false,
        stats: false,
        implied: 0,
        readers: 2,
        pos: 0,
    }
}

fn series(count: usize) -> Arc<dyn SeriesSet> {
    Arc::new(GridSeries::single_samples("m", count, 0, |i| i as f64))
}

#[test]
fn a_set_is_found_by_matchers_and_range() {
    let cache = ResultCache::default();
    let range = TimeRange::new(0, 10);
    cache.cache_set(&selector("m"), range, &series(3));
    assert_eq!(cache.set(&selector("m"), range).unwrap().labels().len(), 3);
    assert!(cache.set(&selector("n"), range).is_none());
    assert!(cache.set(&selector("m"), TimeRange::new(0, 11)).is_none());
}

#[test]
fn a_batch_is_found_by_any_of_its_series() {
    let cache = ResultCache::default();
    let set = series(8);
    cache.cache_set(&selector("m"), TimeRange::ALL, &set);
    cache.cache_batch(&set, 2..5, Arc::default(), Footprint { bytes: 10, samples: 3 });
    assert_eq!(cache.batch(&set, 4).map(|(series, _)| series), Some(2..5));
    assert!(cache.batch(&set, 5).is_none());
    assert!(cache.batch(&series(8), 4).is_none());
}

#[test]
fn clearing_returns_what_was_occupied_once() {
    let cache = ResultCache::default();
    let set = series(8);
    cache.cache_set(&selector("m"), TimeRange::ALL, &set);
    cache.cache_batch(&set, 0..4, Arc::default(), Footprint { bytes: 10, samples: 4 });
    cache.cache_batch(&set, 4..8, Arc::default(), Footprint { bytes: 20, samples: 4 });
    assert_eq!(cache.clear(), Footprint { bytes: 30, samples: 8 });
    assert_eq!(cache.clear(), Footprint::default());
    assert!(cache.batch(&set, 0).is_none());
    assert!(cache.set(&selector("m"), TimeRange::ALL).is_some());
}

#[test]
fn forgetting_drops_the_sets_as_well() {
    let cache = ResultCache::default();
    cache.cache_set(&selector("m"), TimeRange::ALL, &series(1));
    cache.clear();
    cache.forget();
    assert!(cache.set(&selector("m"), TimeRange::ALL).is_none());
}

/// A store of one metric that counts selections.
struct Counting {
    series: Arc<dyn SeriesSet>,
    selections: std::sync::atomic::AtomicUsize,
}

impl Counting {
    fn new() -> Self {
        Counting { series: Arc::new(GridSeries::single_samples("m", 100, 0, |i| i as f64)), selections: 0.into() }
    }

    /// Evaluates a query at 0 and returns how often it selected series.
    fn selections(&self, query: &str, max_memory_bytes: u64) -> usize {
        let engine = Engine::new(EngineOptions { max_memory_bytes, ..EngineOptions::default() });
        let expr = crate::syntax::parse(query).unwrap();
        let select = |_: &pharos_model::SelectRequest, _: &Arc<Budget>| {
            self.selections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(self.series.clone())
        };
        engine.instant(&select, &expr, 0, &QueryOptions::default()).unwrap();
        self.selections.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn equal_subexpressions_select_once() {
    let store = Counting::new();
    assert_eq!(store.selections("sum(m) + sum(m)", 1 << 30), 1);
    assert_eq!(store.selections("sum(m) + count(m)", 1 << 30), 1);
    assert_eq!(store.selections("sum(m) + sum(m offset 1m)", 1 << 30), 2);
}

#[test]
fn footprints_add_up() {
    let mut total = Footprint { bytes: 1, samples: 2 };
    total.add(Footprint { bytes: 10, samples: 20 });
    assert_eq!(total, Footprint { bytes: 11, samples: 22 });
}

#[test]
fn labels_of_cached_sets_are_shared() {
    let cache = ResultCache::default();
    let set = series(2);
    cache.cache_set(&selector("m"), TimeRange::ALL, &set);
    let found = cache.set(&selector("m"), TimeRange::ALL).unwrap();
    assert!(std::ptr::eq::<[Labels]>(found.labels(), set.labels()));
}
