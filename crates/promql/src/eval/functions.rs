//! Functions without a range vector among their arguments.

mod classic;
mod histograms;
mod info;
mod labels;
mod math;
mod sort;
mod time;

use pharos_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::bitmap::Bitmap;
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::eval::binary::left_first;
use crate::functions::Kernel;
use crate::plan::{Call, Node};

/// Evaluates a function that yields a vector and does not take a range.
pub(crate) fn vector(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    match call.func.kernel() {
        Kernel::Unlabelled => {
            let values = ev.scalar(&call.args[0], grid)?;
            emit_scalar(&values, sink)
        }
        Kernel::Absent => absent(ev, call, grid, sink),
        Kernel::Floats(kernel) => math::floats(ev, call, grid, sink, kernel),
        Kernel::Round => math::round(ev, call, grid, sink),
        Kernel::Clamp { lower, upper } => math::clamp(ev, call, grid, sink, lower, upper),
        Kernel::SampleTime(which) => time::timestamp(ev, call, grid, sink, which),
        Kernel::Calendar(kernel) => time::date(ev, call, grid, sink, kernel),
        Kernel::LabelReplace => labels::replace(ev, call, grid, sink),
        Kernel::LabelJoin => labels::join(ev, call, grid, sink),
        Kernel::Sort { key, descending } => sort::evaluate(ev, call, grid, sink, key, descending),
        Kernel::HistogramStatistic(kernel) => histograms::statistic(ev, call, grid, sink, kernel),
        Kernel::HistogramQuantile => classic::quantile(ev, call, grid, sink),
        Kernel::HistogramQuantiles => classic::quantiles(ev, call, grid, sink),
        Kernel::HistogramFraction => classic::fraction(ev, call, grid, sink),
        Kernel::Info => info::evaluate(ev, call, grid, sink),
        Kernel::Constant(_)
        | Kernel::QueryTime(_)
        | Kernel::StepTime
        | Kernel::Pairwise(_)
        | Kernel::OnlySeries
        | Kernel::AbsentOverTime
        | Kernel::Range(_) => {
            Err(QueryError::Execution(format!("function {:?} does not yield a vector", call.func.name())))
        }
    }
}

/// Does `work` before the vector is evaluated although it comes after the vector in Prometheus. The annotations are
/// returned, to be added after those of the vector; an error of the vector takes precedence over one of `work`.
fn behind_vector<T>(
    ev: &Eval<'_, '_>,
    vector: &Node,
    grid: Grid,
    work: impl FnOnce() -> Outcome<T>,
) -> Outcome<(T, Annotations)> {
    ev.ahead(work).map_err(|error| left_first(ev, vector, grid, error))
}

/// One series without labels.
fn emit_scalar(values: &[f64], sink: Sink<'_>) -> Outcome {
    let mut row = Row::default();
    row.reset(&Labels::empty(), values.len());
    row.values.copy_from_slice(values);
    row.present.fill();
    sink(&mut row)
}

fn absent(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut seen = Bitmap::new(grid.len);
    ev.vector(&call.args[0], grid, &mut |row| {
        seen.unite(&row.occupied());
        Ok(())
    })?;
    let matchers = match &call.args[0] {
        _ if call.signed => &[],
        Node::Selector(s) => &s.matchers[..],
        Node::Invariant(inner) => match &**inner {
            Node::Selector(s) => &s.matchers[..],
            _ => &[],
        },
        _ => &[],
    };
    emit_absent(&seen, matchers, false, grid, sink)
}

/// Yields a series of ones at the steps that are not in `seen`, with the labels that the matchers fix.
pub(crate) fn emit_absent(seen: &Bitmap, matchers: &[Matcher], drop_name: bool, grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut row = Row::default();
    row.reset(&absent_labels(matchers), grid.len);
    row.drop_name = drop_name;
    row.values.fill(1.0);
    row.present.fill();
    row.present.subtract(seen);
    if row.is_empty() { Ok(()) } else { sink(&mut row) }
}

/// The labels that `matchers` fix to a value. As in Prometheus, a label has a value only if its last matcher is its first
/// equality, where matchers that only exclude series come after the others.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::default();
    let needed = |name: &str| matchers.iter().any(|m| m.name == name && !m.matches(""));
    let excludes =
        |m: &Matcher| !needed(&m.name) || matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex) && m.matches("");
    let (last, first): (Vec<&Matcher>, _) = matchers.iter().partition(|m| excludes(m));
    let mut seen: Vec<&str> = Vec::new();
    for matcher in first.into_iter().chain(last).filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

/// A string argument.
fn text(call: &Call, index: usize) -> Outcome<&str> {
    match call.args.get(index) {
        Some(Node::Text(text)) => Ok(text),
        _ => Err(QueryError::Execution(format!("argument {} of {} is not a string", index + 1, call.func.name()))),
    }
}
