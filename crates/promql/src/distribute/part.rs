//! The parts of a query that may be evaluated elsewhere, what they read, and their values.

use std::sync::Arc;

use pharos_model::fragment::{FragmentResult, Note, Steps};
use pharos_model::{Histogram, SeriesBatch, SeriesView, TimeRange};

use super::{Pushdown, pushdowns};
use crate::engine::QueryError;
use crate::eval::{self, MatrixSeries};
use crate::parser::ast::{Expr, Pos};
use crate::plan::{self, Node, PlanContext, RangeInput, Reference, Selector};

/// A part of a query that may be evaluated elsewhere.
#[derive(Clone, Debug)]
pub struct Part {
    /// What is evaluated there, and how it is put together.
    pub pushdown: Pushdown,
    /// The part as it is written.
    pub text: String,
    /// Whether some of its steps may be evaluated in one place and some in another.
    pub may_split: bool,
    reads: Vec<Reading>,
}

/// What a selector reads for a step.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Reference,
    before: i64,
    after: i64,
}

impl Part {
    /// The time of which samples are read for a step.
    pub fn reads(&self, step: i64) -> TimeRange {
        let all = self.reads.iter().map(|reading| {
            let at = reading.time.from(step);
            TimeRange::new(at.saturating_sub(reading.before), at.saturating_add(reading.after))
        });
        let both = |a: TimeRange, b: TimeRange| TimeRange::new(a.start.min(b.start), a.end.max(b.end));
        all.reduce(both).unwrap_or(TimeRange::new(step, step))
    }
}

/// The parts of a query that may be evaluated elsewhere, from left to right; none when it does not decompose exactly.
pub fn parts(expr: &Expr, times: Steps, lookback_ms: i64) -> Result<Vec<Part>, QueryError> {
    let context = PlanContext { start: times.start, end: times.end, step: times.step };
    // Histograms of which only counts are wanted are read by other rules, which the part does not know by itself.
    if has_slim_selectors(&plan::build(expr, &context)?) || has_info(expr) {
        return Ok(Vec::new());
    }
    let part = |pushdown: Pushdown| {
        let node = plan::resolve(&pushdown.whole, &context)?;
        let mut reads = Vec::new();
        readings(&node, lookback_ms, &mut reads);
        Ok(Part { text: pushdown.whole.to_string(), may_split: eval::may_slice(&node), reads, pushdown })
    };
    pushdowns(expr).into_iter().map(part).collect()
}

fn has_slim_selectors(node: &Node) -> bool {
    let own = match node {
        Node::Selector(selector) => selector.stats,
        Node::Range(call) => matches!(&call.input, RangeInput::Selector(s) if s.selector.stats),
        _ => false,
    };
    own || node.children().into_iter().any(has_slim_selectors)
}

/// Whether `info()` is anywhere: it looks at how its argument is written.
fn has_info(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => call.func.name == "info" || call.args.iter().any(has_info),
        Expr::Aggregate(a) => has_info(&a.expr) || a.param.as_ref().is_some_and(has_info),
        Expr::Binary(b) => has_info(&b.lhs) || has_info(&b.rhs),
        Expr::Paren(p) => has_info(&p.expr),
        Expr::Unary(u) => has_info(&u.expr),
        Expr::Subquery(s) => has_info(&s.expr),
        Expr::Vector(_) | Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => false,
    }
}

fn readings(node: &Node, lookback: i64, found: &mut Vec<Reading>) {
    let reading = |selector: &Selector, range: i64| {
        let extended = if selector.anchored || selector.smoothed { lookback } else { 0 };
        let after = if selector.smoothed { lookback } else { 0 };
        Reading { time: selector.time, before: range.saturating_add(extended), after }
    };
    match node {
        Node::Selector(selector) => found.push(reading(selector, lookback)),
        Node::Range(call) => {
            if let RangeInput::Selector(matrix) = &call.input {
                found.push(reading(&matrix.selector, matrix.range));
            }
        }
        _ => {}
    }
    node.children().into_iter().for_each(|child| readings(child, lookback, found));
}

/// The value of a part over the steps of its query.
#[derive(Clone, Debug, Default)]
pub struct PartValue {
    /// Its series, with their names also where they go away in the end.
    pub series: Vec<MatrixSeries>,
    /// Whether the names go away in the end.
    pub names_go: bool,
    /// What is to be said of the data.
    pub notes: Vec<Note>,
    /// Samples that its steps have looked at.
    pub queryable_samples: u64,
    /// The same by step, if that is counted.
    pub queryable_by_step: Vec<(i64, u64)>,
}

/// A part of a query with its value.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where the part is in the query.
    pub pos: Pos,
    /// Its value.
    pub value: PartValue,
    /// What is shown of it in plans.
    pub details: Vec<(&'static str, String)>,
}

impl PartValue {
    /// About how many bytes it holds.
    pub fn bytes(&self) -> u64 {
        let of = |s: &MatrixSeries| {
            let histograms: usize = s.histograms.iter().map(|(_, h): &(i64, Arc<Histogram>)| 16 + h.bytes()).sum();
            size_of::<MatrixSeries>() + s.labels.as_bytes().len() + 16 * s.floats.len() + histograms
        };
        self.series.iter().map(of).sum::<usize>() as u64
    }

    /// Adds the value at other steps.
    pub fn extend(&mut self, other: PartValue) {
        self.names_go |= other.names_go;
        self.notes.extend(other.notes);
        self.queryable_samples += other.queryable_samples;
        self.queryable_by_step.extend(other.queryable_by_step);
        if self.series.is_empty() {
            self.series = other.series;
            return;
        }
        self.series.extend(other.series);
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.series.dedup_by(|later, kept| {
            let same = later.labels == kept.labels;
            if same {
                kept.floats.append(&mut later.floats);
                kept.histograms.append(&mut later.histograms);
            }
            same
        });
        for series in &mut self.series {
            series.floats.sort_by_key(|(t, _)| *t);
            series.histograms.sort_by_key(|(t, _)| *t);
        }
    }
}

/// Series as they travel.
pub fn to_result(series: Vec<MatrixSeries>, names_go: bool) -> FragmentResult {
    let (mut labels, mut samples) = (Vec::with_capacity(series.len()), SeriesBatch::default());
    for one in series {
        let (t, v): (Vec<i64>, Vec<f64>) = one.floats.into_iter().unzip();
        let (ht, h): (Vec<i64>, Vec<Arc<Histogram>>) = one.histograms.into_iter().unzip();
        samples.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        labels.push(one.labels);
    }
    FragmentResult { labels, samples, names_go }
}

/// Series that have travelled.
pub fn from_result(result: FragmentResult) -> Vec<MatrixSeries> {
    let FragmentResult { labels, samples, .. } = result;
    let series = labels.into_iter().enumerate().map(|(at, labels)| {
        let view = samples.view(at);
        MatrixSeries {
            labels,
            floats: view.t.iter().copied().zip(view.v.iter().copied()).collect(),
            histograms: view.ht.iter().copied().zip(view.h.iter().cloned()).collect(),
        }
    });
    series.collect()
}
