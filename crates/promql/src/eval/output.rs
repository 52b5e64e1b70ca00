//! Turns rows into the value of a query: drops metric names, merges series that became equal, and sorts matrices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use pharos_model::fragment::{FragmentRow, FragmentStats, Steps};
use pharos_model::{FragmentAnswer, Histogram, Labels, SeriesView};

use super::aggregate::partial_sums;
use super::cancellation::{self, CancellationCheck};
use super::counts::Counts;
use super::extension::Extension;
use super::row::{Grid, Row};
use super::shared::{Reservation, Shared, entry_bytes};
pub(super) use super::value::MatrixSeries;
use super::value::{SampleValue, Value, VectorSample};
use super::vector_matching::without_metadata;
use super::window::Fresh;
use super::{Eval, Outcome, counts, extended, parallel, range_call, read, selector, step_ranges};
use crate::error::{QueryError, same_labels};
use crate::options::QueryOptions;
use crate::output::QueryOutput;
use crate::plan::{Kind, Node, RangeSelector};
use crate::syntax::ast::AggregateOp;

/// Evaluates a plan. The text in `options` gives annotations their positions.
pub(crate) fn run(shared: &Shared<'_>, plan: &Node, times: &Steps, options: &QueryOptions) -> Outcome<QueryOutput> {
    let ranges = step_ranges::step_ranges_of(plan, times, shared.max_steps_per_range, shared.lookback);
    run_in(&ranges, shared, plan, times, options)
}

/// Evaluates a plan in these step ranges.
pub(crate) fn run_in(
    ranges: &[Grid],
    shared: &Shared<'_>,
    plan: &Node,
    times: &Steps,
    options: &QueryOptions,
) -> Outcome<QueryOutput> {
    let by_step = options.samples_per_step;
    let grid = whole(ranges);
    let joined = if ranges.len() > 1 { step_ranges::evaluate(shared, plan, ranges, by_step)? } else { None };
    let (value, held, notes, counts) = match joined {
        Some(joined) => (Value::Matrix(joined.series), joined.held, joined.notes, joined.counts),
        None => {
            shared.restart();
            let ev = Eval::new(shared, None, Counts::new(by_step, grid.len));
            let (value, held) = if times.step == 0 { instant(&ev, plan, grid)? } else { range(&ev, plan, grid)? };
            (value, held, ev.take_notes(), ev.take_counts())
        }
    };
    shared.check()?;
    let mut stats = shared.stats();
    let started = shared.clock.monotonic();
    let value = sorted(shared, value)?;
    let memory = held.keep();
    stats.timings.result_sort = shared.clock.monotonic().saturating_sub(started);
    stats.queryable_samples = counts.total;
    stats.queryable_samples_per_step =
        counts.steps.into_iter().enumerate().map(|(step, n)| (grid.time(step), n)).collect();
    let (warnings, infos) = notes.render(&options.text);
    Ok(QueryOutput { value, warnings, infos, stats, plan: None, memory })
}

/// How the value of a fragment is computed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FragmentTask {
    /// Whether the value is merged with those of other nodes.
    pub(crate) is_partial: bool,
    /// Maximum number of values of all series together; 0 for no limit.
    pub(crate) max_values: usize,
}

/// Why a fragment has no value that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// Its partial sums cannot be merged with those of other nodes.
    Inexact,
    /// There are more values than allowed.
    TooLarge,
}

/// Evaluates a fragment.
pub(crate) fn run_fragment(
    shared: &Shared<'_>,
    plan: &Node,
    steps: &Steps,
    by_step: bool,
    task: FragmentTask,
) -> Outcome<Result<FragmentAnswer, NoValue>> {
    let grid = match steps.step {
        0 => Grid::single(steps.start),
        step => Grid::between(steps.start, steps.end, step),
    };
    let plan = match plan {
        Node::Invariant(inner) if grid.len == 1 => inner,
        other => other,
    };
    let ev = Eval::new(shared, None, Counts::new(by_step, grid.len));
    let rows = match plan {
        Node::Aggregate(sum) if task.is_partial && sum.op == AggregateOp::Sum => {
            partial_sums(&ev, sum, grid)?.ok_or(NoValue::Inexact)
        }
        _ => fragment(&ev, plan, grid, task.max_values)?.ok_or(NoValue::TooLarge),
    };
    let rows = match rows {
        Ok(rows) => rows,
        Err(reason) => return Ok(Err(reason)),
    };
    shared.check()?;
    let names_go = rows.first().is_some_and(|(_, go)| *go);
    if rows.iter().any(|(_, go)| *go != names_go) {
        return Err(QueryError::Execution("the fragment drops the names of some of its series, but not of all".into()));
    }
    let (stats, counts) = (shared.stats(), ev.take_counts());
    let stats = FragmentStats {
        samples_read: stats.samples_read,
        peak_samples: stats.peak_samples,
        series: stats.series,
        peak_bytes: stats.peak_bytes,
        bytes_read: stats.bytes_read,
        requests: stats.requests,
        queryable_samples: counts.total,
        queryable_by_step: counts.steps,
    };
    let rows = rows.into_iter().map(|(row, _)| row).collect();
    Ok(Ok(FragmentAnswer { rows, names_go, notes: ev.take_notes().to_notes(), stats }))
}

/// The series of a fragment with their names, each with whether the expression drops its name, in the order in which the
/// expression yields them. `None` when there are more than `max_values` values.
fn fragment(
    ev: &Eval<'_, '_>,
    plan: &Node,
    grid: Grid,
    max_values: usize,
) -> Outcome<Option<Vec<(FragmentRow, bool)>>> {
    let values = AtomicUsize::new(0);
    let is_too_large = || max_values > 0 && values.load(Ordering::Relaxed) > max_values;
    let gather = |ev: &Eval<'_, '_>| {
        let mut rows = Vec::new();
        let mut reservation = ev.reserve();
        ev.vector(plan, grid, &mut |row| {
            if row.is_empty() && !ev.shared.keeps_empty_groups {
                return Ok(());
            }
            values.fetch_add(row.samples(), Ordering::Relaxed);
            if is_too_large() {
                return Err(QueryError::Canceled);
            }
            // They count as samples of the query on the node that merges the value.
            reservation.grow(row.bytes() + row.labels.as_bytes().len(), 0)?;
            let row = std::mem::take(row);
            let drop_name = row.drop_name;
            rows.push((row.into_fragment_row(), drop_name));
            Ok(())
        })?;
        Ok(rows)
    };
    let gathered = match parallel::divide(ev, plan, grid)? {
        Some(parts) => parallel::each_partition(ev, parts, gather),
        None => gather(ev).map(|rows| vec![rows]),
    };
    if is_too_large() {
        return Ok(None);
    }
    Ok(Some(gathered?.into_iter().flatten().collect()))
}

/// The steps of all ranges.
fn whole(ranges: &[Grid]) -> Grid {
    let len = ranges.iter().map(|range| range.len).sum();
    ranges.first().map_or(Grid::single(0), |first| Grid { len, ..*first })
}

/// A value, and the memory that it holds.
type Held<'s, 'q, T> = (T, Reservation<'s, 'q>);

fn instant<'s, 'q>(ev: &Eval<'s, 'q>, plan: &Node, grid: Grid) -> Outcome<Held<'s, 'q, Value>> {
    let t = grid.start;
    match (plan.kind(), plan) {
        (Kind::Text, Node::Text(text)) => Ok((Value::String(t, text.clone()), ev.reserve())),
        (Kind::Scalar, _) => {
            let value = ev.scalar(plan, grid)?.first().copied().unwrap_or(f64::NAN);
            Ok((Value::Scalar(t, value), ev.reserve()))
        }
        (Kind::Vector, _) => vector(ev, plan, grid),
        (_, Node::Matrix(matrix)) => raw(ev, matrix, grid),
        (_, Node::Subquery(subquery)) => {
            let inner = range_call::subquery_grid(ev, subquery, grid)?;
            let ((series, held), count) = ev.counting_apart(|| matrix(ev, &subquery.expr, inner))?;
            ev.counted_everywhere(count, 1);
            Ok((Value::Matrix(series), held))
        }
        _ => Err(QueryError::Execution("the expression has no value".into())),
    }
}

fn range<'s, 'q>(ev: &Eval<'s, 'q>, plan: &Node, grid: Grid) -> Outcome<Held<'s, 'q, Value>> {
    if plan.kind() != Kind::Scalar {
        return matrix(ev, plan, grid).map(|(series, held)| (Value::Matrix(series), held));
    }
    let values = ev.scalar(plan, grid)?;
    let mut reservation = ev.reserve();
    reservation.grow(16 * values.len(), values.len())?;
    let floats: Vec<_> = values.into_iter().enumerate().map(|(step, v)| (grid.time(step), v)).collect();
    let series = MatrixSeries { labels: Labels::empty(), floats, histograms: Vec::new() };
    Ok((Value::Matrix(if series.is_empty() { Vec::new() } else { vec![series] }), reservation))
}

/// The labels of a row as the result shows them.
fn labels(row: &Row) -> Labels {
    if row.drop_name { without_metadata(&row.labels) } else { row.labels.clone() }
}

fn vector<'s, 'q>(ev: &Eval<'s, 'q>, plan: &Node, grid: Grid) -> Outcome<Held<'s, 'q, Value>> {
    let gather = |ev: &Eval<'s, 'q>| {
        let mut samples = Vec::new();
        let mut reservation = ev.reserve();
        ev.vector(plan, grid, &mut |row| {
            let value = match row.hists.pop() {
                Some((_, h)) => SampleValue::Histogram(h),
                None if row.present.get(0) => SampleValue::Float(row.values[0]),
                None => return Ok(()),
            };
            reservation.grow(row.labels.as_bytes().len() + LABELS_OVERHEAD, 1)?;
            reservation.push(&mut samples, VectorSample { labels: labels(row), t: grid.start, value })
        })?;
        Ok((samples, reservation))
    };
    let (samples, held) = match parallel::divide(ev, plan, grid)? {
        Some(parts) => together(ev, parallel::each_partition(ev, parts, gather)?)?,
        None => gather(ev)?,
    };
    Ok((Value::Vector(distinct(ev.shared, samples)?), held))
}

/// What labels take besides their bytes.
const LABELS_OVERHEAD: usize = 2 * size_of::<usize>();

/// Joins what threads have gathered.
fn together<'s, 'q, T>(ev: &Eval<'s, 'q>, parts: Vec<Held<'s, 'q, Vec<T>>>) -> Outcome<Held<'s, 'q, Vec<T>>> {
    let (mut joined, mut held) = (Vec::new(), ev.reserve());
    held.make_room(&mut joined, parts.iter().map(|(part, _)| part.len()).sum())?;
    for (mut part, mut of_part) in parts {
        joined.append(&mut part);
        of_part.shrink(part.capacity() * size_of::<T>());
        held.absorb(of_part);
    }
    Ok((joined, held))
}

/// Checks that no two samples have the same labels. Of a float and a histogram with the same labels, the histogram remains.
fn distinct(shared: &Shared<'_>, samples: Vec<VectorSample>) -> Outcome<Vec<VectorSample>> {
    if samples.is_sorted_by(|a, b| a.labels < b.labels) {
        return Ok(samples);
    }
    let is_hist = |sample: &VectorSample| matches!(sample.value, SampleValue::Histogram(_));
    let mut reservation = shared.reserve_for(None);
    reservation.grow((entry_bytes::<Labels, (usize, bool)>() + size_of::<VectorSample>()) * samples.len(), 0)?;
    // By labels: the position of the sample, and whether there was one of the other kind as well.
    let mut seen: HashMap<Labels, (usize, bool)> = HashMap::with_capacity(samples.len());
    let mut out: Vec<VectorSample> = Vec::with_capacity(samples.len());
    let mut check = CancellationCheck::default();
    for sample in samples {
        check.row_after(shared, 1)?;
        let (at, both) = seen.entry(sample.labels.clone()).or_insert((out.len(), false));
        match out.get_mut(*at) {
            None => out.push(sample),
            Some(before) if *both || is_hist(before) == is_hist(&sample) => return Err(same_labels()),
            Some(before) => {
                *both = true;
                if is_hist(&sample) {
                    *before = sample;
                }
            }
        }
    }
    Ok(out)
}

/// The series of a range, in any order.
pub(super) type Matrix = Vec<MatrixSeries>;

/// Bytes of a sample in a result.
const SAMPLE_BYTES: usize = 16;

/// Evaluates a vector over a grid.
pub(super) fn matrix<'s, 'q>(ev: &Eval<'s, 'q>, plan: &Node, grid: Grid) -> Outcome<Held<'s, 'q, Matrix>> {
    let mut column = ev.reserve();
    column.grow(64 * grid.len, 0)?;
    let gather = |ev: &Eval<'s, 'q>| {
        let mut series = Vec::new();
        let mut reservation = ev.reserve();
        ev.vector(plan, grid, &mut |row| {
            if !row.is_empty() {
                take(row, grid, &mut reservation, &mut series)?;
            }
            Ok(())
        })?;
        Ok((series, reservation))
    };
    match parallel::divide(ev, plan, grid)? {
        Some(parts) => together(ev, parallel::each_partition(ev, parts, gather)?),
        None => gather(ev),
    }
}

/// Sorts the series of a matrix.
fn sorted(shared: &Shared<'_>, value: Value) -> Outcome<Value> {
    match value {
        Value::Matrix(series) => merged(shared, series).map(Value::Matrix),
        other => Ok(other),
    }
}

/// Appends a row to a matrix.
fn take(row: &mut Row, grid: Grid, reservation: &mut Reservation<'_, '_>, out: &mut Vec<MatrixSeries>) -> Outcome {
    let samples = row.samples();
    reservation.grow(SAMPLE_BYTES * samples + row.labels.as_bytes().len() + LABELS_OVERHEAD, samples)?;
    let mut floats = Vec::with_capacity(row.present.count());
    if row.present.is_full() {
        floats.extend(row.values.iter().enumerate().map(|(step, v)| (grid.time(step), *v)));
    } else {
        floats.extend(row.present.iter().map(|step| (grid.time(step), row.values[step])));
    }
    let histograms = row.hists.drain(..).map(|(step, h)| (grid.time(step as usize), h)).collect();
    reservation.push(out, MatrixSeries { labels: labels(row), floats, histograms })
}

/// Sorts series and merges those with equal labels. Fails when two of them have a sample at the same time.
fn merged(shared: &Shared<'_>, mut series: Vec<MatrixSeries>) -> Outcome<Vec<MatrixSeries>> {
    if !series.is_sorted_by(|a, b| a.labels < b.labels) {
        cancellation::sort(shared, &mut series, |a, b| a.labels.cmp(&b.labels))?;
    }
    let mut out: Vec<MatrixSeries> = Vec::with_capacity(series.len());
    let mut check = CancellationCheck::default();
    for next in series {
        match out.last_mut() {
            Some(last) if last.labels == next.labels => {
                check.row_after(shared, last.len())?;
                let in_order = follows(&last.floats, &next.floats) && follows(&last.histograms, &next.histograms);
                last.floats.extend(next.floats);
                last.histograms.extend(next.histograms);
                if in_order {
                    continue;
                }
                last.floats.sort_by_key(|(t, _)| *t);
                last.histograms.sort_by_key(|(t, _)| *t);
                let twice = last.floats.windows(2).any(|w| w[0].0 == w[1].0)
                    || last.histograms.windows(2).any(|w| w[0].0 == w[1].0);
                if twice {
                    return Err(same_labels());
                }
            }
            _ => out.push(next),
        }
    }
    Ok(out)
}

/// Whether all samples of `b` are later than those of `a`.
fn follows<T>(a: &[(i64, T)], b: &[(i64, T)]) -> bool {
    a.last().is_none_or(|a| b.first().is_none_or(|b| a.0 < b.0))
}

/// The stored samples of a range vector selector.
fn raw<'s, 'q>(ev: &Eval<'s, 'q>, matrix: &RangeSelector, grid: Grid) -> Outcome<Held<'s, 'q, Value>> {
    let s = &matrix.selector;
    let extension = Extension::of(s);
    let frame = super::window::Frame { grid, time: s.time, range: matrix.range };
    let range = frame.read(ev, extension);
    let part = selector::series(ev, s, range, grid.len)?;
    let mut out = Vec::new();
    let mut reservation = ev.reserve();
    let mut fresh = Fresh::default();
    let mut counts = ev.new_counts();
    read::walk(ev, s, part, range, |labels, view| {
        let view: SeriesView<'_> = fresh.strip(view);
        let floats: Vec<(i64, f64)> = match extension {
            Some(_) if !view.h.is_empty() => {
                let modifier = if s.anchored { "anchored" } else { "smoothed" };
                return Err(QueryError::Execution(format!("{modifier} modifier is not supported with histograms")));
            }
            Some(extension) => extended::floats(view.t, view.v, (frame.start(0), frame.end(0)), extension),
            None => view.t.iter().copied().zip(view.v.iter().copied()).collect(),
        };
        let histograms: Vec<_> = view.ht.iter().copied().zip(view.h.iter().cloned()).collect();
        let samples = floats.len() + histograms.len();
        let weights = histograms.iter().map(|(_, h): &(i64, Arc<Histogram>)| counts::weight(h)).sum::<u64>();
        counts.add_at(0, floats.len() as u64 + weights);
        reservation.grow(16 * samples, samples)?;
        match samples {
            0 => Ok(()),
            _ => reservation.push(&mut out, MatrixSeries { labels: labels.clone(), floats, histograms }),
        }
    })?;
    ev.counted(counts);
    Ok((Value::Matrix(out), reservation))
}

#[cfg(test)]
mod tests {
    use pharos_model::{Budget, SelectError, SelectRequest, SeriesSet};

    use super::*;
    use crate::options::EngineOptions;

    /// Runs `check` with the state of a query over nothing.
    fn with_shared<T>(check: impl FnOnce(&Shared<'_>) -> T) -> T {
        let nothing = |_: &SelectRequest, _: &Arc<Budget>| -> Result<Arc<dyn SeriesSet>, SelectError> {
            Err(SelectError::Cancelled)
        };
        check(&Shared::new(&nothing, Arc::new(Budget::unlimited()), &EngineOptions::default(), 0, None))
    }

    fn sample(name: &str, value: SampleValue) -> VectorSample {
        VectorSample { labels: Labels::from_pairs([("__name__", name)]), t: 0, value }
    }

    fn series(name: &str, times: &[i64]) -> MatrixSeries {
        let floats = times.iter().map(|t| (*t, *t as f64)).collect();
        MatrixSeries { labels: Labels::from_pairs([("__name__", name)]), floats, histograms: Vec::new() }
    }

    #[test]
    fn two_floats_of_one_series_are_an_error() {
        let twice = vec![sample("a", SampleValue::Float(1.0)), sample("a", SampleValue::Float(2.0))];
        assert_eq!(with_shared(|shared| distinct(shared, twice)), Err(same_labels()));
    }

    #[test]
    fn of_a_float_and_a_histogram_the_histogram_remains() {
        let float = || sample("a", SampleValue::Float(1.0));
        let histogram = || sample("a", SampleValue::Histogram(Arc::default()));
        for both in [vec![float(), histogram()], vec![histogram(), float()]] {
            assert_eq!(with_shared(|shared| distinct(shared, both)), Ok(vec![histogram()]));
        }
        let three = vec![float(), histogram(), float()];
        assert_eq!(with_shared(|shared| distinct(shared, three)), Err(same_labels()));
    }

    #[test]
    fn a_matrix_is_sorted_and_equal_series_are_merged() {
        let all = vec![series("b", &[1]), series("a", &[3]), series("a", &[1, 5])];
        let merged = with_shared(|shared| merged(shared, all)).unwrap();
        assert_eq!(merged, [series("a", &[1, 3, 5]), series("b", &[1])]);
    }

    #[test]
    fn equal_series_with_a_sample_at_the_same_time_are_an_error() {
        let all = vec![series("a", &[1, 3]), series("a", &[3])];
        assert_eq!(with_shared(|shared| merged(shared, all)), Err(same_labels()));
    }
}
