//! The fragments of a query with the time of which each reads samples.

use pharos_model::TimeRange;
use pharos_model::fragment::Steps;

use super::{Decomposition, decompose};
use crate::engine::bounded;
use crate::error::QueryError;
use crate::eval;
use crate::functions::Function;
use crate::plan::{self, Node, RangeInput, Reference, Selector};
use crate::syntax::ast::Expr;

/// A fragment of a query, at the query's times.
#[derive(Clone, Debug)]
pub struct QueryFragment {
    /// What the nodes evaluate and how their answers are combined.
    pub decomposition: Decomposition,
    /// The fragment as it is written in the query.
    pub text: String,
    /// Whether some of its steps may be evaluated in one place and the rest in another.
    pub may_split: bool,
    /// Whether it has the same value at all steps. Such a fragment is evaluated at the first step only.
    pub is_invariant: bool,
    /// The steps at which it is evaluated.
    pub steps: Steps,
    windows: Vec<ReadWindow>,
}

/// The time that a selector reads around a step, milliseconds.
#[derive(Clone, Copy, Debug)]
struct ReadWindow {
    time: Reference,
    before: i64,
    after: i64,
}

impl QueryFragment {
    /// The time of which samples are read for a step: the smallest range that covers all selectors.
    pub fn reads(&self, step: i64) -> TimeRange {
        let all = self.windows.iter().map(|window| {
            let at = window.time.from(step);
            TimeRange::new(at.saturating_sub(window.before), at.saturating_add(window.after))
        });
        let both = |a: TimeRange, b: TimeRange| TimeRange::new(a.start.min(b.start), a.end.max(b.end));
        all.reduce(both).unwrap_or(TimeRange::new(step, step))
    }
}

/// The fragments of a query, from left to right; none when the query does not decompose exactly.
pub fn of_query(expr: &Expr, times: Steps, lookback_ms: i64) -> Result<Vec<QueryFragment>, QueryError> {
    // A selector that reads only counts and sums of histograms is told so by the rest of the query, which a fragment lacks.
    if has_stats_only_selectors(&plan::build(expr, &times)?) || has_info(expr) {
        return Ok(Vec::new());
    }
    let fragment = |decomposition: Decomposition| {
        let node = plan::resolve(&decomposition.whole, &times)?;
        let mut windows = Vec::new();
        collect_windows(&node, lookback_ms, &mut windows);
        let is_invariant = plan::is_invariant(&node);
        Ok(QueryFragment {
            is_invariant,
            steps: bounded(if is_invariant { Steps { end: times.start, step: 0, ..times } } else { times }),
            text: decomposition.whole.to_string(),
            may_split: eval::may_split(&node),
            windows,
            decomposition,
        })
    };
    decompose(expr).into_iter().map(fragment).collect()
}

fn has_stats_only_selectors(node: &Node) -> bool {
    let own = match node {
        Node::Selector(selector) => selector.stats,
        Node::Range(call) => matches!(&call.input, RangeInput::Selector(s) if s.selector.stats),
        _ => false,
    };
    own || node.children().into_iter().any(has_stats_only_selectors)
}

/// Whether the expression calls `info()`, which depends on how its argument is written.
fn has_info(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => call.func == Function::Info || call.args.iter().any(has_info),
        Expr::Aggregate(a) => has_info(&a.expr) || a.param.as_ref().is_some_and(has_info),
        Expr::Binary(b) => has_info(&b.lhs) || has_info(&b.rhs),
        Expr::Paren(p) => has_info(&p.expr),
        Expr::Unary(u) => has_info(&u.expr),
        Expr::Subquery(s) => has_info(&s.expr),
        Expr::Vector(_) | Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => false,
    }
}

fn collect_windows(node: &Node, lookback: i64, found: &mut Vec<ReadWindow>) {
    let window = |selector: &Selector, range: i64| {
        let extended = if selector.anchored || selector.smoothed { lookback } else { 0 };
        let after = if selector.smoothed { lookback } else { 0 };
        ReadWindow { time: selector.time, before: range.saturating_add(extended), after }
    };
    match node {
        Node::Selector(selector) => found.push(window(selector, lookback)),
        Node::Range(call) => {
            if let RangeInput::Selector(matrix) = &call.input {
                found.push(window(&matrix.selector, matrix.range));
            }
        }
        _ => {}
    }
    node.children().into_iter().for_each(|child| collect_windows(child, lookback, found));
}

#[cfg(test)]
mod tests;
