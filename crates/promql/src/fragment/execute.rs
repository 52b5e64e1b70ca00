//! Evaluates a fragment of another node's query over the series that this node holds.

use std::sync::Arc;

use pharos_model::fragment::FragmentForm;
use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, SelectError};

use super::{Decomposition, decompose};
use crate::engine::Engine;
use crate::error::QueryError;
use crate::eval::{FragmentTask, NoValue};
use crate::options::{EngineOptions, QueryOptions};
use crate::querier::Querier;
use crate::syntax;

impl From<QueryError> for FragmentError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Timeout => SelectError::Timeout(std::time::Duration::ZERO).into(),
            QueryError::Canceled => SelectError::Cancelled.into(),
            QueryError::Storage(reason) => SelectError::Storage(reason).into(),
            QueryError::Damaged(reason) => SelectError::Damaged(reason).into(),
            QueryError::Full(full) => SelectError::Full(full).into(),
            QueryError::TooManySamples => FragmentError::TooManySamples,
            QueryError::Limit(reason) => FragmentError::Limit(reason),
            QueryError::Execution(reason) | QueryError::BadData(reason) => FragmentError::Execution(reason),
        }
    }
}

impl From<FragmentError> for QueryError {
    fn from(error: FragmentError) -> Self {
        match error {
            FragmentError::Select(error) => error.into(),
            FragmentError::TooManySamples => QueryError::TooManySamples,
            FragmentError::Limit(reason) => QueryError::Limit(reason),
            FragmentError::Execution(reason) | FragmentError::Inexact(reason) | FragmentError::Unsupported(reason) => {
                QueryError::Execution(reason)
            }
        }
    }
}

/// Threads that the evaluation of a fragment may use.
const THREADS: usize = 2;
/// Maximum length of a fragment in an error, characters.
const MAX_SHOWN: usize = 100;
/// Maximum number of values that a node sends for a fragment that is not an aggregation. If there are more, the caller streams the
/// samples instead.
const MAX_VALUES: usize = 4_000_000;

/// Evaluates a fragment over the series of a querier.
///
/// The fragment comes from another node, possibly of another version. It must be one of the fragments that this node finds
/// in the query. Anything else is refused as unsupported, and the querying node falls back to fetching samples.
pub fn evaluate(
    querier: &dyn Querier,
    fragment: &Fragment,
    budget: &Arc<Budget>,
) -> Result<FragmentAnswer, FragmentError> {
    let found = find(fragment)?;
    let engine = Engine::new(EngineOptions {
        lookback_delta_ms: fragment.lookback_ms,
        max_samples: usize::try_from(fragment.max_samples).unwrap_or(usize::MAX),
        max_series: usize::try_from(fragment.max_series).unwrap_or(usize::MAX),
        type_and_unit_labels: fragment.type_and_unit_labels,
        use_start_timestamps: fragment.use_start_timestamps,
        threads: THREADS,
        ..EngineOptions::default()
    });
    let options = QueryOptions {
        text: fragment.query.clone(),
        budget: Some(budget.clone()),
        samples_per_step: fragment.samples_per_step,
        ..QueryOptions::default()
    };
    let expr = match fragment.form {
        FragmentForm::Whole => &found.whole,
        FragmentForm::Partial => &found.partial,
        FragmentForm::Argument => found.argument().ok_or_else(|| unsupported(fragment, "it aggregates nothing"))?,
    };
    // One process would not hold these values, so the limit on samples applies to them.
    let max_values = MAX_VALUES.min(engine.options().max_samples / 2).max(1);
    let task = FragmentTask { is_partial: fragment.form == FragmentForm::Partial, max_values };
    let times = (fragment.times, fragment.steps);
    engine.evaluate_part(querier, (expr, &[]), times, &options, task)?.map_err(|reason| match reason {
        NoValue::Inexact => FragmentError::Inexact(format!("partial sums of {expr} depend on the order of series")),
        NoValue::TooLarge => unsupported(fragment, &format!("the value has more than {max_values} points")),
    })
}

fn unsupported(fragment: &Fragment, reason: &str) -> FragmentError {
    let text = fragment.query.get(fragment.place.clone()).unwrap_or_default();
    let end = text.char_indices().map(|(at, _)| at).nth(MAX_SHOWN).unwrap_or(text.len());
    FragmentError::Unsupported(format!("{reason}: {:?}", &text[..end]))
}

/// The fragment in its query.
fn find(fragment: &Fragment) -> Result<Decomposition, FragmentError> {
    let query = syntax::parse(&fragment.query).map_err(|e| unsupported(fragment, &e.to_string()))?;
    let is_there = |pos: syntax::ast::Pos| pos.start == fragment.place.start && pos.end == fragment.place.end;
    let found = decompose(&query).into_iter().find(|candidate| is_there(candidate.pos));
    found.ok_or_else(|| unsupported(fragment, "the query has no fragment at this position"))
}

#[cfg(test)]
mod tests {
    use pharos_model::fragment::Steps;

    use super::*;
    use crate::promqltest::{GridSeries, GridStore};

    fn fragment(query: &str, place: std::ops::Range<usize>, form: FragmentForm) -> Fragment {
        let steps = Steps { start: 1000, end: 1000, step: 0 };
        Fragment {
            query: query.into(),
            place,
            form,
            times: steps,
            steps,
            lookback_ms: 300_000,
            max_samples: 1000,
            max_series: 0,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            samples_per_step: false,
        }
    }

    fn answer(fragment: &Fragment) -> Result<FragmentAnswer, FragmentError> {
        let store = GridStore::default().with_metric("x", GridSeries::single_samples("x", 10, 1000, |i| i as f64));
        evaluate(&store, fragment, &Arc::new(Budget::unlimited()))
    }

    fn refusal(fragment: &Fragment) -> String {
        match answer(fragment) {
            Err(FragmentError::Unsupported(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn each_form_of_a_fragment_is_evaluated() {
        let rows = |form| answer(&fragment("1 + sum(x)", 4..10, form)).unwrap().rows;
        let partial = rows(FragmentForm::Partial);
        assert_eq!(partial.len(), 1);
        assert_eq!(partial[0].sum.as_ref().map(|sum| sum.terms.count), Some(10));
        assert!(rows(FragmentForm::Whole)[0].sum.is_none());
        assert_eq!(rows(FragmentForm::Argument).len(), 10);
    }

    #[test]
    fn a_position_without_a_fragment_is_refused() {
        let reason = refusal(&fragment("1 + sum(x)", 0..10, FragmentForm::Whole));
        assert_eq!(reason, "the query has no fragment at this position: \"1 + sum(x)\"");
    }

    #[test]
    fn a_query_that_does_not_parse_is_refused() {
        assert!(refusal(&fragment("sum(", 0..4, FragmentForm::Whole)).contains("parse error"));
    }

    #[test]
    fn a_fragment_that_aggregates_nothing_has_no_argument() {
        assert!(refusal(&fragment("abs(x)", 0..6, FragmentForm::Argument)).starts_with("it aggregates nothing"));
    }

    #[test]
    fn limits_of_the_query_apply_to_its_fragments() {
        let limited = Fragment { max_samples: 3, ..fragment("sum without () (x)", 0..18, FragmentForm::Partial) };
        let outcome = answer(&limited);
        assert!(matches!(outcome, Err(FragmentError::TooManySamples)), "{outcome:?}");
    }

    #[test]
    fn values_beyond_the_limit_on_samples_are_left_to_the_caller() {
        let limited = Fragment { max_samples: 10, ..fragment("avg(x)", 4..5, FragmentForm::Whole) };
        assert_eq!(refusal(&limited), "the value has more than 5 points: \"x\"");
    }
}
