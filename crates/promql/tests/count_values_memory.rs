//! What `count_values` takes of memory, as the allocator sees it, is what it takes from its budget.

#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pharos_model::{
    Budget, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TimeRange,
};
use pharos_promql::parser::parse;
use pharos_promql::{Engine, EngineOptions, Querier, QueryOptions};

/// The system's allocator, with an account. A buffer that grows is there twice meanwhile.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOUR: i64 = 3_600_000;

/// Series with a value each.
struct Many(Vec<Labels>);

impl SeriesSet for Many {
    fn labels(&self) -> &[Labels] {
        &self.0
    }

    fn fetch(&self, series: Range<usize>, _: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for i in series {
            out.push(SeriesView { t: &[HOUR], v: &[i as f64], ..SeriesView::EMPTY });
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

#[test]
fn memory_is_that_of_the_budget() {
    // A few more than a power of two: buffers that double would be at their worst.
    let labels = (0..1100).map(|i| Labels::from_pairs([("__name__", "m".into()), ("i", format!("{i:07}"))]));
    let source = Source(Arc::new(Many(labels.collect())));
    let engine = Engine::new(EngineOptions { threads: 1, ..EngineOptions::default() });
    let budget = Arc::new(Budget::new(Arc::new(SystemClock::new()), Duration::MAX, 1 << 30));
    let options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let expr = parse("count(count_values(\"v\", m))").unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    engine.range(&source, &expr, HOUR, HOUR + 250_000, 250, &options).unwrap();
    let taken = PEAK.load(Ordering::Relaxed) - before;
    let accounted = usize::try_from(budget.peak_bytes()).unwrap();
    assert!(accounted > 4 * 1100 * 1000, "all counts are accounted for: {accounted}");
    assert!(taken < accounted + accounted / 4 + (1 << 20), "took {taken} bytes, of which {accounted} are accounted");
}
