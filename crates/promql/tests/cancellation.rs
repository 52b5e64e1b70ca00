//! A query that is out of time ends at once, also when all is read and its operators only hand on what they hold.
//!
//! The clock stands still while samples are read. From the last one on it may be asked a few times, then time is up: fewer times
//! than an operator that hands on all series asks, and more often than a query asks at its end.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pharos_model::{Budget, Clock, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange};
use pharos_promql::parser::parse;
use pharos_promql::{Engine, EngineOptions, Querier, QueryError, QueryOptions};

const HOUR: i64 = 3_600_000;

/// A clock that stands until all is read and it was asked so many times since.
struct Cut {
    reading: AtomicBool,
    left: AtomicU64,
    /// How often it was asked when time was up.
    late: AtomicU64,
}

impl Clock for Cut {
    fn now_ms(&self) -> i64 {
        HOUR
    }

    fn monotonic(&self) -> Duration {
        let less = |left: u64| left.checked_sub(1);
        if self.reading.load(Ordering::Relaxed)
            || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
        {
            return Duration::ZERO;
        }
        self.late.fetch_add(1, Ordering::Relaxed);
        Duration::from_secs(10)
    }
}

/// Series with a value each.
struct Many {
    labels: Vec<Labels>,
    clock: Arc<Cut>,
}

impl SeriesSet for Many {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        if series.end == self.labels.len() {
            self.clock.reading.store(false, Ordering::Relaxed);
        }
        for i in series {
            let view = SeriesView { t: &[HOUR], v: &[i as f64], ..SeriesView::EMPTY };
            out.push(if range.start <= HOUR && HOUR <= range.end { view } else { SeriesView::EMPTY });
        }
        Ok(())
    }
}

struct Source(Arc<Many>);

impl Querier for Source {
    fn select(&self, _: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        Ok(self.0.clone())
    }
}

/// A batch of 32 series and full ones of 512.
const SERIES: usize = 32 + 80 * 512;

/// Runs a query which may ask the clock so many times after its last sample was read: its error, and how often it asked in vain.
fn run(query: &str, left: u64) -> (Option<QueryError>, u64) {
    let labels = (0..SERIES).map(|i| Labels::from_pairs([("__name__", "m".into()), ("i", format!("{i:07}"))]));
    let clock = Arc::new(Cut { reading: true.into(), left: left.into(), late: 0.into() });
    let source = Source(Arc::new(Many { labels: labels.collect(), clock: clock.clone() }));
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let budget = Arc::new(Budget::new(clock.clone(), Duration::from_secs(1), 4 << 30));
    let options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let outcome = engine.instant(&source, &parse(query).unwrap(), HOUR, &options);
    assert_eq!(budget.used_bytes(), 0, "{query}: memory is given back");
    (outcome.err(), clock.late.load(Ordering::Relaxed))
}

#[test]
fn operators_that_hand_on_all_series_ask() {
    for query in [
        "sum without () (m)",
        "quantile by (i) (0.5, m)",
        "count_values(\"v\", m)",
        "topk(50000, m)",
        "sort(m)",
        "sort_desc(m)",
        "sort_by_label(m, \"i\")",
        "label_replace(m, \"x\", \"$1\", \"i\", \"(.*)\")",
        "m * on (i) group_left m",
        "m or m",
    ] {
        assert_eq!(run(query, u64::MAX).0, None, "{query}");
        assert_eq!(run(query, 3).0, Some(QueryError::Timeout), "{query}");
    }
}

#[test]
fn a_cascade_ends_at_once() {
    for (open, close) in [
        ("sum without () (", ")"),
        ("count_values by (i) (\"v\", ", ")"),
        ("quantile by (i) (0.5, ", ")"),
        ("topk(50000, ", ")"),
        ("sort_by_label(", ", \"i\")"),
        ("", " * on (i) m"),
    ] {
        let query = format!("{}m{}", open.repeat(40), close.repeat(40));
        let (error, late) = run(&query, 20);
        assert_eq!(error, Some(QueryError::Timeout), "{query}");
        assert!(late <= 4, "asked {late} times when time was up: {query}");
    }
}
