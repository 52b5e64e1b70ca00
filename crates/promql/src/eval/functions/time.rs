//! Timestamps of samples and calendar functions.

use crate::civil::Moment;
use crate::eval::row::{Grid, Row};
use crate::eval::selector::{self, Field};
use crate::eval::{Eval, Outcome, Sink};
use crate::functions::SampleTime;
use crate::plan::{Call, Node, Selector};

/// `timestamp()` and `start_timestamp()`. The samples of a selector have times of their own; those of any other expression
/// have the time of the step.
pub(super) fn timestamp(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>, which: SampleTime) -> Outcome {
    let starts = which == SampleTime::Start;
    let field = if starts { Field::StartTimestamp } else { Field::Timestamp };
    let mut named = |row: &mut Row| {
        row.drop_name = true;
        sink(row)
    };
    let argument = match &call.args[0] {
        Node::Invariant(inner) if matches!(&**inner, Node::Selector(_)) => inner,
        other => other,
    };
    match argument {
        other if call.signed => of_steps(ev, other, starts, grid, &mut named),
        Node::Selector(_) if starts && !ev.shared.start_timestamps => Ok(()),
        // Smoothing changes values, not their times.
        Node::Selector(s) if s.smoothed => {
            selector::instant(ev, &Selector { smoothed: false, ..s.clone() }, grid, field, &mut named)
        }
        Node::Selector(s) => selector::instant(ev, s, grid, field, &mut named),
        other => of_steps(ev, other, starts, grid, &mut named),
    }
}

/// The times of the steps at which an expression has a value. Computed values have no start time, but their evaluation may
/// annotate or fail, so it is done all the same.
fn of_steps(ev: &Eval<'_, '_>, computed: &Node, starts: bool, grid: Grid, sink: Sink<'_>) -> Outcome {
    if starts {
        return ev.vector(computed, grid, &mut |_| Ok(()));
    }
    ev.vector(computed, grid, &mut |row| {
        row.present = row.occupied();
        row.hists.clear();
        row.values.iter_mut().enumerate().for_each(|(step, v)| *v = grid.time(step) as f64 / 1000.0);
        sink(row)
    })
}

/// Calendar functions, of values in seconds or of the time of the step.
pub(super) fn date(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>, of: fn(Moment) -> i64) -> Outcome {
    let at = |seconds: i64| of(Moment::at_seconds(seconds)) as f64;
    match call.args.first() {
        None => {
            let values: Vec<f64> = (0..grid.len).map(|step| at(grid.time(step) / 1000)).collect();
            super::emit_scalar(&values, sink)
        }
        Some(arg) => super::math::map(ev, arg, grid, sink, |v| at(whole(v))),
    }
}

/// The integer part of a number. As in Prometheus, where processors decide, a number outside the range of 64-bit integers
/// becomes the smallest one.
fn whole(v: f64) -> i64 {
    let fits = (i64::MIN as f64..-(i64::MIN as f64)).contains(&v);
    if fits { v as i64 } else { i64::MIN }
}
