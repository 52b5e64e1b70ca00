//! Evaluates fragments where the samples are.

use std::sync::Arc;

use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, SelectError};

use super::pushdowns;
use crate::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use crate::parser::{self, ast::Expr};
use crate::querier::Querier;

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

/// Threads that a fragment may use.
const THREADS: usize = 2;
/// Most expressions of a fragment.
const MAX_EXPRESSIONS: usize = 8;

/// Evaluates a fragment over the series of a querier. The fragment comes from another node: it is looked for in the query that
/// it is said to be of, and what is not found there is refused, so that the samples are fetched instead.
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
    Ok(engine.parts(querier, &expressions, fragment.times, fragment.steps, &options)?)
}

/// The expressions of a fragment, with their places in the query.
fn find(fragment: &Fragment) -> Result<Vec<Expr>, FragmentError> {
    let unsupported = |reason: &str| {
        let expressions: Vec<&str> = fragment.expressions.iter().map(|e| e.get(..100).unwrap_or(e)).collect();
        FragmentError::Unsupported(format!("{reason}: {expressions:?}"))
    };
    let query = parser::parse(&fragment.query).map_err(|e| unsupported(&e.to_string()))?;
    let is_here = |pos: parser::ast::Pos| (pos.start, pos.end) == (fragment.place.start, fragment.place.end);
    let found = pushdowns(&query).into_iter().find(|part| is_here(part.pos));
    let part = found.ok_or_else(|| unsupported("no part of the query is there"))?;
    if fragment.expressions.is_empty() || fragment.expressions.len() > MAX_EXPRESSIONS {
        return Err(unsupported("a fragment has one to eight expressions"));
    }
    let known: Vec<(String, &Expr)> =
        std::iter::once(&part.whole).chain(&part.partials).map(|expr| (expr.to_string(), expr)).collect();
    let find = |text: &String| {
        let found = known.iter().find(|(known, _)| known == text).map(|(_, expr)| Expr::clone(expr));
        found.ok_or_else(|| unsupported("the part is not evaluated like this"))
    };
    fragment.expressions.iter().map(find).collect()
}
