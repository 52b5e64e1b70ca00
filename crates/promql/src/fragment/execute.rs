//! Evaluates a fragment of another node's query over the series that this node holds.

use std::sync::Arc;

use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, SelectError};

use super::decompose;
use crate::engine::Engine;
use crate::error::QueryError;
use crate::options::{EngineOptions, QueryOptions};
use crate::querier::Querier;
use crate::syntax::{self, ast::Expr};

impl From<QueryError> for FragmentError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Timeout => SelectError::Timeout(std::time::Duration::ZERO).into(),
            QueryError::Canceled => SelectError::Cancelled.into(),
            QueryError::Storage(reason) => SelectError::Storage(reason).into(),
            QueryError::Damaged(reason) => SelectError::Damaged(reason).into(),
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
            FragmentError::Execution(reason) | FragmentError::Unsupported(reason) => QueryError::Execution(reason),
        }
    }
}

/// Threads that the evaluation of a fragment may use.
const THREADS: usize = 2;
const MAX_EXPRESSIONS: usize = 8;
/// How much of an expression an error quotes.
const MAX_SHOWN_BYTES: usize = 100;

/// Evaluates a fragment over the series of a querier.
///
/// The fragment comes from another node, possibly of another version. It must be one of the fragments that this node finds
/// in the query. Anything else is refused as unsupported, and the querying node falls back to fetching samples.
pub fn evaluate(
    querier: &dyn Querier,
    fragment: &Fragment,
    budget: &Arc<Budget>,
) -> Result<FragmentAnswer, FragmentError> {
    let expressions = find(fragment)?;
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
    Ok(engine.evaluate_expressions(querier, &expressions, fragment.times, fragment.steps, &options)?)
}

/// The expressions of a fragment, with their positions in the query.
fn find(fragment: &Fragment) -> Result<Vec<Expr>, FragmentError> {
    let unsupported = |reason: &str| {
        let expressions: Vec<&str> =
            fragment.expressions.iter().map(|e| e.get(..MAX_SHOWN_BYTES).unwrap_or(e)).collect();
        FragmentError::Unsupported(format!("{reason}: {expressions:?}"))
    };
    let query = syntax::parse(&fragment.query).map_err(|e| unsupported(&e.to_string()))?;
    let is_there = |pos: syntax::ast::Pos| pos.start == fragment.place.start && pos.end == fragment.place.end;
    let found = decompose(&query).into_iter().find(|candidate| is_there(candidate.pos));
    let found = found.ok_or_else(|| unsupported("the query has no fragment at this position"))?;
    if fragment.expressions.is_empty() || fragment.expressions.len() > MAX_EXPRESSIONS {
        let reason = format!("a fragment has 1 to {MAX_EXPRESSIONS} expressions, not {}", fragment.expressions.len());
        return Err(unsupported(&reason));
    }
    let known: Vec<(String, &Expr)> =
        std::iter::once(&found.whole).chain(&found.partials).map(|expr| (expr.to_string(), expr)).collect();
    let find = |text: &String| {
        let found = known.iter().find(|(known, _)| known == text).map(|(_, expr)| Expr::clone(expr));
        found.ok_or_else(|| unsupported("the fragment does not decompose into this expression"))
    };
    fragment.expressions.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use pharos_model::fragment::Steps;

    use super::*;
    use crate::promqltest::{GridSeries, GridStore};

    fn evaluate_expressions(
        query: &str,
        place: std::ops::Range<usize>,
        expressions: &[&str],
    ) -> Result<usize, FragmentError> {
        let steps = Steps { start: 1000, end: 1000, step: 0 };
        let fragment = Fragment {
            query: query.into(),
            place,
            expressions: expressions.iter().map(|e| e.to_string()).collect(),
            times: steps,
            steps,
            lookback_ms: 300_000,
            max_samples: 1000,
            max_series: 0,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            samples_per_step: false,
        };
        let store = GridStore::default().with_metric("x", GridSeries::single_samples("x", 10, 1000, |i| i as f64));
        let answer = evaluate(&store, &fragment, &Arc::new(Budget::unlimited()))?;
        Ok(answer.results.iter().map(|result| result.labels.len()).sum())
    }

    fn refusal(query: &str, place: std::ops::Range<usize>, expressions: &[&str]) -> String {
        match evaluate_expressions(query, place, expressions) {
            Err(FragmentError::Unsupported(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn the_partials_of_a_fragment_are_evaluated() {
        assert_eq!(evaluate_expressions("1 + sum(x)", 4..10, &["sum(x)", "count(x)"]).unwrap(), 2);
        assert_eq!(evaluate_expressions("1 + sum(x)", 4..10, &["sum(x)"]).unwrap(), 1);
    }

    #[test]
    fn a_position_without_a_fragment_is_refused() {
        let reason = refusal("1 + sum(x)", 0..10, &["sum(x)"]);
        assert_eq!(reason, "the query has no fragment at this position: [\"sum(x)\"]");
    }

    #[test]
    fn an_expression_that_is_not_of_the_fragment_is_refused() {
        let reason = refusal("1 + sum(x)", 4..10, &["max(x)"]);
        assert_eq!(reason, "the fragment does not decompose into this expression: [\"max(x)\"]");
    }

    #[test]
    fn a_query_that_does_not_parse_is_refused() {
        assert!(refusal("sum(", 0..4, &["sum(x)"]).contains("parse error"));
    }

    #[test]
    fn too_few_and_too_many_expressions_are_refused() {
        assert!(refusal("sum(x)", 0..6, &[]).starts_with("a fragment has 1 to 8 expressions, not 0"));
        assert!(refusal("sum(x)", 0..6, &["sum(x)"; 9]).starts_with("a fragment has 1 to 8 expressions, not 9"));
    }

    #[test]
    fn limits_of_the_query_apply_to_its_fragments() {
        let steps = Steps { start: 1000, end: 1000, step: 0 };
        let fragment = Fragment {
            query: "abs(x)".into(),
            place: 0..6,
            expressions: vec!["abs(x)".into()],
            times: steps,
            steps,
            lookback_ms: 300_000,
            max_samples: 3,
            max_series: 0,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            samples_per_step: false,
        };
        let store = GridStore::default().with_metric("x", GridSeries::single_samples("x", 10, 1000, |i| i as f64));
        let outcome = evaluate(&store, &fragment, &Arc::new(Budget::unlimited()));
        assert!(matches!(outcome, Err(FragmentError::TooManySamples)), "{outcome:?}");
    }
}
