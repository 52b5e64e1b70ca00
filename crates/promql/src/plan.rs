//! From a syntax tree to a plan.
//!
//! [`resolve`] turns every duration, `@` and offset into a number and folds constants. The rewrites that follow are pure
//! functions from plan to plan:
//!
//! 1. `matcher_pushdown` restricts one side of a join by the matchers of the other;
//! 2. `histogram_parts` drops buckets that nothing reads;
//! 3. `step_invariance` marks what has the same value at all steps;
//! 4. `cse` marks equal parts.
//!
//! Invariants: the work of a rewrite is bounded by the size of the plan, and the query's budget is checked between
//! rewrites. Plans are compared by value.

mod cse;
mod duration;
mod fold;
mod histogram_parts;
mod matcher_pushdown;
mod node;
mod resolve;
mod series_facts;
mod step_invariance;
mod traverse;

pub(crate) use node::MAX_TIME;
pub use node::{
    Aggregate, Binary, Call, Kind, Node, PrecomputedRef, RangeCall, RangeInput, RangeSelector, Reference, Selector,
    SharedNode, Subquery,
};
pub(crate) use resolve::{Place, check_modifiers};
pub(crate) use step_invariance::info_reference;

use pharos_model::Budget;
use pharos_model::fragment::Steps;

use crate::error::QueryError;
use crate::syntax::ast::Expr;

/// The plan of an expression as it is written: durations, `@` and offsets resolved, constants folded.
pub fn resolve(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    resolve_with(expr, times, &[])
}

/// Plans an expression: resolves it and applies all rewrites.
pub fn build(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    build_with(expr, times, &[], &Budget::unlimited())
}

/// Plans an expression whose parts at the given places are precomputed.
pub(crate) fn build_with(
    expr: &Expr,
    times: &Steps,
    precomputed: &[Place],
    budget: &Budget,
) -> Result<Node, QueryError> {
    let node = rewrite(resolve_with(expr, times, precomputed)?, budget)?;
    Ok(cse::share(node))
}

/// Whether an expression has the same value at all steps.
pub(crate) fn is_invariant(node: &Node) -> bool {
    matches!(step_invariance::mark(node.clone()), Node::Invariant(_))
}

/// The plan of an expression without the rewrites that only save work, for comparison.
#[cfg(test)]
pub(crate) fn build_plainly(expr: &Expr, times: &Steps) -> Result<Node, QueryError> {
    Ok(step_invariance::mark(histogram_parts::mark(resolve(expr, times)?)))
}

fn resolve_with(expr: &Expr, times: &Steps, precomputed: &[Place]) -> Result<Node, QueryError> {
    Ok(fold::fold(resolve::resolve(expr, &resolve::Context { times, precomputed })?))
}

/// Applies the rewrites that look at one plan alone.
fn rewrite(node: Node, budget: &Budget) -> Result<Node, QueryError> {
    budget.check()?;
    let node = matcher_pushdown::push_down(node);
    budget.check()?;
    let node = step_invariance::mark(histogram_parts::mark(node));
    budget.check()?;
    Ok(node)
}

#[cfg(test)]
mod tests;
