//! Sorting of instant vectors. The result of a range query is always sorted by labels, so that sorting only warns there.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::text;
use crate::eval::cancellation::{self, CancellationCheck};
use crate::eval::over_time::nan_first;
use crate::eval::row::{Grid, Row};
use crate::eval::shared::Reservation;
use crate::eval::{Eval, Outcome, Sink};
use crate::functions::SortKey;
use crate::plan::Call;

/// `sort`, `sort_desc`, `sort_by_label` and `sort_by_label_desc`.
pub(super) fn evaluate(
    ev: &Eval<'_, '_>,
    call: &Call,
    grid: Grid,
    sink: Sink<'_>,
    key: SortKey,
    descending: bool,
) -> Outcome {
    let names = (1..call.args.len()).map(|i| text(call, i)).collect::<Outcome<Vec<_>>>()?;
    let mut input = ev.collect(&call.args[0], grid)?;
    if !grid.instant {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        ev.note(|n| n.warn(text, call.pos));
    }
    if key == SortKey::Value {
        input.rows.iter_mut().for_each(|row| row.hists.clear());
        input.rows.retain(|row| !row.is_empty());
    }
    if grid.len == 1 {
        let rows = &mut input.rows;
        match key {
            SortKey::Value => {
                cancellation::sort(ev.shared, rows, |a, b| nan_last(a.values[0], b.values[0], descending))?
            }
            SortKey::Labels => sort_by_labels(ev, &names, descending, rows)?,
        }
    }
    ev.hand_on(&mut input.rows, sink)
}

fn nan_last(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => nan_first(&b, &a),
        (false, false) => nan_first(&a, &b),
        (a, b) => a.cmp(&b),
    }
}

/// The work of looking up a label, in samples.
const WORK_OF_LOOK_UP: usize = 64;

/// Sorts by the values of some labels, and by all labels where those are equal.
fn sort_by_labels(ev: &Eval<'_, '_>, names: &[&str], descending: bool, rows: &mut Vec<Row>) -> Outcome {
    let mut reservation = ev.reserve();
    reservation.grow((size_of::<Row>() + size_of::<usize>()) * rows.len(), 0)?;
    let columns = columns(ev, names, rows, &mut reservation)?;
    let by_labels = |a: &usize, b: &usize| {
        let (a, b) = if descending { (*b, *a) } else { (*a, *b) };
        let mut of_columns = columns.iter().map(|column| by_value(column[a], column[b]));
        of_columns.find(|order| order.is_ne()).unwrap_or_else(|| rows[a].labels.cmp(&rows[b].labels))
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    cancellation::sort(ev.shared, &mut order, by_labels)?;
    drop(columns);
    *rows = order.into_iter().map(|at| std::mem::take(&mut rows[at])).collect();
    Ok(())
}

/// The values of labels, one column per label. A label with the same value in all rows has no column.
fn columns<'r>(
    ev: &Eval<'_, '_>,
    names: &[&str],
    rows: &'r [Row],
    reservation: &mut Reservation<'_, '_>,
) -> Outcome<Vec<Vec<&'r str>>> {
    let (mut columns, mut check) = (Vec::new(), CancellationCheck::default());
    let mut known = HashSet::new();
    for name in names.iter().filter(|name| known.insert(**name)) {
        let mut column: Vec<&str> = Vec::with_capacity(rows.len());
        for row in rows {
            check.samples(ev, WORK_OF_LOOK_UP)?;
            column.push(row.labels.get(name).unwrap_or(""));
        }
        if column.iter().any(|value| *value != column[0]) {
            reservation.grow(size_of::<&str>() * rows.len(), 0)?;
            columns.push(column);
        }
    }
    Ok(columns)
}

fn by_value(a: &str, b: &str) -> Ordering {
    if a == b { Ordering::Equal } else { natural(a, b) }
}

/// Orders strings by the value of the numbers in them: `node2` before `node10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (chunks(a), chunks(b));
    loop {
        match (x.next(), y.next()) {
            (None, None) => return a.cmp(b),
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(p), Some(q)) => {
                let order = if is_number(p) && is_number(q) { by_number(p, q) } else { p.cmp(q) };
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

fn is_number(chunk: &str) -> bool {
    chunk.as_bytes()[0].is_ascii_digit()
}

fn by_number(a: &str, b: &str) -> Ordering {
    let (x, y) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    x.len().cmp(&y.len()).then_with(|| x.cmp(y))
}

/// Splits a string into runs of digits and runs of other characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digit = rest.as_bytes().first()?.is_ascii_digit();
        let len = rest.bytes().take_while(|b| b.is_ascii_digit() == digit).count();
        let (chunk, after) = rest.split_at(len);
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_as_numbers() {
        for (a, b) in [("node2", "node10"), ("a", "b"), ("1", "2"), ("", "a"), ("x1y2", "x1y10"), ("1é", "2é")] {
            assert_eq!(natural(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(natural(b, a), Ordering::Greater, "{a} {b}");
        }
        assert_eq!(nan_last(f64::NAN, 1.0, true), Ordering::Greater);
        assert_eq!(nan_last(2.0, 1.0, true), Ordering::Less);
    }
}
