//! Asking now and then whether a query may go on: rarely enough to cost nothing, and often enough that a query which is cancelled, or out
//! of time, ends within some ten milliseconds wherever it is.
//!
//! What reads samples asks for each batch. What hands on series that it holds must ask too: operators above may be many, and each
//! may hold all series.

use std::cmp::Ordering;

use super::shared::Shared;
use super::{Eval, Outcome};

/// Samples that may be looked at before it is asked whether the query may go on.
pub(crate) const UNCHECKED: usize = 1 << 22;

/// How many samples' work it is to hand on a series, or to look up its labels.
const WORK_OF_ROW: usize = UNCHECKED / 4096;

/// Work since it was last asked whether the query may go on.
#[derive(Default)]
pub(crate) struct CancellationCheck {
    spent: usize,
}

impl CancellationCheck {
    /// Counts work on some samples; asks when it has become much.
    #[inline]
    pub(crate) fn spend(&mut self, ev: &Eval<'_, '_>, samples: usize) -> Outcome {
        self.spend_of(ev.shared, samples)
    }

    /// Counts the work on a series of some steps.
    #[inline]
    pub(crate) fn row(&mut self, ev: &Eval<'_, '_>, steps: usize) -> Outcome {
        self.spend_of(ev.shared, WORK_OF_ROW.saturating_add(steps))
    }

    /// The same, where there is no evaluation any more.
    #[inline]
    pub(crate) fn row_of(&mut self, shared: &Shared<'_>, steps: usize) -> Outcome {
        self.spend_of(shared, WORK_OF_ROW.saturating_add(steps))
    }

    #[inline]
    fn spend_of(&mut self, shared: &Shared<'_>, samples: usize) -> Outcome {
        self.spent = self.spent.saturating_add(samples).saturating_add(1);
        if self.spent > UNCHECKED {
            self.spent = 0;
            shared.check()?;
        }
        Ok(())
    }
}

/// Items that are sorted before it is asked whether the query may go on.
const SORTED_AT_ONCE: usize = 1 << 14;
/// How much longer the runs of the next pass are.
const RUNS_MERGED: usize = 4;

/// The same as [`slice::sort_by`], and as stable, but many items are sorted in pieces and these merged (a stable sort finds runs that
/// are sorted already), so that it can be asked in between whether the query may go on.
pub(crate) fn sort<T>(shared: &Shared<'_>, items: &mut [T], mut order: impl FnMut(&T, &T) -> Ordering) -> Outcome {
    let mut piece = SORTED_AT_ONCE;
    while piece < items.len() {
        for some in items.chunks_mut(piece) {
            shared.check()?;
            some.sort_by(&mut order);
        }
        piece = piece.saturating_mul(RUNS_MERGED);
    }
    items.sort_by(order);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_model::{Budget, SelectError, SelectRequest, SeriesSet};

    use super::*;
    use crate::engine::{EngineOptions, QueryError};
    use crate::querier::Querier;

    struct Nothing;

    impl Querier for Nothing {
        fn select(&self, _: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
            Err(SelectError::Cancelled)
        }
    }

    #[test]
    fn sorting_in_pieces_is_stable_and_may_end() {
        let budget = Arc::new(Budget::unlimited());
        let shared = Shared::new(&Nothing, budget.clone(), &EngineOptions::default(), 0, None);
        for len in [0, 1, SORTED_AT_ONCE, 9 * SORTED_AT_ONCE + 7] {
            let mut items: Vec<(usize, usize)> = (0..len).map(|i| (i * 7919 % 1009, i)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            assert_eq!(sort(&shared, &mut items, |a, b| a.0.cmp(&b.0)), Ok(()));
            assert_eq!(items, expected);
        }
        budget.cancel();
        let mut items: Vec<usize> = (0..=SORTED_AT_ONCE).rev().collect();
        assert_eq!(sort(&shared, &mut items, usize::cmp), Err(QueryError::Canceled));
    }

    #[test]
    fn it_is_asked_every_few_thousand_rows() {
        let budget = Arc::new(Budget::unlimited());
        let shared = Shared::new(&Nothing, budget.clone(), &EngineOptions::default(), 0, None);
        budget.cancel();
        let mut check = CancellationCheck::default();
        let rows = (0..).take_while(|_| check.row_of(&shared, 1).is_ok()).count();
        assert!((1000..5000).contains(&rows), "{rows}");
    }
}
