//! One number of each native histogram. Floats are left out.

use pharos_model::Histogram;

use crate::eval::row::Grid;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Call;
use crate::quantile;

/// `histogram_count`, `histogram_sum`, `histogram_avg`, `histogram_stddev` and `histogram_stdvar`.
pub(super) fn summary(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let of: fn(&Histogram) -> f64 = match call.func.name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_stddev" => quantile::histogram_stddev,
        _ => quantile::histogram_stdvar,
    };
    ev.vector(&call.args[0], grid, &mut |row| {
        row.present.reset(grid.len);
        row.drop_name = true;
        for (step, h) in std::mem::take(&mut row.hists) {
            row.put(step as usize, of(&h));
        }
        if row.is_empty() { Ok(()) } else { sink(row) }
    })
}
