//! When two parts of a plan are equal, and when two selectors read the same samples.
//!
//! Parts are compared by value. Their places in the query may differ, but not the distances within them, so that the
//! places of annotations can be moved from one part to the other. Numbers are compared by their bits: 0 and -0 give
//! different results, and NaN is the same constant as itself.

use pharos_model::Matcher;

use crate::annotations::{self, NOWHERE};
use crate::plan::node::{
    Aggregate, Binary, Call, Node, PrecomputedRef, RangeCall, RangeInput, RangeSelector, Reference, Selector, Subquery,
};
use crate::syntax::ast::VectorMatching;

/// Whether two parts are equal but for their places.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    let distance = (place(b) as isize).wrapping_sub(place(a) as isize);
    Comparison { distance }.nodes(a, b)
}

/// Where a part is in the query: its own place or, where it has none, the place of the first of its parts that has one.
pub(super) fn place(node: &Node) -> usize {
    let own = match node {
        Node::Aggregate(a) => a.pos,
        Node::Selector(s) => s.pos,
        Node::Matrix(m) => m.selector.pos,
        Node::Call(call) => call.pos,
        Node::Binary(b) => b.pos,
        Node::Range(call) => match &call.input {
            RangeInput::Selector(matrix) => matrix.selector.pos,
            RangeInput::Subquery(_) => NOWHERE,
        },
        _ => NOWHERE,
    };
    match own {
        NOWHERE => node.children().into_iter().map(place).find(|pos| *pos != NOWHERE).unwrap_or(NOWHERE),
        own => own,
    }
}

/// Compares a part with another one that is `distance` bytes further on in the query.
///
/// The structs are taken apart field by field, so that a new field cannot be forgotten.
#[derive(Clone, Copy)]
struct Comparison {
    distance: isize,
}

impl Comparison {
    fn places(self, a: usize, b: usize) -> bool {
        annotations::moved(a, self.distance) == b
    }

    fn nodes(self, a: &Node, b: &Node) -> bool {
        match (a, b) {
            (Node::Number(a), Node::Number(b)) => a.to_bits() == b.to_bits(),
            (Node::Text(a), Node::Text(b)) => a == b,
            (Node::Selector(a), Node::Selector(b)) => self.selectors(a, b),
            (Node::Matrix(a), Node::Matrix(b)) => self.range_selectors(a, b),
            (Node::Subquery(a), Node::Subquery(b)) => self.subqueries(a, b),
            (Node::Range(a), Node::Range(b)) => self.range_calls(a, b),
            (Node::Call(a), Node::Call(b)) => self.calls(a, b),
            (Node::Aggregate(a), Node::Aggregate(b)) => self.aggregates(a, b),
            (Node::Binary(a), Node::Binary(b)) => self.binaries(a, b),
            (Node::Negate(a), Node::Negate(b)) | (Node::Invariant(a), Node::Invariant(b)) => self.nodes(a, b),
            (Node::Precomputed(a), Node::Precomputed(b)) => self.precomputed(a, b),
            // Shared parts are never compared: sharing is the last rewrite.
            _ => false,
        }
    }

    fn all(self, a: &[Node], b: &[Node]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.nodes(a, b))
    }

    fn selectors(self, a: &Selector, b: &Selector) -> bool {
        let Selector { matchers, time, anchored, smoothed, stats, implied, readers, pos } = a;
        *time == b.time
            && *anchored == b.anchored
            && *smoothed == b.smoothed
            && *stats == b.stats
            && *implied == b.implied
            && *readers == b.readers
            && self.places(*pos, b.pos)
            && *matchers == b.matchers
    }

    fn range_selectors(self, a: &RangeSelector, b: &RangeSelector) -> bool {
        let RangeSelector { selector, range } = a;
        *range == b.range && self.selectors(selector, &b.selector)
    }

    fn subqueries(self, a: &Subquery, b: &Subquery) -> bool {
        let Subquery { expr, range, step, time } = a;
        *range == b.range && *step == b.step && *time == b.time && self.nodes(expr, &b.expr)
    }

    fn range_calls(self, a: &RangeCall, b: &RangeCall) -> bool {
        let RangeCall { func, input, args, pos } = a;
        let inputs = || match (input, &b.input) {
            (RangeInput::Selector(a), RangeInput::Selector(b)) => self.range_selectors(a, b),
            (RangeInput::Subquery(a), RangeInput::Subquery(b)) => self.subqueries(a, b),
            _ => false,
        };
        *func == b.func && self.places(*pos, b.pos) && inputs() && self.all(args, &b.args)
    }

    fn calls(self, a: &Call, b: &Call) -> bool {
        let Call { func, args, arg_pos, signed, pos } = a;
        *func == b.func
            && *signed == b.signed
            && self.places(*pos, b.pos)
            && arg_pos.len() == b.arg_pos.len()
            && arg_pos.iter().zip(&b.arg_pos).all(|(a, b)| self.places(*a, *b))
            && self.all(args, &b.args)
    }

    fn aggregates(self, a: &Aggregate, b: &Aggregate) -> bool {
        let Aggregate { op, expr, param, grouping, without, pos, expr_pos, param_pos } = a;
        let params = || match (param, &b.param) {
            (None, None) => true,
            (Some(a), Some(other)) => self.places(*param_pos, b.param_pos) && self.nodes(a, other),
            _ => false,
        };
        *op == b.op
            && *without == b.without
            && *grouping == b.grouping
            && self.places(*pos, b.pos)
            && self.places(*expr_pos, b.expr_pos)
            && params()
            && self.nodes(expr, &b.expr)
    }

    fn binaries(self, a: &Binary, b: &Binary) -> bool {
        let Binary { op, lhs, rhs, matching, return_bool, kind, pos } = a;
        *op == b.op
            && *return_bool == b.return_bool
            && *kind == b.kind
            && self.places(*pos, b.pos)
            && same_matching(matching, &b.matching)
            && self.nodes(lhs, &b.lhs)
            && self.nodes(rhs, &b.rhs)
    }

    fn precomputed(self, a: &PrecomputedRef, b: &PrecomputedRef) -> bool {
        let PrecomputedRef { index, pos, is_invariant } = a;
        *index == b.index && *is_invariant == b.is_invariant && self.places(*pos, b.pos)
    }
}

fn same_matching(a: &VectorMatching, b: &VectorMatching) -> bool {
    let VectorMatching { card, labels, on, include, fill_left, fill_right } = a;
    let bits = |value: &Option<f64>| value.map(f64::to_bits);
    *card == b.card
        && *labels == b.labels
        && *on == b.on
        && *include == b.include
        && bits(fill_left) == bits(&b.fill_left)
        && bits(fill_right) == bits(&b.fill_right)
}

/// What a selector reads. Selectors that are evaluated at the same steps read the same samples when this is equal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Sorted: their order does not change which series match.
    matchers: Vec<Matcher>,
    range: Option<i64>,
    time: Reference,
    anchored: bool,
    smoothed: bool,
}

impl Reading {
    /// What a selector reads, with this range if it is a range selector.
    pub(super) fn of(selector: &Selector, range: Option<i64>) -> Self {
        fn key(matcher: &Matcher) -> (&str, &str, &str) {
            (&matcher.name, matcher.op.as_str(), &matcher.value)
        }
        let mut matchers = selector.matchers.clone();
        matchers.sort_by(|a, b| key(a).cmp(&key(b)));
        let Selector { time, anchored, smoothed, .. } = *selector;
        Reading { matchers, range, time, anchored, smoothed }
    }
}
