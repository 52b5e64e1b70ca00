//! Describes plans for display: a tree of operators with their details and, after a run, their measurements.

use std::fmt::Write;

use pharos_gocompat::GoFloat;
use pharos_model::Matcher;

use crate::eval::{Grid, Tracker, may_divide};
use crate::explanation::PlanNode;
use crate::plan::{Aggregate, Binary, Node, RangeInput, RangeSelector, Reference, Selector, Subquery};
use crate::syntax::ast::{BinaryOp, Cardinality, VectorMatching};

/// Describes a plan. A tracker adds the measurements of the operators that ran.
pub(crate) fn describe(node: &Node, threads: usize, tracker: Option<&Tracker>) -> PlanNode {
    describe_with(node, threads, tracker, &Vec::new())
}

/// Describes a plan some parts of which are evaluated on other nodes.
pub(crate) fn describe_with(
    node: &Node,
    threads: usize,
    tracker: Option<&Tracker>,
    precomputed: &PrecomputedDetails,
) -> PlanNode {
    Describer { precomputed, threads, tracker }.node(node)
}

impl PlanNode {
    /// Adds the number of step ranges, if the evaluator splits the query into more than one.
    pub(crate) fn note_step_ranges(&mut self, slices: &[Grid]) {
        if let [first, _, ..] = slices {
            self.details.push(("slices", format!("{} of about {} steps", slices.len(), first.len)));
        }
    }
}

/// Details of the parts that are evaluated on other nodes, in the order of their [`Node::Precomputed`] indexes.
pub(crate) type PrecomputedDetails = Vec<Vec<(&'static str, String)>>;

struct Describer<'t> {
    precomputed: &'t PrecomputedDetails,
    threads: usize,
    tracker: Option<&'t Tracker>,
}

fn named(operator: &'static str, details: Vec<(&'static str, String)>) -> PlanNode {
    PlanNode { operator, details, ..PlanNode::default() }
}

impl Describer<'_> {
    fn node(&self, node: &Node) -> PlanNode {
        let mut shown = match node {
            Node::Number(value) => named("number", vec![("value", GoFloat(*value).to_string())]),
            Node::Text(text) => named("string", vec![("value", text.clone())]),
            Node::Selector(selector) => of_selector(selector),
            Node::Matrix(matrix) => self.matrix(matrix),
            Node::Subquery(subquery) => self.subquery(subquery),
            Node::Range(call) => {
                let mut shown = named("range function", vec![("function", call.func.name().into())]);
                shown.children.push(match &call.input {
                    RangeInput::Selector(matrix) => self.matrix(matrix),
                    RangeInput::Subquery(subquery) => self.subquery(subquery),
                });
                shown.children.extend(call.args.iter().map(|arg| self.node(arg)));
                shown
            }
            Node::Call(call) => {
                let mut shown = named("function", vec![("function", call.func.name().into())]);
                shown.children.extend(call.args.iter().map(|arg| self.node(arg)));
                shown
            }
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Precomputed(precomputed) => {
                named("pushed down", self.precomputed.get(precomputed.index).cloned().unwrap_or_default())
            }
            Node::Binary(binary) => self.binary(binary),
            Node::Negate(inner) => PlanNode { children: vec![self.node(inner)], ..named("negate", Vec::new()) },
            Node::Shared(shared) => {
                let details = vec![("number", shared.id.to_string()), ("uses", shared.uses.to_string())];
                PlanNode { children: vec![self.node(&shared.expr)], ..named("shared", details) }
            }
            Node::Invariant(inner) => {
                let detail = ("evaluated", "at the first step, repeated for the others".into());
                PlanNode { children: vec![self.node(inner)], ..named("invariant", vec![detail]) }
            }
        };
        shown.actual = self.tracker.and_then(|t| t.of(node));
        shown
    }

    fn matrix(&self, matrix: &RangeSelector) -> PlanNode {
        let mut shown = of_selector(&matrix.selector);
        shown.details.insert(1, ("range", milliseconds(matrix.range)));
        shown.actual = self.tracker.and_then(|t| t.of_selector(&matrix.selector));
        shown
    }

    fn subquery(&self, subquery: &Subquery) -> PlanNode {
        let step = if subquery.step > 0 { milliseconds(subquery.step) } else { "default".into() };
        let mut shown = named("subquery", vec![("range", milliseconds(subquery.range)), ("step", step)]);
        shown.details.extend(of_time(subquery.time));
        shown.children.push(self.node(&subquery.expr));
        shown
    }

    fn aggregate(&self, aggregate: &Aggregate) -> PlanNode {
        let mut shown = named("aggregate", vec![("operation", aggregate.op.as_str().into())]);
        if aggregate.without || !aggregate.grouping.is_empty() {
            shown.details.push((if aggregate.without { "without" } else { "by" }, aggregate.grouping.join(", ")));
        }
        if self.threads > 1 && may_divide(&aggregate.expr) {
            shown.details.push(("threads", format!("up to {}", self.threads)));
        }
        shown.children.push(self.node(&aggregate.expr));
        shown.children.extend(aggregate.param.as_ref().map(|param| self.node(param)));
        shown
    }

    fn binary(&self, binary: &Binary) -> PlanNode {
        let vectors = !binary.lhs.is_scalar() && !binary.rhs.is_scalar();
        let operator = match binary.op {
            _ if !vectors => "arithmetic",
            BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => "set operation",
            _ => "join",
        };
        let bool_modifier = if binary.return_bool { " bool" } else { "" };
        let mut shown = named(operator, vec![("operation", format!("{}{bool_modifier}", binary.op.as_str()))]);
        if vectors {
            shown.details.push(("matching", of_matching(&binary.matching)));
        }
        shown.children = vec![self.node(&binary.lhs), self.node(&binary.rhs)];
        shown
    }
}

fn milliseconds(ms: i64) -> String {
    pharos_gocompat::format_duration(ms)
}

fn of_time(time: Reference) -> Vec<(&'static str, String)> {
    let at = time.at.map(|at| ("at", GoFloat(at as f64 / 1000.0).to_string()));
    let offset = (time.offset != 0).then(|| ("offset", milliseconds(time.offset)));
    at.into_iter().chain(offset).collect()
}

fn of_matchers(matchers: &[Matcher]) -> String {
    let mut text = String::from("{");
    for (index, matcher) in matchers.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // Writing to a `String` never fails.
        let _ = write!(text, "{comma}{matcher}");
    }
    text.push('}');
    text
}

fn of_selector(selector: &Selector) -> PlanNode {
    let mut shown = named("selector", vec![("series", of_matchers(&selector.matchers))]);
    shown.details.extend(of_time(selector.time));
    let modifiers = [(selector.anchored, "anchored"), (selector.smoothed, "smoothed")];
    shown.details.extend(modifiers.into_iter().filter(|(on, _)| *on).map(|(_, name)| ("modifier", name.to_string())));
    let own = selector.matchers.len() - selector.implied.min(selector.matchers.len());
    if selector.implied > 0 {
        shown.pushed.push(("matchers", of_matchers(&selector.matchers[own..])));
    }
    if selector.readers > 1 {
        shown.pushed.push(("samples", format!("read once for {} selectors", selector.readers)));
    }
    if selector.stats {
        shown.pushed.push(("histograms", "count and sum only".into()));
    }
    shown
}

fn of_matching(matching: &VectorMatching) -> String {
    let mut text = match matching.card {
        Cardinality::OneToOne => String::from("one-to-one"),
        Cardinality::ManyToOne => String::from("many-to-one"),
        Cardinality::OneToMany => String::from("one-to-many"),
        Cardinality::ManyToMany => String::from("many-to-many"),
    };
    if matching.on || !matching.labels.is_empty() {
        let word = if matching.on { "on" } else { "ignoring" };
        text.push_str(&format!(" {word} ({})", matching.labels.join(", ")));
    }
    if !matching.include.is_empty() {
        text.push_str(&format!(", with ({}) of the one side", matching.include.join(", ")));
    }
    for (side, value) in [("left", matching.fill_left), ("right", matching.fill_right)] {
        if let Some(value) = value {
            text.push_str(&format!(", {side} filled with {}", GoFloat(value)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
