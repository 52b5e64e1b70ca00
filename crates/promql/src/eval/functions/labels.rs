//! `label_replace` and `label_join`, which change labels and no sample.

use std::collections::HashMap;

use pharos_gocompat::GoRegex;
use pharos_model::{Labels, LabelsBuilder, METRIC_NAME};

use super::text;
use crate::error::{QueryError, same_labels};
use crate::eval::bitmap::Bitmap;
use crate::eval::cancellation::{CHECK_INTERVAL, CancellationCheck};
use crate::eval::row::{Grid, Row};
use crate::eval::shared::entry_bytes;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::{Call, Node};

/// `label_replace(v, dst, replacement, src, regex)`
pub(super) fn replace(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let (dst, replacement, src, pattern) = (text(call, 1)?, text(call, 2)?, text(call, 3)?, text(call, 4)?);
    let invalid =
        |what: &str, value: &str| Err(QueryError::Execution(format!("invalid {what} in label_replace(): {value}")));
    let Ok(regex) = GoRegex::anchored(pattern) else { return invalid("regular expression", pattern) };
    if dst.is_empty() {
        return invalid("destination label name", dst);
    }
    let mut value = String::new();
    let groups = replacement.matches('$').count();
    relabel(ev, call, grid, sink, |row| {
        let text = row.labels.get(src).unwrap_or("");
        let Some(captures) = regex.captures(text) else { return Ok(()) };
        check_size(call, replacement.len() + groups.saturating_mul(text.len()), 16 * MAX_LABEL_BYTES)?;
        value.clear();
        regex.expand(replacement, &captures, &mut value);
        set(row, dst, &value);
        Ok(())
    })
}

/// `label_join(v, dst, separator, src…)`
pub(super) fn join(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let (dst, separator) = (text(call, 1)?, text(call, 2)?);
    let sources = (3..call.args.len()).map(|i| text(call, i)).collect::<Outcome<Vec<_>>>()?;
    if let Some(bad) = sources.iter().find(|s| s.is_empty()) {
        return Err(QueryError::Execution(format!("invalid source label name in label_join(): {bad}")));
    }
    if dst.is_empty() {
        return Err(QueryError::Execution(format!("invalid destination label name in label_join(): {dst}")));
    }
    relabel(ev, call, grid, sink, |row| {
        let values: Vec<&str> = sources.iter().map(|s| row.labels.get(s).unwrap_or("")).collect();
        let separators = separator.len().saturating_mul(values.len());
        check_size(call, values.iter().map(|v| v.len()).sum::<usize>().saturating_add(separators), MAX_LABEL_BYTES)?;
        set(row, dst, &values.join(separator));
        Ok(())
    })
}

/// Fails when a label would become larger than allowed.
fn check_size(call: &Call, bytes: usize, most: usize) -> Outcome {
    if bytes <= most {
        return Ok(());
    }
    let name = call.func.name();
    Err(QueryError::Limit(format!("{name}() would make a label of {bytes} bytes, more than {most}")))
}

fn set(row: &mut Row, name: &str, value: &str) {
    row.labels = LabelsBuilder::from_labels(&row.labels).set(name, value).build();
    if name == METRIC_NAME {
        row.drop_name = false;
    }
}

/// The size that the labels of a series may reach, bytes. Nested calls can double it each time.
const MAX_LABEL_BYTES: usize = 1 << 20;

/// How many samples' work it may be to match a regular expression: some are large.
const WORK_OF_CHANGE: usize = CHECK_INTERVAL / 16;

/// Changes the labels of each series. Fails when two series become one.
fn relabel(
    ev: &Eval<'_, '_>,
    call: &Call,
    grid: Grid,
    sink: Sink<'_>,
    mut change: impl FnMut(&mut Row) -> Outcome,
) -> Outcome {
    let mut seen = Seen::default();
    let mut reservation = ev.reserve();
    let mut check = CancellationCheck::default();
    let text = |arg: &Node| if let Node::Text(text) = arg { text.len() } else { 0 };
    let work = WORK_OF_CHANGE.saturating_add(call.args.iter().map(text).sum::<usize>());
    ev.stream(&call.args[0], grid, &mut |row| {
        check.samples(ev, work)?;
        change(row)?;
        let bytes = row.labels.as_bytes().len();
        check.samples(ev, bytes)?;
        check_size(call, bytes, MAX_LABEL_BYTES)?;
        let labels = bytes + 2 * size_of::<usize>();
        reservation.grow(labels + 2 * row.present.bytes() + entry_bytes::<Labels, [Bitmap; 2]>(), 0)?;
        seen.add(row)?;
        sink(row)
    })
}

/// The steps at which each set of labels has floats and histograms.
#[derive(Default)]
pub(crate) struct Seen {
    steps: HashMap<Labels, [Bitmap; 2]>,
}

impl Seen {
    /// Adds a series. Fails when a series with equal labels has a sample of the same kind at the same step.
    pub(crate) fn add(&mut self, row: &Row) -> Outcome {
        let mut hists = Bitmap::new(row.present.len());
        row.hists.iter().for_each(|(step, _)| hists.set(*step as usize));
        let kinds = [row.present.clone(), hists];
        let Some(known) = self.steps.get_mut(&row.labels) else {
            self.steps.insert(row.labels.clone(), kinds);
            return Ok(());
        };
        for (before, steps) in known.iter_mut().zip(&kinds) {
            if before.intersects(steps) {
                return Err(same_labels());
            }
            before.unite(steps);
        }
        Ok(())
    }
}
