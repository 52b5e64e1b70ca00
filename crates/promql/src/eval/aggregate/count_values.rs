//! `count_values`: a series for each distinct value.

use std::fmt::Write;

use pharos_model::LabelsBuilder;

use super::grouping::Groups;
use super::{label_parameter, result_row};
use crate::error::QueryError;
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::Grid;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Aggregate;

/// How many samples' work it is to print a value and look it up.
const WORK_OF_VALUE: usize = 64;
/// The same for a histogram.
const WORK_OF_HISTOGRAM: usize = 64 * WORK_OF_VALUE;
/// Bytes that a value's buffer of counts takes beside them: what is known of it, once more while the list of all grows to twice its
/// length, and what the allocator adds.
const BYTES_OF_BUFFER: usize = 3 * size_of::<Vec<u32>>() + 16;

/// Evaluates `count_values`.
pub(super) fn evaluate(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
    let label = label_parameter(aggregate)?;
    let mut names = aggregate.grouping.clone();
    if !aggregate.without {
        names.push(label.to_string());
        names.sort_unstable();
        names.dedup();
    }
    let mut groups = Groups::new(&names, aggregate.without);
    // One buffer a value: a single one would be there twice whenever it grows.
    let mut counts: Vec<Vec<u32>> = Vec::new();
    let mut reservation = ev.reserve();
    let mut value = String::new();
    let mut check = CancellationCheck::default();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        let mut count = |text: &str, step: usize, labels: &mut LabelsBuilder| -> Outcome {
            let (group, new) = groups.of(&labels.set(label, text).build(), false);
            if new {
                reservation.grow(groups.bytes_of(group) + BYTES_OF_BUFFER + 4 * grid.len, 1)?;
                counts.push(vec![0; grid.len]);
            }
            counts[group][step] += 1;
            Ok(())
        };
        let mut labels = LabelsBuilder::from_labels(&row.labels);
        for step in row.present.iter() {
            check.samples(ev, WORK_OF_VALUE)?;
            value.clear();
            write_decimal(&mut value, row.values[step]);
            count(&value, step, &mut labels)?;
        }
        for (step, h) in &row.hists {
            if h.has_custom_buckets() && h.zero_count != 0.0 {
                return Err(QueryError::Execution("histograms with custom buckets have no zero bucket".into()));
            }
            check.samples(ev, WORK_OF_HISTOGRAM)?;
            count(&h.to_string(), *step as usize, &mut labels)?;
        }
        Ok(())
    })?;
    for (labels, counts) in groups.labels.iter().zip(counts) {
        check.row(ev, grid.len)?;
        let mut row = result_row(labels, false, grid.len);
        for (step, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            row.put(step, f64::from(count));
        }
        sink(&mut row)?;
    }
    Ok(())
}

/// A float without an exponent, with the fewest digits that read back.
fn write_decimal(out: &mut String, value: f64) {
    let written = if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(out, "{value}")
    };
    debug_assert!(written.is_ok(), "strings take everything");
}
