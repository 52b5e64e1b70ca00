//! Checks for cancellation and for the deadline: rarely enough to be free, and often enough that a query ends within some ten
//! milliseconds after it was cancelled or ran out of time.
//!
//! Reading samples checks once for each batch. An operator that passes on series that it holds must check as well: there may
//! be many operators above, and each may hold all series.

use std::cmp::Ordering;

use super::shared::Shared;
use super::{Eval, Outcome};

/// The work between two checks, in samples.
pub(crate) const CHECK_INTERVAL: usize = 1 << 22;

/// The work of passing on a series or looking up its labels, in samples.
const ROW_WORK: usize = CHECK_INTERVAL / 4096;

/// Counts the work since the last check.
#[derive(Default)]
pub(crate) struct CancellationCheck {
    work: usize,
}

impl CancellationCheck {
    /// Counts work on `samples`, and checks if enough has accumulated.
    #[inline]
    pub(crate) fn samples(&mut self, ev: &Eval<'_, '_>, samples: usize) -> Outcome {
        self.count(ev.shared, samples)
    }

    /// Counts the work of passing on a series over `steps` steps.
    #[inline]
    pub(crate) fn row(&mut self, ev: &Eval<'_, '_>, steps: usize) -> Outcome {
        self.count(ev.shared, ROW_WORK.saturating_add(steps))
    }

    /// Like [`CancellationCheck::row`], for code that runs after the evaluation.
    #[inline]
    pub(crate) fn row_after(&mut self, shared: &Shared<'_>, steps: usize) -> Outcome {
        self.count(shared, ROW_WORK.saturating_add(steps))
    }

    #[inline]
    fn count(&mut self, shared: &Shared<'_>, samples: usize) -> Outcome {
        self.work = self.work.saturating_add(samples).saturating_add(1);
        if self.work > CHECK_INTERVAL {
            self.work = 0;
            shared.check()?;
        }
        Ok(())
    }
}

/// Items that are sorted between two checks.
const SORT_RUN: usize = 1 << 14;
/// How much longer the runs of each pass are than those of the pass before.
const RUN_GROWTH: usize = 4;

/// Like [`slice::sort_by`], stable included, with checks in between: many items are sorted in runs, and longer and longer
/// runs are merged. A stable sort detects runs that are already sorted, so the result is the same.
pub(crate) fn sort<T>(shared: &Shared<'_>, items: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) -> Outcome {
    let mut run = SORT_RUN;
    while run < items.len() {
        for items in items.chunks_mut(run) {
            shared.check()?;
            items.sort_by(&mut order);
        }
        run = run.saturating_mul(RUN_GROWTH);
    }
    items.sort_by(order);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_model::{Budget, SelectError, SelectRequest, SeriesSet};

    use super::*;
    use crate::error::QueryError;
    use crate::options::EngineOptions;
    use crate::querier::Querier;

    struct Nothing;

    impl Querier for Nothing {
        fn select(&self, _: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
            Err(SelectError::Cancelled)
        }
    }

    #[test]
    fn sorting_in_runs_is_stable() {
        let shared = Shared::new(&Nothing, Arc::new(Budget::unlimited()), &EngineOptions::default(), 0, None);
        for len in [0, 1, SORT_RUN, 9 * SORT_RUN + 7] {
            let mut items: Vec<(usize, usize)> = (0..len).map(|i| (i * 7919 % 1009, i)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            assert_eq!(sort(&shared, &mut items, |a, b| a.0.cmp(&b.0)), Ok(()));
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn sorting_ends_when_the_query_is_cancelled() {
        let budget = Arc::new(Budget::unlimited());
        budget.cancel();
        let shared = Shared::new(&Nothing, budget, &EngineOptions::default(), 0, None);
        let mut items: Vec<usize> = (0..=SORT_RUN).rev().collect();
        assert_eq!(sort(&shared, &mut items, usize::cmp), Err(QueryError::Canceled));
    }

    #[test]
    fn rows_are_checked_every_few_thousand() {
        let budget = Arc::new(Budget::unlimited());
        let shared = Shared::new(&Nothing, budget.clone(), &EngineOptions::default(), 0, None);
        budget.cancel();
        let mut check = CancellationCheck::default();
        let rows = (0..).take_while(|_| check.row_after(&shared, 1).is_ok()).count();
        assert!((1000..5000).contains(&rows), "{rows}");
    }

    #[test]
    fn long_rows_are_checked_more_often() {
        let budget = Arc::new(Budget::unlimited());
        let shared = Shared::new(&Nothing, budget.clone(), &EngineOptions::default(), 0, None);
        budget.cancel();
        let rows = |steps: usize| {
            let mut check = CancellationCheck::default();
            (0..).take_while(|_| check.row_after(&shared, steps).is_ok()).count()
        };
        assert!(rows(CHECK_INTERVAL / 10) <= 10);
        assert_eq!(rows(usize::MAX), 0);
    }

    #[test]
    fn a_query_that_may_continue_passes_every_check() {
        let shared = Shared::new(&Nothing, Arc::new(Budget::unlimited()), &EngineOptions::default(), 0, None);
        let mut check = CancellationCheck::default();
        assert!((0..10_000).all(|_| check.row_after(&shared, 1000).is_ok()));
    }
}
