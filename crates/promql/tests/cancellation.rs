//! A query that is out of time ends at once, even when it has read all samples and its operators only pass on what they hold.
//!
//! The clock stands still while samples are read. After the last one it can be read a few more times before the deadline has
//! passed: fewer times than an operator that passes on all series checks, and more often than a query checks at its end.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pharos_model::clock::Sleep;
use pharos_model::{Budget, Clock, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, TimeRange};
use pharos_promql::promqltest::GridSeries;
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, QueryError, QueryOptions};

const HOUR: i64 = 3_600_000;

/// A clock that stands still until all samples are read, and after that for a number of readings.
struct CountdownClock {
    reading: AtomicBool,
    left: AtomicU64,
    /// How often the clock was read after the deadline had passed.
    late: AtomicU64,
}

impl Clock for CountdownClock {
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

    fn sleep_until(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Series that start the countdown when the last of them is read.
struct Countdown {
    series: GridSeries,
    clock: Arc<CountdownClock>,
}

impl SeriesSet for Countdown {
    fn labels(&self) -> &[Labels] {
        self.series.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        if series.end == self.labels().len() {
            self.clock.reading.store(false, Ordering::Relaxed);
        }
        self.series.fetch(series, range, out)
    }
}

/// One batch of 32 series, the others of 512.
const SERIES: usize = 32 + 80 * 512;

/// How a query ended.
struct Ended {
    error: Option<QueryError>,
    /// How often it read the clock after its deadline.
    late: u64,
}

/// Runs a query that may read the clock `left` times after its last sample before its deadline passes.
fn run(query: &str, left: u64) -> Ended {
    let clock = Arc::new(CountdownClock { reading: true.into(), left: left.into(), late: 0.into() });
    let series = GridSeries::single_samples("m", SERIES, HOUR, |i| i as f64);
    let set: Arc<dyn SeriesSet> = Arc::new(Countdown { series, clock: clock.clone() });
    let source = |_: &SelectRequest, _: &Arc<Budget>| Ok(set.clone());
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let budget = Arc::new(Budget::new(clock.clone(), Duration::from_secs(1), 4 << 30));
    let options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let outcome = engine.instant(&source, &parse(query).unwrap(), HOUR, &options);
    let of_result = outcome.as_ref().map_or(0, |output| output.memory_bytes());
    assert_eq!(budget.used_bytes(), of_result, "{query}: memory is not released");
    Ended { error: outcome.err(), late: clock.late.load(Ordering::Relaxed) }
}

#[test]
fn operators_that_pass_on_all_series_check_the_deadline() {
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
        assert_eq!(run(query, u64::MAX).error, None, "{query}");
        assert_eq!(run(query, 3).error, Some(QueryError::Timeout), "{query}");
    }
}

#[test]
fn a_cascade_of_operators_ends_at_once() {
    for (open, close) in [
        ("sum without () (", ")"),
        ("count_values by (i) (\"v\", ", ")"),
        ("quantile by (i) (0.5, ", ")"),
        ("topk(50000, ", ")"),
        ("sort_by_label(", ", \"i\")"),
        ("", " * on (i) m"),
    ] {
        let query = format!("{}m{}", open.repeat(40), close.repeat(40));
        let ended = run(&query, 20);
        assert_eq!(ended.error, Some(QueryError::Timeout), "{query}");
        assert!(ended.late <= 4, "checked {} times after the deadline: {query}", ended.late);
    }
}
