//! From a syntax tree to a plan: every duration, `@` and offset is a number, every constant is folded, and what does
//! not depend on the step is marked. Rewrites are pure functions from plan to plan, whose work is bounded by the size of the
//! plan; between them, the query's budget says whether to go on.

mod build;
mod duration;
mod facts;
mod fold;
mod height;
mod invariant;
mod node;
mod propagate;
mod share;
mod stats;

pub(crate) use build::check_modifiers;
pub(crate) use height::height;
pub(crate) use invariant::info_reference;
pub(crate) use node::MAX_TIME;
pub use node::{
    Aggregate, Binary, Call, Kind, Node, PrecomputedRef, RangeCall, RangeInput, RangeSelector, Reference, Selector,
    SharedNode, Subquery,
};

use pharos_model::Budget;
use pharos_model::fragment::Steps;

use crate::error::QueryError;
use crate::syntax::ast::{Expr, Pos};

/// The plan of an expression as it is written: durations, `@` and offsets resolved, constants folded.
pub fn resolve(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    Ok(fold::fold(build::resolve(expr, &build::Context { times, precomputed: &[] })?))
}

/// Plans an expression: resolves it and applies all rewrites.
pub fn build(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    build_with(expr, times, &[], &Budget::unlimited())
}

/// Plans an expression of which the parts at these places are known already.
pub(crate) fn build_with(expr: &Expr, times: &Steps, precomputed: &[Pos], budget: &Budget) -> Result<Node, QueryError> {
    let node = fold::fold(build::resolve(expr, &build::Context { times, precomputed })?);
    let node = mark(node, budget)?;
    Ok(share::share(node))
}

/// Plans expressions that are evaluated together: what they read is read once.
pub(crate) fn build_together(exprs: &[Expr], times: &Steps, budget: &Budget) -> Result<Vec<Node>, QueryError> {
    let marked: Result<Vec<Node>, QueryError> = exprs.iter().map(|expr| mark(resolve(expr, times)?, budget)).collect();
    Ok(share::share_all(marked?))
}

/// The plan of an expression without the rewrites that only save work, for comparison.
#[cfg(test)]
pub(crate) fn build_plainly(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    Ok(invariant::mark(stats::mark(resolve(expr, times)?)))
}

/// All rewrites that need no other plan, in their order.
fn mark(node: Node, budget: &Budget) -> Result<Node, QueryError> {
    budget.check()?;
    let node = propagate::propagate(node);
    budget.check()?;
    let node = invariant::mark(stats::mark(node));
    budget.check()?;
    Ok(node)
}

#[cfg(test)]
mod tests;
