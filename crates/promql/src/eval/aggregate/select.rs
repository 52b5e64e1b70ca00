//! `topk`, `bottomk`, `limitk` and `limit_ratio`: aggregations that select series.

use pharos_gocompat::GoFloat;
use pharos_model::Labels;
use xxhash_rust::xxh64::xxh64;

use super::grouping::Groups;
use super::{note_ignored, parameter};
use crate::error::QueryError;
use crate::eval::cancellation::{self, CancellationCheck};
use crate::eval::row::{Grid, Row};
use crate::eval::vector_matching::prometheus_bytes;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Aggregate;
use crate::syntax::ast::AggregateOp;

/// Evaluates an aggregation that selects series.
pub(super) fn evaluate(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
    let parameter = parameter(ev, aggregate, grid)?;
    match aggregate.op {
        AggregateOp::LimitRatio => limit_ratio(ev, aggregate, parameter, grid, sink),
        _ => {
            let k = match counts(&parameter) {
                Ok(Some(k)) => k,
                nothing => return ignored(ev, aggregate, grid, nothing.map(drop)),
            };
            match aggregate.op {
                AggregateOp::Limitk => limitk(ev, aggregate, &k, grid, sink),
                op => extremes(ev, aggregate, &k, op == AggregateOp::Topk, grid, sink),
            }
        }
    }
}

/// Evaluates the series only for their errors and annotations, which take precedence over `outcome`.
fn ignored(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, outcome: Outcome) -> Outcome {
    ev.vector(&aggregate.expr, grid, &mut |_| Ok(()))?;
    outcome
}

/// The number of series to select at each step; `None` when no step selects any.
fn counts(parameter: &[f64]) -> Outcome<Option<Vec<usize>>> {
    let fail = |reason: String| Err(QueryError::Execution(reason));
    if !parameter.iter().any(|k| *k >= 1.0 || k.is_nan()) {
        return Ok(None);
    }
    if parameter.iter().any(|k| k.is_nan()) {
        return fail("Parameter value is NaN".into());
    }
    for k in parameter {
        if *k <= i64::MIN as f64 {
            return fail(format!("Scalar value {} underflows int64", GoFloat(*k)));
        }
        if *k >= i64::MAX as f64 {
            return fail(format!("Scalar value {} overflows int64", GoFloat(*k)));
        }
    }
    Ok(Some(parameter.iter().map(|k| *k as usize).collect()))
}

/// Selects the first `k` series of each group.
fn limitk(ev: &Eval<'_, '_>, aggregate: &Aggregate, k: &[usize], grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut groups = Groups::new(&aggregate.grouping, aggregate.without);
    let mut taken: Vec<usize> = Vec::new();
    let mut reservation = ev.reserve();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        let (group, new) = groups.of(&row.labels, row.drop_name);
        if new {
            reservation.grow(groups.bytes_of(group), 0)?;
            reservation.resize(&mut taken, groups.len() * grid.len, 0)?;
        }
        let mut chosen = row.occupied();
        for step in row.occupied().iter() {
            let taken = &mut taken[group * grid.len + step];
            if *taken < k[step] {
                *taken += 1;
            } else {
                chosen.unset(step);
            }
        }
        row.mask(&chosen);
        if row.is_empty() { Ok(()) } else { sink(row) }
    })
}

/// Selects the series whose hash lies in a fraction of the hash space.
fn limit_ratio(ev: &Eval<'_, '_>, aggregate: &Aggregate, ratio: Vec<f64>, grid: Grid, sink: Sink<'_>) -> Outcome {
    if ratio.iter().all(|r| *r == 0.0) {
        return ignored(ev, aggregate, grid, Ok(()));
    }
    if ratio.iter().any(|r| r.is_nan()) {
        return ignored(ev, aggregate, grid, Err(QueryError::Execution("Ratio value is NaN".into())));
    }
    let mut bytes = Vec::new();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        prometheus_bytes(&row.labels, &mut bytes);
        let offset = xxh64(&bytes, 0) as f64 / u64::MAX as f64;
        let mut chosen = row.occupied();
        for (step, ratio) in ratio.iter().enumerate() {
            let ratio = ratio.clamp(-1.0, 1.0);
            let within = if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio };
            if !within {
                chosen.unset(step);
            }
        }
        row.mask(&chosen);
        if row.is_empty() { Ok(()) } else { sink(row) }
    })?;
    let (low, high) = ratio.iter().fold((0.0f64, 0.0f64), |(l, h), r| (l.min(*r), h.max(*r)));
    for (value, bound) in [(high, 1.0), (low, -1.0)] {
        if value.abs() > 1.0 {
            let (got, to) = (GoFloat(value), GoFloat(bound));
            let text = format!("ratio value should be between -1 and 1, got {got}, capping to {to}");
            ev.note(|n| n.warn(text, aggregate.param_pos));
        }
    }
    Ok(())
}

/// The series that were among the best at some step so far.
#[derive(Default)]
struct Candidates {
    /// Their labels, and whether they drop the name.
    labels: Vec<(Labels, bool)>,
}

/// `topk` and `bottomk`: one heap for each group and step, with the value to beat on top.
fn extremes(ev: &Eval<'_, '_>, aggregate: &Aggregate, k: &[usize], top: bool, grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut groups = Groups::new(&aggregate.grouping, aggregate.without);
    let mut heaps: Vec<Heap> = Vec::new();
    let mut candidates = Candidates::default();
    let mut reservation = ev.reserve();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        if !row.hists.is_empty() {
            note_ignored(ev, if top { "topk" } else { "bottomk" }, aggregate.pos);
        }
        // An ignored series counts, too, for the order of the groups.
        let (group, new) = groups.of(&row.labels, row.drop_name);
        if new {
            reservation.grow(groups.bytes_of(group), 0)?;
            reservation.make_room(&mut heaps, groups.len() * grid.len)?;
            heaps.resize_with(groups.len() * grid.len, Heap::default);
        }
        let series = candidates.labels.len();
        let mut chosen = false;
        let (mut grown, mut added) = (0, 0);
        for step in row.present.iter() {
            let heap = &mut heaps[group * grid.len + step];
            let (room, before) = (heap.entries.capacity(), heap.entries.len());
            chosen |= heap.offer(row.values[step], series, k[step], top);
            grown += heap.entries.capacity() - room;
            added += heap.entries.len() - before;
        }
        if chosen {
            reservation.grow(row.labels.as_bytes().len() + size_of::<Entry>() * grown, added)?;
            reservation.push(&mut candidates.labels, (row.labels.clone(), row.drop_name))?;
        }
        Ok(())
    })?;
    let mut check = CancellationCheck::default();
    for (heaps, first) in heaps.chunks_mut(grid.len).zip(&groups.first) {
        check.row(ev, grid.len)?;
        if ev.shared.keeps_empty_groups && heaps.iter().all(|heap| heap.entries.is_empty()) {
            let mut row = Row::default();
            row.reset(first, grid.len);
            row.first = Some(first.clone());
            sink(&mut row)?;
        }
        emit_group(ev, heaps, &candidates, top, grid, &mut |row| {
            check.row(ev, grid.len)?;
            row.first = Some(first.clone());
            sink(row)
        })?;
    }
    Ok(())
}

/// Passes the selected series of a group to `sink`; at a single step, in the order of their values.
fn emit_group(
    ev: &Eval<'_, '_>,
    heaps: &mut [Heap],
    candidates: &Candidates,
    top: bool,
    grid: Grid,
    sink: Sink<'_>,
) -> Outcome {
    let mut reservation = ev.reserve();
    let mut chosen: Vec<(usize, u32, f64)> = Vec::new();
    reservation.make_room(&mut chosen, heaps.iter().map(|heap| heap.entries.len()).sum())?;
    let mut check = CancellationCheck::default();
    for (step, heap) in heaps.iter_mut().enumerate() {
        let mut entries = std::mem::take(&mut heap.entries);
        check.samples(ev, entries.len())?;
        if grid.len == 1 {
            // The best first; NaN last.
            let order = |a: f64, b: f64| if top { Heap::order(b, a) } else { Heap::order(a, b) };
            cancellation::sort(ev.shared, &mut entries, |a, b| order(a.0, b.0))?;
            let nan = entries.iter().position(|e| !e.0.is_nan()).unwrap_or(0);
            entries.rotate_left(nan);
        }
        chosen.extend(entries.into_iter().map(|(value, series)| (series, step as u32, value)));
    }
    if grid.len > 1 {
        cancellation::sort(ev.shared, &mut chosen, |a, b| (a.0, a.1).cmp(&(b.0, b.1)))?;
    }
    let mut row = Row::default();
    for of_series in chosen.chunk_by(|a, b| a.0 == b.0) {
        let (labels, drop_name) = &candidates.labels[of_series[0].0];
        row.reset(labels, grid.len);
        row.drop_name = *drop_name;
        of_series.iter().for_each(|(_, step, value)| row.put(*step as usize, *value));
        sink(&mut row)?;
    }
    Ok(())
}

/// A bounded binary heap of values and their series. It sifts like Go's `container/heap`, so that of equal values the same
/// series remain.
#[derive(Default)]
struct Heap {
    entries: Vec<Entry>,
}

/// A value and its series.
type Entry = (f64, usize);

impl Heap {
    fn order(a: f64, b: f64) -> std::cmp::Ordering {
        crate::eval::over_time::nan_first(&a, &b)
    }

    /// Whether `a` is easier to beat than `b`.
    fn less(a: f64, b: f64, top: bool) -> bool {
        a.is_nan() || if top { a < b } else { a > b }
    }

    /// Offers a value and returns whether it is among the best now.
    #[inline]
    fn offer(&mut self, value: f64, series: usize, k: usize, top: bool) -> bool {
        if self.entries.len() < k {
            if self.entries.len() == self.entries.capacity() {
                // No more than `k` are ever needed.
                let more = self.entries.len().max(1).min(k - self.entries.len());
                self.entries.reserve_exact(more);
            }
            self.entries.push((value, series));
            self.up(top);
            return true;
        }
        let Some(worst) = self.entries.first() else { return false };
        let better = if top { worst.0 < value } else { worst.0 > value };
        let replaces_nan = worst.0.is_nan() && !value.is_nan();
        if !(better || replaces_nan) {
            return false;
        }
        self.entries[0] = (value, series);
        self.down(top);
        true
    }

    fn up(&mut self, top: bool) {
        let mut at = self.entries.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !Self::less(self.entries[at].0, self.entries[parent].0, top) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self, top: bool) {
        let e = &mut self.entries;
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= e.len() {
                break;
            }
            if child + 1 < e.len() && Self::less(e[child + 1].0, e[child].0, top) {
                child += 1;
            }
            if !Self::less(e[child].0, e[at].0, top) {
                break;
            }
            e.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that remain of `values` in a heap of three, ascending.
    fn best(values: &[f64], top: bool) -> Vec<f64> {
        let mut heap = Heap::default();
        for (series, value) in values.iter().enumerate() {
            heap.offer(*value, series, 3, top);
        }
        let mut best: Vec<f64> = heap.entries.iter().map(|entry| entry.0).collect();
        best.sort_by(f64::total_cmp);
        best
    }

    #[test]
    fn a_heap_keeps_the_largest_or_the_smallest() {
        let values = [5.0, 3.0, 1.0, 4.0, 2.0, 9.0];
        assert_eq!(best(&values, true), [4.0, 5.0, 9.0]);
        assert_eq!(best(&values, false), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_heap_prefers_numbers_to_nan() {
        let values = [f64::NAN, 3.0, 1.0, 4.0, f64::NAN, 2.0];
        assert_eq!(best(&values, true), [2.0, 3.0, 4.0]);
        assert_eq!(best(&values, false), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn of_equal_values_the_first_series_remains() {
        let mut heap = Heap::default();
        assert!(heap.offer(1.0, 0, 1, true));
        assert!(!heap.offer(1.0, 1, 1, true));
        assert_eq!(heap.entries[0].1, 0);
    }

    #[test]
    fn a_heap_of_size_zero_takes_nothing() {
        assert!(!Heap::default().offer(1.0, 0, 0, true));
    }

    #[test]
    fn fractional_and_negative_counts_are_truncated() {
        assert_eq!(counts(&[0.5, -1.0]), Ok(None));
        assert_eq!(counts(&[2.9, -1.0]), Ok(Some(vec![2, 0])));
    }

    #[test]
    fn counts_that_are_no_64_bit_integers_are_refused() {
        let error = |k: &[f64]| counts(k).unwrap_err().to_string();
        assert_eq!(error(&[1.0, f64::NAN]), "Parameter value is NaN");
        assert_eq!(error(&[1e30]), "Scalar value 1e+30 overflows int64");
        assert_eq!(error(&[1.0, f64::NEG_INFINITY]), "Scalar value -Inf underflows int64");
    }
}
