//! Matchers across joins: where series of two sides meet only when they agree on a label, what is asked of that label on
//! one side is asked on the other side too, so that series that cannot meet are not read.
//!
//! A side is only restricted where nothing else can change by it: neither which errors a join finds (the "one" side
//! must be known to be unique in each match group) nor which annotations operators on the way leave behind (only
//! operators that never annotate are passed).

use pharos_model::Matcher;

use super::node::{Aggregate, Binary, Node, RangeInput, Selector};
use crate::eval::treats_by_series;
use crate::parser::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

/// Labels that describe the metric; operators drop and compare them in ways of their own.
const METADATA: [&str; 3] = ["__name__", "__type__", "__unit__"];

/// Range functions that never annotate.
const QUIET: [&str; 8] = [
    "changes",
    "count_over_time",
    "first_over_time",
    "last_over_time",
    "present_over_time",
    "resets",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
];

/// The same plan with matchers propagated.
pub(super) fn propagate(node: Node) -> Node {
    match node.map_children(propagate) {
        Node::Binary(binary) => Node::Binary(exchange(binary)),
        other => other,
    }
}

/// Restricts the sides of an operation by what is known of each other.
fn exchange(mut binary: Box<Binary>) -> Box<Binary> {
    if binary.lhs.is_scalar() || binary.rhs.is_scalar() || is_filled(&binary.matching) {
        return binary;
    }
    let (to_left, to_right) = match binary.op {
        BinaryOp::And => (true, true),
        BinaryOp::Unless => (false, true),
        BinaryOp::Or => (false, false),
        _ => {
            let one = if binary.matching.card == Cardinality::OneToMany { &binary.lhs } else { &binary.rhs };
            let unique = is_unique(one, &binary.matching);
            (unique, unique)
        }
    };
    let of_match = |side: &Node| -> Vec<Matcher> {
        facts(side).into_iter().filter(|m| is_matched(&binary.matching, &m.name)).cloned().collect()
    };
    let (left, right) = (of_match(&binary.lhs), of_match(&binary.rhs));
    if to_left {
        restrict(&mut binary.lhs, &right);
    }
    if to_right {
        restrict(&mut binary.rhs, &left);
    }
    binary
}

fn is_filled(matching: &VectorMatching) -> bool {
    matching.fill_left.is_some() || matching.fill_right.is_some()
}

/// Whether series meet only when they agree on this label.
fn is_matched(matching: &VectorMatching, label: &str) -> bool {
    !METADATA.contains(&label) && matching.labels.iter().any(|l| l == label) == matching.on
}

/// Whether no two series of a side can be in the same match group at the same step.
fn is_unique(side: &Node, matching: &VectorMatching) -> bool {
    match side {
        Node::Aggregate(a) => {
            let groups = !a.without && !chooses(a.op) && a.op != AggregateOp::CountValues;
            groups && a.grouping.iter().all(|label| is_matched(matching, label))
        }
        Node::Negate(inner) => is_unique(inner, matching),
        other => {
            let all_labels = !matching.on && matching.labels.is_empty();
            all_labels && bottom(other).is_some_and(has_one_name)
        }
    }
}

fn has_one_name(selector: &Selector) -> bool {
    selector
        .matchers
        .iter()
        .any(|m| m.name == "__name__" && m.op == pharos_model::MatchOp::Equal && !m.value.is_empty())
}

/// The selector below functions of which each gives at most one series for one.
fn bottom(node: &Node) -> Option<&Selector> {
    match node {
        Node::Selector(selector) => Some(selector),
        Node::Range(call) if call.func.name != "absent_over_time" => match &call.input {
            RangeInput::Selector(matrix) => Some(&matrix.selector),
            RangeInput::Subquery(subquery) => bottom(&subquery.expr),
        },
        Node::Negate(inner) => bottom(inner),
        Node::Call(call) if treats_by_series(call.func.name) => bottom(&call.args[0]),
        Node::Binary(binary) => match (binary.lhs.is_scalar(), binary.rhs.is_scalar()) {
            (true, false) => bottom(&binary.rhs),
            (false, true) => bottom(&binary.lhs),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an aggregation gives some of its series as they are.
fn chooses(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio)
}

/// Conditions on labels that all series of a node satisfy.
fn facts(node: &Node) -> Vec<&Matcher> {
    if let Some(selector) = bottom(node) {
        return selector.matchers.iter().filter(|m| !METADATA.contains(&m.name.as_str())).collect();
    }
    match node {
        Node::Negate(inner) => facts(inner),
        Node::Range(call) if call.func.name != "absent_over_time" => match &call.input {
            RangeInput::Subquery(subquery) => facts(&subquery.expr),
            RangeInput::Selector(_) => Vec::new(),
        },
        Node::Call(call) if treats_by_series(call.func.name) => facts(&call.args[0]),
        Node::Aggregate(a) => facts_of_aggregate(a),
        Node::Binary(binary) => facts_of_binary(binary),
        _ => Vec::new(),
    }
}

fn facts_of_aggregate(a: &Aggregate) -> Vec<&Matcher> {
    let kept = |label: &String| chooses(a.op) || a.grouping.contains(label) != a.without;
    let changed = a.op == AggregateOp::CountValues;
    facts(&a.expr).into_iter().filter(|m| kept(&m.name) && !changed).collect()
}

fn facts_of_binary(binary: &Binary) -> Vec<&Matcher> {
    let matching = &binary.matching;
    // Each side is looked at once, or the cost would double with each level of a chain.
    fn met<'m>(matching: &VectorMatching, side: Vec<&'m Matcher>) -> Vec<&'m Matcher> {
        side.into_iter().filter(|m| is_matched(matching, &m.name)).collect()
    }
    let mut all = match binary.op {
        _ if binary.lhs.is_scalar() => facts(&binary.rhs),
        _ if binary.rhs.is_scalar() => facts(&binary.lhs),
        BinaryOp::Or => Vec::new(),
        BinaryOp::Unless => facts(&binary.lhs),
        BinaryOp::And => [facts(&binary.lhs), met(matching, facts(&binary.rhs))].concat(),
        _ if is_filled(matching) => Vec::new(),
        _ => {
            let swapped = matching.card == Cardinality::OneToMany;
            let (one, many) = if swapped { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
            // One-to-one results have the labels of the match only.
            let kept = |label: &str| matching.card != Cardinality::OneToOne || is_matched(matching, label);
            let mut all = [facts(many), met(matching, facts(one))].concat();
            all.retain(|m| kept(&m.name) && !matching.include.contains(&m.name));
            all
        }
    };
    all.sort_by(|a, b| (&a.name, a.op.as_str(), &a.value).cmp(&(&b.name, b.op.as_str(), &b.value)));
    all.dedup();
    all
}

/// Leaves out series that do not satisfy `wanted`, as far down as that can be done without another effect.
fn restrict(node: &mut Node, wanted: &[Matcher]) {
    match node {
        Node::Selector(selector) => add(selector, wanted),
        Node::Negate(inner) => restrict(inner, wanted),
        Node::Call(call) if treats_by_series(call.func.name) => restrict(&mut call.args[0], wanted),
        Node::Range(call) if QUIET.contains(&call.func.name) => match &mut call.input {
            RangeInput::Selector(matrix) => add(&mut matrix.selector, wanted),
            RangeInput::Subquery(subquery) => restrict(&mut subquery.expr, wanted),
        },
        Node::Aggregate(a) if matches!(a.op, AggregateOp::Count | AggregateOp::Group) => {
            let of_groups: Vec<Matcher> =
                wanted.iter().filter(|m| a.grouping.contains(&m.name) != a.without).cloned().collect();
            restrict(&mut a.expr, &of_groups);
        }
        Node::Binary(binary) if binary.op == BinaryOp::And => {
            let of_match: Vec<Matcher> =
                wanted.iter().filter(|m| is_matched(&binary.matching, &m.name)).cloned().collect();
            restrict(&mut binary.lhs, wanted);
            restrict(&mut binary.rhs, &of_match);
        }
        _ => {}
    }
}

fn add(selector: &mut Selector, wanted: &[Matcher]) {
    if selector.anchored || selector.smoothed {
        return;
    }
    for matcher in wanted {
        if !selector.matchers.contains(matcher) {
            selector.matchers.push(matcher.clone());
            selector.implied += 1;
        }
    }
}

#[cfg(test)]
#[path = "propagate_tests.rs"]
mod tests;
