//! `count_values`: one series for each distinct value.

use std::fmt::Write;

use pharos_model::LabelsBuilder;

use super::grouping::Groups;
use super::{label_parameter, result_row};
use crate::error::QueryError;
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::Grid;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Aggregate;

/// The work of formatting a value and looking it up, in samples.
const VALUE_WORK: usize = 64;
/// The work of formatting a histogram and looking it up, in samples.
const HISTOGRAM_WORK: usize = 64 * VALUE_WORK;
/// Marks the ranks of groups that begin with a histogram: those of a series come after those of its floats.
const AFTER_FLOATS: u32 = 1 << 31;
/// Bytes of a value's buffer in addition to its counts: its header, which exists twice while the list of buffers grows, and the
/// overhead of the allocator.
const BUFFER_OVERHEAD: usize = 3 * size_of::<Vec<u32>>() + 16;

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
    // One buffer for each value: a single buffer would exist twice whenever it grows.
    let mut counts: Vec<Vec<u32>> = Vec::new();
    let mut reservation = ev.reserve();
    let mut value = String::new();
    let mut check = CancellationCheck::default();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        let series = &row.labels;
        let mut count = |text: &str, (step, rank): (usize, u32), labels: &mut LabelsBuilder| -> Outcome {
            let (group, new) = groups.of(&labels.set(label, text).build(), false);
            if new {
                (groups.first[group], groups.rank[group]) = (series.clone(), rank);
                reservation.grow(groups.bytes_of(group) + BUFFER_OVERHEAD + 4 * grid.len, 1)?;
                counts.push(vec![0; grid.len]);
            }
            counts[group][step] += 1;
            Ok(())
        };
        let mut labels = LabelsBuilder::from_labels(&row.labels);
        for step in row.present.iter() {
            check.samples(ev, VALUE_WORK)?;
            value.clear();
            write_decimal(&mut value, row.values[step]);
            count(&value, (step, step as u32 + 1), &mut labels)?;
        }
        for (step, h) in &row.hists {
            if h.has_custom_buckets() && h.zero_count != 0.0 {
                return Err(QueryError::Execution("a histogram with custom buckets has a zero bucket".into()));
            }
            check.samples(ev, HISTOGRAM_WORK)?;
            count(&h.to_string(), (*step as usize, (*step + 1) | AFTER_FLOATS), &mut labels)?;
        }
        Ok(())
    })?;
    for (group, counts) in counts.into_iter().enumerate() {
        check.row(ev, grid.len)?;
        let mut row = result_row(&groups, group, grid.len);
        for (step, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            row.put(step, f64::from(count));
        }
        sink(&mut row)?;
    }
    Ok(())
}

/// Writes a float without an exponent, in the fewest digits that parse to the same value.
fn write_decimal(out: &mut String, value: f64) {
    let written = if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(out, "{value}")
    };
    debug_assert!(written.is_ok(), "strings take everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_without_exponents() {
        let written = |value: f64| {
            let mut text = String::new();
            write_decimal(&mut text, value);
            text
        };
        assert_eq!(written(1e21), "1000000000000000000000");
        assert_eq!(written(0.1), "0.1");
        assert_eq!(written(-0.0), "-0");
        assert_eq!(written(1e-7), "0.0000001");
        assert_eq!(written(f64::NAN), "NaN");
        assert_eq!(written(f64::INFINITY), "+Inf");
        assert_eq!(written(f64::NEG_INFINITY), "-Inf");
    }
}
