//! Matcher pushdown across joins. Where the series of two sides meet only if they agree on a label, a matcher for that
//! label on one side is added to the other side, so that series without a partner are not read.
//!
//! A side is restricted only where nothing else can change: neither the errors that a join finds (the "one" side must be
//! known to be unique in each match group) nor the annotations of operators on the way (a matcher passes only operators
//! that never annotate).
//!
//! The work is bounded by the size of the plan. Where it would be more, some matchers are not pushed down, which costs
//! time and changes nothing else.

use pharos_model::Matcher;

use super::node::{Aggregate, Binary, Node, RangeInput, Selector};
use super::series_facts::{self, Facts, is_filled, is_matched, met, selects_series};
use crate::syntax::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

/// Work allowed for any plan. Visiting a node or comparing two labels or matchers costs 1, copying a matcher costs its
/// bytes.
const BASE_WORK: usize = 64 << 10;
/// Additional work allowed for each node.
const WORK_PER_NODE: usize = 256;

/// Adds the matchers of each side of a join to the selectors of the other.
pub(super) fn push_down(node: Node) -> Node {
    Pushdown::new(&node).visit(node).0
}

struct Pushdown {
    /// Work that is still allowed.
    work_left: usize,
}

impl Pushdown {
    fn new(node: &Node) -> Self {
        Pushdown { work_left: BASE_WORK.saturating_add(node.size().saturating_mul(WORK_PER_NODE)) }
    }

    fn visit(&mut self, node: Node) -> (Node, Facts) {
        self.spend(1);
        let mut children = Vec::new();
        let mut node = node.map_children(|child| {
            let (child, facts) = self.visit(child);
            children.push(facts);
            child
        });
        if let (Node::Binary(binary), [left, right]) = (&mut node, &children[..]) {
            self.exchange(binary, left, right);
        }
        // The exchange adds nothing to the facts of the operation: they combine those of both sides anyway.
        let facts = series_facts::of_node(&node, children);
        (node, facts)
    }

    /// Restricts each side of an operation by the matchers of the other.
    fn exchange(&mut self, binary: &mut Binary, left: &Facts, right: &Facts) {
        if binary.lhs.is_scalar() || binary.rhs.is_scalar() || is_filled(&binary.matching) {
            return;
        }
        let (to_left, to_right) = match binary.op {
            BinaryOp::And => (true, true),
            BinaryOp::Unless => (false, true),
            BinaryOp::Or => (false, false),
            _ => {
                let swapped = binary.matching.card == Cardinality::OneToMany;
                let (one, facts) = if swapped { (&binary.lhs, left) } else { (&binary.rhs, right) };
                let unique = self.is_unique(one, facts, &binary.matching);
                (unique, unique)
            }
        };
        let (of_left, of_right) = (met(&binary.matching, left), met(&binary.matching, right));
        if to_left {
            self.restrict(&mut binary.lhs, &of_right);
        }
        if to_right {
            self.restrict(&mut binary.rhs, &of_left);
        }
    }

    /// Whether no two series of a side can be in the same match group at the same step.
    fn is_unique(&mut self, side: &Node, facts: &Facts, matching: &VectorMatching) -> bool {
        match side {
            Node::Aggregate(a) => {
                let groups = !a.without && !selects_series(a.op) && a.op != AggregateOp::CountValues;
                groups
                    && self.spend(a.grouping.len().saturating_mul(matching.labels.len()))
                    && a.grouping.iter().all(|label| is_matched(matching, label))
            }
            Node::Negate(inner) => self.is_unique(inner, facts, matching),
            _ => !matching.on && matching.labels.is_empty() && facts.one_metric,
        }
    }

    /// Drops series that do not satisfy `wanted`, as far down the plan as that has no other effect.
    fn restrict(&mut self, node: &mut Node, wanted: &[&Matcher]) {
        if wanted.is_empty() || !self.spend(1) {
            return;
        }
        match node {
            Node::Selector(selector) => self.add(selector, wanted),
            Node::Negate(inner) => self.restrict(inner, wanted),
            Node::Call(call) if call.func.is_by_series() && !call.func.annotates() => {
                call.args.iter_mut().take(1).for_each(|arg| self.restrict(arg, wanted));
            }
            Node::Range(call) if call.func.is_by_series() && !call.func.annotates() => match &mut call.input {
                RangeInput::Selector(matrix) => self.add(&mut matrix.selector, wanted),
                RangeInput::Subquery(subquery) => self.restrict(&mut subquery.expr, wanted),
            },
            Node::Aggregate(a) if matches!(a.op, AggregateOp::Count | AggregateOp::Group) => {
                self.restrict_groups(a, wanted);
            }
            Node::Binary(binary) if binary.op == BinaryOp::And => self.restrict_sides(binary, wanted),
            _ => {}
        }
    }

    /// Drops the groups of an aggregation that do not satisfy `wanted`.
    fn restrict_groups(&mut self, a: &mut Aggregate, wanted: &[&Matcher]) {
        if !self.spend(wanted.len().saturating_mul(a.grouping.len())) {
            return;
        }
        let of_groups = wanted.iter().filter(|m| a.grouping.contains(&m.name) != a.without);
        let of_groups: Vec<&Matcher> = of_groups.copied().collect();
        self.restrict(&mut a.expr, &of_groups);
    }

    /// Drops series of the left side of `and`, and those of the right side that only they could meet.
    fn restrict_sides(&mut self, binary: &mut Binary, wanted: &[&Matcher]) {
        if !self.spend(wanted.len().saturating_mul(binary.matching.labels.len())) {
            return;
        }
        let of_match = wanted.iter().filter(|m| is_matched(&binary.matching, &m.name));
        let of_match: Vec<&Matcher> = of_match.copied().collect();
        self.restrict(&mut binary.lhs, wanted);
        self.restrict(&mut binary.rhs, &of_match);
    }

    fn add(&mut self, selector: &mut Selector, wanted: &[&Matcher]) {
        if selector.anchored || selector.smoothed || !self.spend(wanted.len().saturating_mul(selector.matchers.len())) {
            return;
        }
        for matcher in wanted {
            let bytes = size_of::<Matcher>() + matcher.name.len() + matcher.value.len();
            if !selector.matchers.contains(matcher) && self.spend(bytes) {
                selector.matchers.push((*matcher).clone());
                selector.implied += 1;
            }
        }
    }

    /// Spends some of the allowed work. Returns false, and spends nothing, when less is left.
    fn spend(&mut self, work: usize) -> bool {
        let left = self.work_left.checked_sub(work);
        self.work_left = left.unwrap_or(self.work_left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
