//! A number of each native histogram. Floats are dropped.

use pharos_model::Histogram;

use crate::eval::row::Grid;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Call;

/// `histogram_count`, `histogram_stddev` and the like.
pub(super) fn statistic(
    ev: &Eval<'_, '_>,
    call: &Call,
    grid: Grid,
    sink: Sink<'_>,
    of: fn(&Histogram) -> f64,
) -> Outcome {
    ev.vector(&call.args[0], grid, &mut |row| {
        row.present.reset(grid.len);
        row.drop_name = true;
        for (step, h) in std::mem::take(&mut row.hists) {
            row.put(step as usize, of(&h));
        }
        if row.is_empty() { Ok(()) } else { sink(row) }
    })
}
