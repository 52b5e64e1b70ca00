//! The memory that a query allocates is the memory that it takes from its budget.

#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pharos_model::{Budget, SystemClock};
use pharos_promql::promqltest::{GridSeries, GridStore};
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, QueryOptions};

/// The system's allocator, which counts. A buffer that is reallocated counts twice for a moment.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards every call to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOUR: i64 = 3_600_000;
/// What a query may allocate besides what it takes from its budget: its plan, buffers of threads, annotations.
const UNCHARGED: usize = 256 << 10;

/// A query, and how many series it is asked about at how many steps.
struct Case {
    query: &'static str,
    series: usize,
    steps: i64,
}

/// The bytes that a query allocates at a time, and those that it takes from its budget.
fn measure(case: &Case) -> (usize, usize) {
    // Slightly more than a power of two, where a buffer that doubles wastes the most.
    let constant = |metric: &str| GridSeries::single_samples(metric, case.series, HOUR, |i| i as f64);
    let source = GridStore::default().with_metric("m", constant("m")).with_metric("n", constant("n"));
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let budget = Arc::new(Budget::new(Arc::new(SystemClock::new()), Duration::MAX, 1 << 30));
    let options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let expr = parse(case.query).unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let output = match case.steps {
        1 => engine.instant(&source, &expr, HOUR, &options),
        steps => engine.range(&source, &expr, HOUR, HOUR + 250 * (steps - 1), 250, &options),
    };
    let allocated = PEAK.load(Ordering::Relaxed) - before;
    drop(output.unwrap());
    (allocated, usize::try_from(budget.peak_bytes()).unwrap())
}

/// One test, because the allocator counts for the whole process.
#[test]
fn a_query_takes_what_it_allocates_from_its_budget() {
    let many_series = |query| Case { query, series: 20_000, steps: 1 };
    let many_steps = |query| Case { query, series: 1100, steps: 1000 };
    let queries = [
        "m",
        "count(count_values(\"v\", m))",
        "m + ignoring(none) n",
        "count(m + on (i) group_left () n)",
        "count(m and on (i) n)",
        "count(m unless on (i) n)",
        "count(m or on (i) n)",
        "count(topk(500, m))",
        "count(topk by (i) (1, m))",
        "count(limitk by (i) (1, m))",
        "count(quantile by (i) (0.5, m))",
        "quantile(0.5, m)",
        "count(sum by (i) (m))",
        "sum by (i) (m)",
        "sort_by_label(m, \"i\")",
        "label_replace(m, \"x\", \"$1\", \"i\", \"(.*)\")",
    ];
    let mut exceeding = Vec::new();
    for case in queries.into_iter().flat_map(|query| [many_series(query), many_steps(query)]) {
        let (allocated, charged) = measure(&case);
        let line = format!("{:5.2} {allocated:>10} {charged:>10} {}", allocated as f64 / charged as f64, case.query);
        println!("{line} over {} series at {} steps", case.series, case.steps);
        if allocated > charged + charged / 20 + UNCHARGED {
            exceeding.push(line);
        }
    }
    assert!(exceeding.is_empty(), "allocated, charged:\n{}", exceeding.join("\n"));
}
