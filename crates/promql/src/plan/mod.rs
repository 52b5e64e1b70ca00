//! From a syntax tree to a plan: every duration, `@` and offset is a number, every constant is folded, and what does
//! not depend on the step is marked. Rewrites are pure functions from plan to plan.

mod build;
mod duration;
mod fold;
mod height;
mod invariant;
mod node;
mod stats;

pub(crate) use build::check_modifiers;
pub(crate) use height::height;
pub(crate) use invariant::info_reference;
pub use node::{
    Aggregate, Binary, Call, Kind, Node, RangeCall, RangeInput, RangeSelector, Reference, Selector, Subquery,
};

use crate::engine::QueryError;
use crate::parser::ast::Expr;

/// The times of a query, milliseconds. An instant query has one time and step 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanContext {
    /// First step.
    pub start: i64,
    /// No step is later than this.
    pub end: i64,
    /// Distance of steps.
    pub step: i64,
}

/// Plans an expression: resolves, folds, marks.
pub fn build(expr: &Expr, times: &PlanContext) -> Result<Node, QueryError> {
    let node = build::resolve(expr, times)?;
    Ok(invariant::mark(stats::mark(fold::fold(node))))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
