//! Functions over range vectors: reads series, stored or computed by a subquery, and evaluates all windows of each.

use std::collections::VecDeque;
use std::sync::Arc;

use pharos_model::{CounterReset, Histogram, Labels, SeriesView};

use super::binary::left_first;
use super::bitmap::Bitmap;
use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::extension::Extension;
use super::merge::{may_repeat, merge_rows};
use super::rate::{self, Found};
use super::row::{Grid, Row};
use super::stats_only::StatsOnly;
use super::window::{Cursor, Frame, Fresh, PerTimes, samples_between, slide, slide_through};
use super::window_kernel::WindowKernel;
use super::{Eval, Outcome, Sink, extended, functions, hist_window, over_time, read, regression, selector};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::functions::{Function, Kernel, MetricName, RangeFn, Rate};
use crate::plan::{self, Node, RangeCall, RangeInput, RangeSelector, Subquery};

/// Memory that a step needs while a call is evaluated, besides the samples.
const BYTES_PER_STEP: usize = 96;

/// Evaluates a call.
pub(crate) fn evaluate(ev: &Eval<'_, '_>, call: &RangeCall, grid: Grid, sink: Sink<'_>) -> Outcome {
    let (args, notes) = arguments(ev, call, grid)?;
    evaluate_with(ev, call, grid, args, sink)?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}

/// The scalar arguments and their annotations. In Prometheus they are evaluated before stored samples are read, but after
/// the values of a subquery.
fn arguments(ev: &Eval<'_, '_>, call: &RangeCall, grid: Grid) -> Outcome<(Vec<Vec<f64>>, Annotations)> {
    let all = || call.args.iter().map(|arg| ev.scalar(arg, grid)).collect::<Outcome<Vec<_>>>();
    let RangeInput::Subquery(subquery) = &call.input else { return Ok((all()?, Annotations::default())) };
    ev.ahead(all).map_err(|error| match subquery_grid(ev, subquery, grid) {
        Ok(inner) => left_first(ev, &subquery.expr, inner, error),
        Err(first) => first,
    })
}

fn evaluate_with(ev: &Eval<'_, '_>, call: &RangeCall, grid: Grid, args: Vec<Vec<f64>>, sink: Sink<'_>) -> Outcome {
    let mut kernel = WindowKernel::new(ev, call, grid, args)?;
    if call.func != Function::AbsentOverTime {
        return kernel.run(&call.input, sink);
    }
    let mut seen = Bitmap::new(grid.len);
    kernel.run(&call.input, &mut |row| {
        seen.unite(&row.occupied());
        Ok(())
    })?;
    let matchers = match &call.input {
        RangeInput::Selector(s) => &s.selector.matchers[..],
        RangeInput::Subquery(_) => &[],
    };
    functions::emit_absent(&seen, matchers, true, grid, sink)
}

impl<'e, 's, 'q> WindowKernel<'e, 's, 'q> {
    fn new(ev: &'e Eval<'s, 'q>, call: &RangeCall, grid: Grid, args: Vec<Vec<f64>>) -> Outcome<Self> {
        plan::check_modifiers(call.func, &call.input)?;
        let func = match call.func.kernel() {
            Kernel::Range(func) => func,
            Kernel::AbsentOverTime => RangeFn::Present,
            _ => {
                let reason = format!("{} is not a function over a range vector", call.func.name());
                return Err(QueryError::Execution(reason));
            }
        };
        let frame = Frame { grid, time: call.input.time(), range: call.input.range() };
        let extension = match &call.input {
            RangeInput::Selector(s) => Extension::of(&s.selector),
            RangeInput::Subquery(_) => None,
        };
        Ok(WindowKernel {
            ev,
            func,
            frame,
            args,
            pos: call.pos,
            extension,
            keeps_name: call.func.metric_name() == MetricName::Kept,
            fresh: Fresh::default(),
            found: Found::default(),
            queue: VecDeque::new(),
            counts: Vec::new(),
            windows: PerTimes::default(),
            samples: ev.new_counts(),
            totals: PerTimes::default(),
            check: CancellationCheck::default(),
            scratch: Vec::new(),
            judged: Vec::new(),
        })
    }

    fn run(&mut self, input: &RangeInput, sink: Sink<'_>) -> Outcome {
        // For one row, and for the state of each window.
        let mut reservation = self.ev.reserve();
        reservation.grow(BYTES_PER_STEP * self.frame.grid.len, 0)?;
        match input {
            RangeInput::Selector(selector) => self.stored(selector, sink)?,
            RangeInput::Subquery(subquery) => {
                // The samples inside a subquery do not count, but its points do.
                let ev = self.ev;
                ev.counting_apart(|| self.computed(subquery, sink))?;
            }
        }
        self.ev.counted(std::mem::take(&mut self.samples));
        Ok(())
    }

    fn stored(&mut self, selector: &RangeSelector, sink: Sink<'_>) -> Outcome {
        let range = self.frame.read(self.ev, self.extension);
        let part = selector::series(self.ev, &selector.selector, range, self.frame.grid.len)?;
        let mut row = Row::default();
        let mut stats_only = StatsOnly::new(&selector.selector, self.frame.grid, self.frame.range);
        read::walk(self.ev, &selector.selector, part, range, |labels, view| {
            row.reset(labels, self.frame.grid.len);
            row.drop_name = !self.keeps_name;
            self.series(labels, stats_only.of(view), &mut row)?;
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }

    fn computed(&mut self, subquery: &Subquery, sink: Sink<'_>) -> Outcome {
        let grid = subquery_grid(self.ev, subquery, self.frame.grid)?;
        let mut reservation = self.ev.reserve();
        reservation.grow(32 * grid.len, 0)?;
        let times: Vec<i64> = (0..grid.len).map(|step| grid.time(step)).collect();
        let (mut t, mut v, mut ht, mut h) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut row = Row::default();
        // The annotations of the function come after those of the subquery.
        let mut notes = Annotations::default();
        merged(self.ev, &subquery.expr, grid, &mut |inner| {
            self.ev.shared.check()?;
            let full = inner.present.is_full();
            if !full {
                t.clear();
                v.clear();
                t.extend(inner.present.iter().map(|step| times[step]));
                v.extend(inner.present.iter().map(|step| inner.values[step]));
            }
            ht.clear();
            h.clear();
            ht.extend(inner.hists.iter().map(|(step, _)| times[*step as usize]));
            h.extend(inner.hists.drain(..).map(|(_, h)| without_hint(h)));
            let (t, v) = if full { (&times[..], &inner.values[..]) } else { (&t[..], &v[..]) };
            row.reset(&inner.labels, self.frame.grid.len);
            row.drop_name = !self.keeps_name || inner.drop_name;
            let view = SeriesView { t, v, ht: &ht, h: &h, ..SeriesView::EMPTY };
            let ((), own) = self.ev.ahead(|| self.series(&inner.labels, view, &mut row))?;
            notes.absorb(own);
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })?;
        self.ev.note(|n| n.absorb(notes));
        Ok(())
    }

    /// Evaluates all windows of a series.
    fn series(&mut self, labels: &Labels, view: SeriesView<'_>, row: &mut Row) -> Outcome {
        self.check.samples(self.ev, self.frame.grid.len)?;
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut view = fresh.strip(view);
        self.count(&view);
        if self.func == RangeFn::Smooth {
            self.check_factors(&view)?;
        }
        let unused = !self.func.uses_starts() || !self.ev.shared.start_timestamps;
        let unknown = |st: &[i64]| st.iter().all(|st| *st == 0);
        if unused || unknown(view.st) {
            view.st = &[];
        }
        if unused || unknown(view.hst) {
            view.hst = &[];
        }
        if let Some(extension) = self.extension {
            extended::series(self, extension, labels, view, row)?;
        } else if view.ht.is_empty() {
            self.floats(labels, &view, row)?;
        } else {
            hist_window::series(self, labels, &view, row)?;
        }
        self.fresh = fresh;
        if let RangeFn::Rate(Rate { counter: true, .. }) = self.func {
            self.note_gauge(labels, row);
        }
        Ok(())
    }

    /// Counts the samples in all windows of a series.
    fn count(&mut self, view: &SeriesView<'_>) {
        if view.ht.is_empty() && self.samples.steps.is_empty() {
            let frame = self.frame;
            let total = self.totals.of(view.t, |out| {
                let mut counts = Counts::default();
                counts.add_windows(&frame, view.t, &[], &[]);
                out.push(counts.total);
            });
            self.samples.total += total.iter().sum::<u64>();
        } else {
            self.samples.add_windows(&self.frame, view.t, view.ht, view.h);
        }
    }

    /// Checks the factors of `double_exponential_smoothing` at the steps whose windows contain samples.
    fn check_factors(&self, view: &SeriesView<'_>) -> Outcome {
        for step in 0..self.frame.grid.len {
            let (end, start) = (self.frame.end(step), self.frame.start(step));
            let within = |t: &[i64]| t.partition_point(|t| *t <= start) < t.partition_point(|t| *t <= end);
            if within(view.t) || within(view.ht) {
                regression::check_factor("smoothing", "sf", self.args[0][step])?;
                regression::check_factor("trend", "tf", self.args[1][step])?;
            }
        }
        Ok(())
    }

    /// Evaluates all windows of a series without histograms.
    fn floats(&mut self, labels: &Labels, view: &SeriesView<'_>, row: &mut Row) -> Outcome {
        let frame = self.frame;
        if let RangeFn::Rate(kind) = self.func {
            let overlaps = rate::extrapolated(self.ev, kind, &frame, view, &mut self.found, row)?;
            if overlaps > 0 {
                self.note_overlap(labels, overlaps);
            }
            return Ok(());
        }
        let mut cache = std::mem::take(&mut self.windows);
        let windows = cache.of(view.t, |out| frame.windows(view.t, out));
        match self.func {
            RangeFn::Extreme { largest } => {
                over_time::extremes(self.ev, windows, view, largest, &mut self.queue, row)?;
            }
            RangeFn::Quantile => {
                over_time::quantiles(self.ev, windows, view, &self.args[0], &mut self.scratch, row)?;
                row.present.iter().for_each(|step| self.note_quantile(step));
            }
            RangeFn::Changes => {
                let differ = |i: usize| over_time::changed(view.v[i - 1], view.v[i]);
                over_time::count_pairs(self.ev, windows, view, &mut self.counts, row, differ)?;
            }
            RangeFn::Resets => over_time::count_pairs(self.ev, windows, view, &mut self.counts, row, |i| {
                let (t, st) = (view.t, view.st);
                view.v[i] < view.v[i - 1] || (!st.is_empty() && rate::start_reset(st[i - 1], t[i - 1], st[i], t[i]))
            })?,
            RangeFn::Sum => slide_through(self.ev, windows, row, |_, a, b| Some(over_time::sum(&view.v[a..b])))?,
            RangeFn::Avg => slide_through(self.ev, windows, row, |_, a, b| Some(over_time::mean(&view.v[a..b])))?,
            RangeFn::Count => slide(self.ev, windows, row, |_, a, b| Some((b - a) as f64))?,
            RangeFn::Last => slide(self.ev, windows, row, |_, _, b| Some(view.v[b - 1]))?,
            _ => slide_through(self.ev, windows, row, |step, first, end| {
                let samples = samples_between(view, Cursor { first, end }, Cursor::default());
                self.of_floats(&self.window(step, samples))
            })?,
        }
        self.windows = cache;
        Ok(())
    }
}

/// Hands each series of a vector to `sink` in one row. At a single step there is nothing to merge, and Prometheus looks for
/// equal labels at the end only.
fn merged(ev: &Eval<'_, '_>, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
    if grid.len == 1 || !may_repeat(node) {
        return ev.vector(node, grid, sink);
    }
    let mut found = ev.collect(node, grid)?;
    let mut check = CancellationCheck::default();
    let mut merged = merge_rows(std::mem::take(&mut found.rows), || check.row(ev, grid.len))?;
    ev.hand_on(&mut merged, sink)
}

/// The steps of a subquery that is evaluated at the steps of `outer`. They are multiples of the step, whatever the outer
/// steps are.
pub(crate) fn subquery_grid(ev: &Eval<'_, '_>, subquery: &Subquery, outer: Grid) -> Outcome<Grid> {
    let step = if subquery.step > 0 { subquery.step } else { ev.shared.subquery_step };
    let first = subquery.time.from(outer.start).saturating_sub(subquery.range);
    let last = subquery.time.from(outer.end());
    let aligned = step * (first / step);
    let grid = Grid::between(if aligned <= first { aligned + step } else { aligned }, last, step);
    // A single series could hold that many samples.
    if grid.len > ev.shared.max_samples() { Err(QueryError::TooManySamples) } else { Ok(grid) }
}

/// The values of a subquery may repeat or skip stored samples, so that hints about counter resets no longer apply.
fn without_hint(h: Arc<Histogram>) -> Arc<Histogram> {
    if matches!(h.counter_reset, CounterReset::Unknown | CounterReset::Gauge) {
        return h;
    }
    Arc::new(Histogram { counter_reset: CounterReset::Unknown, ..(*h).clone() })
}
