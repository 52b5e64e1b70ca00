//! The memory that `count_values` allocates is the memory that it takes from its budget.

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

#[test]
fn count_values_accounts_for_the_memory_that_it_allocates() {
    // Slightly more than a power of two, where a buffer that doubles wastes the most.
    let series = GridSeries::single_samples("m", 1100, HOUR, |i| i as f64);
    let source = GridStore::default().with_metric("m", series);
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let budget = Arc::new(Budget::new(Arc::new(SystemClock::new()), Duration::MAX, 1 << 30));
    let options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let expr = parse("count(count_values(\"v\", m))").unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    engine.range(&source, &expr, HOUR, HOUR + 250_000, 250, &options).unwrap();
    let allocated = PEAK.load(Ordering::Relaxed) - before;
    let accounted = usize::try_from(budget.peak_bytes()).unwrap();
    assert!(accounted > 4 * 1100 * 1000, "the counts are missing from the budget: {accounted}");
    assert!(
        allocated < accounted + accounted / 4 + (1 << 20),
        "{allocated} bytes allocated, {accounted} accounted for"
    );
}
