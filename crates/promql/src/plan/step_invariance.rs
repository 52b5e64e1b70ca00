//! Step invariance: the largest parts of a plan whose value is the same at all steps are marked, so that they are
//! evaluated once. Which parts are marked can be observed, and is as in Prometheus.

use super::node::{Call, Node, RangeCall, RangeInput, Reference};
use crate::functions::Function;

/// Marks the largest invariant parts of a plan.
pub(super) fn mark(node: Node) -> Node {
    let (node, found) = visit(node);
    wrap_if(node, found.wrap)
}

/// What a visit found out about a part.
#[derive(Clone, Copy)]
struct Visit {
    /// The value is the same at all steps.
    invariant: bool,
    /// The part is worth marking.
    wrap: bool,
}

const VARIES: Visit = Visit { invariant: false, wrap: false };
const CONSTANT: Visit = Visit { invariant: true, wrap: false };
const INVARIANT: Visit = Visit { invariant: true, wrap: true };

fn wrap_if(node: Node, wrap: bool) -> Node {
    if wrap { Node::Invariant(Box::new(node)) } else { node }
}

fn visit(node: Node) -> (Node, Visit) {
    match node {
        Node::Number(_) | Node::Text(_) => (node, CONSTANT),
        Node::Selector(ref s) => {
            let fixed = s.time.at.is_some();
            (node, Visit { invariant: fixed, wrap: fixed })
        }
        Node::Matrix(ref m) => {
            let fixed = m.selector.time.at.is_some();
            (node, Visit { invariant: fixed, wrap: false })
        }
        Node::Subquery(mut s) => {
            s.expr = mark_subquery(s.expr);
            let fixed = s.time.at.is_some();
            (Node::Subquery(s), Visit { invariant: fixed, wrap: false })
        }
        Node::Range(call) => visit_range(call),
        Node::Call(call) => visit_call(call),
        Node::Aggregate(mut a) => {
            let (expr, found) = visit(a.expr);
            a.expr = expr;
            // As in Prometheus, a parameter that varies does not make the aggregation vary: its first value is used.
            (Node::Aggregate(a), found)
        }
        Node::Binary(mut b) => {
            let ((lhs, left), (rhs, right)) = (visit(b.lhs), visit(b.rhs));
            if left.invariant && right.invariant {
                (b.lhs, b.rhs) = (lhs, rhs);
                return (Node::Binary(b), INVARIANT);
            }
            b.lhs = wrap_if(lhs, left.wrap);
            b.rhs = wrap_if(rhs, right.wrap);
            (Node::Binary(b), VARIES)
        }
        Node::Negate(inner) => {
            let (inner, found) = visit(*inner);
            (Node::Negate(Box::new(inner)), found)
        }
        // Neither exists yet: this rewrite adds the first, and parts are shared after it.
        Node::Invariant(_) | Node::Shared(_) => (node, CONSTANT),
        Node::Precomputed(ref p) => {
            let found = if p.is_invariant { INVARIANT } else { VARIES };
            (node, found)
        }
    }
}

/// Marks the inside of a subquery. It has steps of its own, so whatever surrounds the subquery does not matter.
fn mark_subquery(expr: Node) -> Node {
    let (expr, found) = visit(expr);
    wrap_if(expr, found.wrap)
}

fn visit_range(mut call: Box<RangeCall>) -> (Node, Visit) {
    let fixed = match &mut call.input {
        RangeInput::Selector(s) => s.selector.time.at.is_some(),
        RangeInput::Subquery(s) => {
            s.expr = mark_subquery(std::mem::replace(&mut s.expr, Node::Number(0.0)));
            s.time.at.is_some()
        }
    };
    let visited: Vec<(Node, Visit)> = std::mem::take(&mut call.args).into_iter().map(visit).collect();
    if fixed && call.func.is_step_invariant() && visited.iter().all(|(_, f)| f.invariant) {
        call.args = visited.into_iter().map(|(n, _)| n).collect();
        return (Node::Range(call), INVARIANT);
    }
    call.args = visited.into_iter().map(|(n, f)| wrap_if(n, f.wrap)).collect();
    (Node::Range(call), VARIES)
}

fn visit_call(mut call: Box<Call>) -> (Node, Visit) {
    let func = call.func;
    // The second argument of info() only lists matchers and is never evaluated.
    let evaluated = if func == Function::Info { 1 } else { usize::MAX };
    let uniform = func != Function::Info || call.args.first().is_some_and(|a| info_reference(a).is_some());
    let visited: Vec<(Node, Visit)> = std::mem::take(&mut call.args).into_iter().map(visit).collect();
    let all_invariant = visited.iter().take(evaluated).all(|(_, f)| f.invariant);
    let fixed_timestamp = func == Function::Timestamp
        && !call.signed
        && visited.iter().all(|(n, f)| f.invariant && matches!(n, Node::Selector(_)));
    if all_invariant && (fixed_timestamp || (uniform && func.is_step_invariant())) {
        call.args = visited.into_iter().map(|(n, _)| n).collect();
        return (Node::Call(call), INVARIANT);
    }
    call.args = visited.into_iter().enumerate().map(|(i, (n, f))| wrap_if(n, f.wrap && i < evaluated)).collect();
    (Node::Call(call), VARIES)
}

/// The time that all selectors of a plan look at, if it is the same for all: at that time `info()` looks for its info
/// series.
pub(crate) fn info_reference(node: &Node) -> Option<Reference> {
    let mut found = Vec::new();
    let free = !collect_references(node, Reference::default(), &mut found);
    let first = *found.first()?;
    let same = |a: Reference, b: Reference| match (a.at, b.at) {
        (None, None) => a.offset == b.offset,
        (Some(x), Some(y)) => x - a.offset == y - b.offset,
        _ => false,
    };
    (!free && found.iter().all(|r| same(first, *r))).then_some(first)
}

/// Appends the references of all selectors, seen through the subqueries `around` them. Returns false when a part that
/// yields series reads none.
fn collect_references(node: &Node, around: Reference, found: &mut Vec<Reference>) -> bool {
    let seen = |own: Reference| match own.at {
        Some(_) => own,
        None => Reference { at: around.at, offset: own.offset + around.offset },
    };
    match node {
        Node::Selector(s) => found.push(seen(s.time)),
        Node::Matrix(m) => found.push(seen(m.selector.time)),
        Node::Subquery(s) => return collect_references(&s.expr, seen(s.time), found),
        Node::Range(call) => match &call.input {
            RangeInput::Selector(m) => found.push(seen(m.selector.time)),
            RangeInput::Subquery(s) => return collect_references(&s.expr, seen(s.time), found),
        },
        Node::Call(call) if call.func == Function::Info => return collect_references(&call.args[0], around, found),
        other => {
            let inner: Vec<&Node> =
                other.children().into_iter().filter(|n| !n.is_scalar() && !matches!(n, Node::Text(_))).collect();
            return !inner.is_empty()
                && inner.into_iter().map(|n| collect_references(n, around, found)).filter(|all| !all).count() == 0;
        }
    }
    true
}
