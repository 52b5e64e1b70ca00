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
