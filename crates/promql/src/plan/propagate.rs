//! Matchers across joins: where series of two sides meet only when they agree on a label, what is asked of that label on
//! one side is asked on the other side too, so that series that cannot meet are not read.
//!
//! A side is only restricted where nothing else can change by it: neither which errors a join finds (the "one" side
//! must be known to be unique in each match group) nor which annotations operators on the way leave behind (only
//! operators that never annotate are passed).
//!
//! The work is bounded by the size of the plan: nothing is lost but a saving where it would be more.

use pharos_model::Matcher;

use super::facts::{self, Facts, chooses, is_filled, is_matched, met};
use super::node::{Aggregate, Binary, Node, RangeInput, Selector};
use crate::syntax::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

/// Work that may be done in any plan: looking at a node or at a pair of labels or matchers takes 1, a copied matcher takes
/// its bytes.
const ROOM: usize = 64 << 10;
/// The same, for each node more.
const ROOM_OF_NODE: usize = 256;

/// The same plan with matchers propagated.
pub(super) fn propagate(node: Node) -> Node {
    let mut propagation = Propagation::new(&node);
    propagation.visit(node).0
}

/// Matchers on their way through a plan.
struct Propagation {
    /// Work that may still be done.
    room: usize,
}

impl Propagation {
    fn new(node: &Node) -> Self {
        Propagation { room: ROOM.saturating_add(node.size().saturating_mul(ROOM_OF_NODE)) }
    }

    fn visit(&mut self, node: Node) -> (Node, Facts) {
        self.pay(1);
        let mut children = Vec::new();
        let mut node = node.map_children(|child| {
            let (child, facts) = self.visit(child);
            children.push(facts);
            child
        });
        if let (Node::Binary(binary), [left, right]) = (&mut node, &children[..]) {
            self.exchange(binary, left, right);
        }
        // What the sides of an operation have told each other was known of both together already.
        let facts = facts::of_node(&node, children);
        (node, facts)
    }

    /// Restricts the sides of an operation by what is known of each other.
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

    /// Whether it is known that no two series of a side are in the same match group at the same step.
    fn is_unique(&mut self, side: &Node, facts: &Facts, matching: &VectorMatching) -> bool {
        match side {
            Node::Aggregate(a) => {
                let groups = !a.without && !chooses(a.op) && a.op != AggregateOp::CountValues;
                groups
                    && self.pay(a.grouping.len().saturating_mul(matching.labels.len()))
                    && a.grouping.iter().all(|label| is_matched(matching, label))
            }
            Node::Negate(inner) => self.is_unique(inner, facts, matching),
            _ => !matching.on && matching.labels.is_empty() && facts.one_name,
        }
    }

    /// Leaves out series that do not satisfy `wanted`, as far down as that can be done without another effect.
    fn restrict(&mut self, node: &mut Node, wanted: &[&Matcher]) {
        if wanted.is_empty() || !self.pay(1) {
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

    /// Leaves out groups.
    fn restrict_groups(&mut self, a: &mut Aggregate, wanted: &[&Matcher]) {
        if !self.pay(wanted.len().saturating_mul(a.grouping.len())) {
            return;
        }
        let of_groups = wanted.iter().filter(|m| a.grouping.contains(&m.name) != a.without);
        let of_groups: Vec<&Matcher> = of_groups.copied().collect();
        self.restrict(&mut a.expr, &of_groups);
    }

    /// Leaves out series of the left side of `and`, and of the right side what is only there for them.
    fn restrict_sides(&mut self, binary: &mut Binary, wanted: &[&Matcher]) {
        if !self.pay(wanted.len().saturating_mul(binary.matching.labels.len())) {
            return;
        }
        let of_match = wanted.iter().filter(|m| is_matched(&binary.matching, &m.name));
        let of_match: Vec<&Matcher> = of_match.copied().collect();
        self.restrict(&mut binary.lhs, wanted);
        self.restrict(&mut binary.rhs, &of_match);
    }

    fn add(&mut self, selector: &mut Selector, wanted: &[&Matcher]) {
        if selector.anchored || selector.smoothed || !self.pay(wanted.len().saturating_mul(selector.matchers.len())) {
            return;
        }
        for matcher in wanted {
            let bytes = size_of::<Matcher>() + matcher.name.len() + matcher.value.len();
            if !selector.matchers.contains(matcher) && self.pay(bytes) {
                selector.matchers.push((*matcher).clone());
                selector.implied += 1;
            }
        }
    }

    /// Takes from the work that may still be done; false when it would be too much.
    fn pay(&mut self, work: usize) -> bool {
        let left = self.room.checked_sub(work);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }
}

#[cfg(test)]
mod tests;
