//! What is known of all series of a node. It is found from the leaves up, so that each node is looked at once however
//! high the plan is.

use pharos_model::{MatchOp, Matcher};

use super::node::{Aggregate, Binary, Node, RangeInput, Selector};
use crate::syntax::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

/// Labels that describe the metric; operators drop and compare them in ways of their own.
const METADATA: [&str; 3] = ["__name__", "__type__", "__unit__"];
/// Most conditions that are remembered of a node: the others are true, too, but what they would save is saved by these.
const MAX_FACTS: usize = 32;

/// What is known of the series of a node.
#[derive(Default)]
pub(super) struct Facts {
    /// Conditions on labels that all of them satisfy.
    pub(super) matchers: Vec<Matcher>,
    /// Whether each of them comes from one of the series of a metric, so that no two have equal labels.
    pub(super) one_name: bool,
}

/// What is known of a node, by what is known of its children.
pub(super) fn of_node(node: &Node, children: Vec<Facts>) -> Facts {
    let mut children = children.into_iter();
    let mut child = || children.next().unwrap_or_default();
    match node {
        Node::Selector(selector) => of_selector(selector),
        Node::Range(call) if call.func.is_by_series() => match &call.input {
            RangeInput::Selector(matrix) => of_selector(&matrix.selector),
            RangeInput::Subquery(_) => child(),
        },
        Node::Negate(_) => child(),
        Node::Call(call) if call.func.is_by_series() => child(),
        Node::Aggregate(a) => of_aggregate(a, child().matchers),
        Node::Binary(binary) => of_binary(binary, child(), child()),
        _ => Facts::default(),
    }
}

/// The conditions that must hold for the other side, too, where series meet.
pub(super) fn met<'f>(matching: &VectorMatching, facts: &'f Facts) -> Vec<&'f Matcher> {
    facts.matchers.iter().filter(|m| is_matched(matching, &m.name)).collect()
}

/// Whether series meet only when they agree on this label.
pub(super) fn is_matched(matching: &VectorMatching, label: &str) -> bool {
    !METADATA.contains(&label) && matching.labels.iter().any(|l| l == label) == matching.on
}

/// Whether series without a partner get one.
pub(super) fn is_filled(matching: &VectorMatching) -> bool {
    matching.fill_left.is_some() || matching.fill_right.is_some()
}

/// Whether an aggregation gives some of its series as they are.
pub(super) fn chooses(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio)
}

fn of_selector(selector: &Selector) -> Facts {
    let of_labels = selector.matchers.iter().filter(|m| !METADATA.contains(&m.name.as_str()));
    let names = |m: &Matcher| m.name == "__name__" && m.op == MatchOp::Equal && !m.value.is_empty();
    Facts { matchers: of_labels.take(MAX_FACTS).cloned().collect(), one_name: selector.matchers.iter().any(names) }
}

fn of_aggregate(a: &Aggregate, mut matchers: Vec<Matcher>) -> Facts {
    let kept = |label: &String| chooses(a.op) || a.grouping.contains(label) != a.without;
    let changed = a.op == AggregateOp::CountValues;
    matchers.retain(|m| !changed && kept(&m.name));
    Facts { matchers, one_name: false }
}

fn of_binary(binary: &Binary, left: Facts, right: Facts) -> Facts {
    let matching = &binary.matching;
    match (binary.lhs.is_scalar(), binary.rhs.is_scalar()) {
        (true, _) => return right,
        (_, true) => return left,
        (false, false) => {}
    }
    let both = |kept: Facts, mut other: Facts| {
        other.matchers.retain(|m| is_matched(matching, &m.name));
        let mut all = kept.matchers;
        all.append(&mut other.matchers);
        all
    };
    let mut all = match binary.op {
        BinaryOp::Or => Vec::new(),
        BinaryOp::Unless => left.matchers,
        BinaryOp::And => both(left, right),
        _ if is_filled(matching) => Vec::new(),
        _ => {
            let swapped = matching.card == Cardinality::OneToMany;
            let (one, many) = if swapped { (left, right) } else { (right, left) };
            // One-to-one results have the labels of the match only.
            let kept = |label: &str| matching.card != Cardinality::OneToOne || is_matched(matching, label);
            let mut all = both(many, one);
            all.retain(|m| kept(&m.name) && !matching.include.contains(&m.name));
            all
        }
    };
    all.sort_by(|a, b| (&a.name, a.op.as_str(), &a.value).cmp(&(&b.name, b.op.as_str(), &b.value)));
    all.dedup();
    all.truncate(MAX_FACTS);
    Facts { matchers: all, one_name: false }
}
