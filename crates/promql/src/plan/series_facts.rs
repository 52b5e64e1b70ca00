//! Facts about all series that a node yields. They are derived from the leaves up, so that each node is visited once
//! whatever the height of the plan.

use pharos_model::{MatchOp, Matcher};

use super::node::{Aggregate, Binary, Node, RangeInput, Selector};
use crate::syntax::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

/// Labels that describe the metric. Each operator has its own rules for dropping and comparing them.
const METADATA: [&str; 3] = ["__name__", "__type__", "__unit__"];
/// The number of matchers remembered of a node. More would be true, but would hardly exclude more series.
const MAX_MATCHERS: usize = 32;

/// Facts about the series of a node.
#[derive(Default)]
pub(super) struct Facts {
    /// Matchers that every series satisfies.
    pub(super) matchers: Vec<Matcher>,
    /// Whether all series come from one metric, each from another series of it, so that no two have equal labels.
    pub(super) one_metric: bool,
}

/// The facts about a node, given those about its children.
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

/// The matchers that a series of the other side satisfies as well if it meets one of this side.
pub(super) fn met<'f>(matching: &VectorMatching, facts: &'f Facts) -> Vec<&'f Matcher> {
    facts.matchers.iter().filter(|m| is_matched(matching, &m.name)).collect()
}

/// Whether series meet only if they agree on this label.
pub(super) fn is_matched(matching: &VectorMatching, label: &str) -> bool {
    !METADATA.contains(&label) && matching.labels.iter().any(|l| l == label) == matching.on
}

/// Whether series without a partner are filled in.
pub(super) fn is_filled(matching: &VectorMatching) -> bool {
    matching.fill_left.is_some() || matching.fill_right.is_some()
}

/// Whether an aggregation yields some of its input series unchanged.
pub(super) fn selects_series(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio)
}

fn of_selector(selector: &Selector) -> Facts {
    let of_labels = selector.matchers.iter().filter(|m| !METADATA.contains(&m.name.as_str()));
    let names = |m: &Matcher| m.name == "__name__" && m.op == MatchOp::Equal && !m.value.is_empty();
    Facts { matchers: of_labels.take(MAX_MATCHERS).cloned().collect(), one_metric: selector.matchers.iter().any(names) }
}

fn of_aggregate(a: &Aggregate, mut matchers: Vec<Matcher>) -> Facts {
    let kept = |label: &String| selects_series(a.op) || a.grouping.contains(label) != a.without;
    let changed = a.op == AggregateOp::CountValues;
    matchers.retain(|m| !changed && kept(&m.name));
    Facts { matchers, one_metric: false }
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
    all.truncate(MAX_MATCHERS);
    Facts { matchers: all, one_metric: false }
}
