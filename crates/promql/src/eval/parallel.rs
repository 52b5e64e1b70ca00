//! Dividing a heavy selection among threads.
//!
//! A chain is a plan with one selector at its bottom and operators above it that treat each series by itself. Its
//! series can be divided in their order, each part evaluated by a thread, and the results put together in that order.

use super::row::Grid;
use super::window::Frame;
use super::{Eval, Outcome, Part, extended, selector};
use crate::plan::{Node, RangeInput, RangeSelector, Selector};

/// Fewer series than this are not worth a thread.
const MIN_SERIES: usize = 128;
/// Fewer series times steps than this are not worth a thread.
const MIN_WORK: usize = 20_000;

/// The bottom of a chain.
enum Bottom<'n> {
    Instant(&'n Selector),
    Range(&'n RangeSelector),
}

/// Functions that treat each series by itself and that no division can change.
const BY_SERIES: [&str; 27] = [
    "abs",
    "ceil",
    "floor",
    "sqrt",
    "exp",
    "ln",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "rad",
    "deg",
    "sgn",
    "round",
    "clamp",
    "clamp_min",
    "clamp_max",
];

fn bottom(node: &Node) -> Option<Bottom<'_>> {
    let rest_is_constant = |args: &[Node]| args.iter().all(|a| !a.reads_samples());
    match node {
        Node::Selector(selector) => Some(Bottom::Instant(selector)),
        Node::Range(call) if call.func.name != "absent_over_time" && rest_is_constant(&call.args) => {
            match &call.input {
                RangeInput::Selector(selector) => Some(Bottom::Range(selector)),
                RangeInput::Subquery(_) => None,
            }
        }
        Node::Negate(inner) => bottom(inner),
        Node::Call(call) if BY_SERIES.contains(&call.func.name) && rest_is_constant(&call.args[1..]) => {
            bottom(&call.args[0])
        }
        Node::Binary(binary) => match (binary.lhs.is_scalar(), binary.rhs.is_scalar()) {
            (true, false) if !binary.lhs.reads_samples() => bottom(&binary.rhs),
            (false, true) if !binary.rhs.reads_samples() => bottom(&binary.lhs),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a node is a chain that can be divided among threads.
pub(crate) fn may_divide(node: &Node) -> bool {
    bottom(node).is_some()
}

/// The parts in which a chain shall be evaluated, at least one; nothing when the node is no chain, or a part of a
/// selection is being evaluated already.
pub(crate) fn divide(ev: &Eval<'_, '_>, node: &Node, grid: Grid) -> Outcome<Option<Vec<Part>>> {
    if ev.part().is_some() {
        return Ok(None);
    }
    let part = match bottom(node) {
        None => return Ok(None),
        Some(Bottom::Instant(s)) => selector::series(ev, s, selector::time_range(ev, s, grid))?,
        Some(Bottom::Range(s)) => {
            let frame = Frame { grid, time: s.selector.time, range: s.range };
            selector::series(ev, &s.selector, frame.read(ev, extended::Extension::of(&s.selector)))?
        }
    };
    let series = part.series.len();
    let worth = series >= MIN_SERIES && series.saturating_mul(grid.len) >= MIN_WORK || series >= MIN_SERIES * 32;
    let threads = if worth { ev.shared.threads.min(series / (MIN_SERIES / 2)) } else { 1 };
    let bounds = |i: usize| series * i / threads;
    Ok(Some((0..threads).map(|i| Part { set: part.set.clone(), series: bounds(i)..bounds(i + 1) }).collect()))
}

/// Runs `work` for each part, on a thread of its own when there are several; the results are in the parts' order.
/// Annotations of the workers become those of `ev`.
pub(crate) fn each_part<T: Send>(
    ev: &Eval<'_, '_>,
    parts: Vec<Part>,
    work: impl Fn(&Eval<'_, '_>) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let (shared, operator, counts) = (ev.shared, ev.operator.get(), ev.new_counts());
    let run = |part: Part| {
        let worker = Eval::new(shared, Some(part), counts.clone());
        worker.operator.set(operator);
        work(&worker).map(|result| (result, worker.take_notes(), worker.take_counts()))
    };
    let mut parts = parts.into_iter();
    let first = parts.next();
    let outcomes: Vec<Outcome<_>> = std::thread::scope(|scope| {
        let handles: Vec<_> = parts.map(|part| scope.spawn(|| run(part))).collect();
        let mine = first.map(run);
        let joined = handles.into_iter().map(|handle| match handle.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        mine.into_iter().chain(joined).collect()
    });
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let (result, notes, counts) = outcome?;
        ev.note(|n| n.absorb(notes));
        ev.counted(counts);
        results.push(result);
    }
    Ok(results)
}
