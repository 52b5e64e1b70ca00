//! A function of windows, ready to evaluate series one after the other: its arguments, its annotations, and memory that it
//! reuses from series to series.

use std::collections::VecDeque;

use pharos_model::{Labels, SeriesView};

use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::extension::Extension;
use super::rate::{self, Found};
use super::row::Row;
use super::vector_matching::raw_metric_name;
use super::window::{Cursor, Frame, Fresh, PerTimes, Window};
use super::{Eval, integral, over_time, regression};
use crate::functions::RangeFn;

/// A call that is ready to evaluate series, with memory that it reuses from one to the next.
pub(crate) struct WindowKernel<'e, 's, 'q> {
    /// The evaluation that it is part of.
    pub(crate) ev: &'e Eval<'s, 'q>,
    /// The function of a window.
    pub(crate) func: RangeFn,
    /// The position of the windows.
    pub(crate) frame: Frame,
    /// The scalar arguments, with a value for every step.
    pub(crate) args: Vec<Vec<f64>>,
    /// Byte offset of the first argument in the query.
    pub(crate) pos: usize,
    /// The `anchored` or `smoothed` modifier of the selector.
    pub(crate) extension: Option<Extension>,
    pub(super) keeps_name: bool,
    pub(super) fresh: Fresh,
    pub(super) found: Found,
    pub(super) queue: VecDeque<usize>,
    pub(super) counts: Vec<u32>,
    pub(super) windows: PerTimes<Cursor>,
    pub(super) samples: Counts,
    pub(super) totals: PerTimes<u64>,
    pub(super) check: CancellationCheck,
    /// Scratch memory for the floats of a window.
    pub(crate) scratch: Vec<f64>,
    /// The metric name that was last checked to be that of a counter.
    pub(super) judged: Vec<u8>,
}

impl WindowKernel<'_, '_, '_> {
    /// A window of samples.
    pub(crate) fn window<'a>(&self, step: usize, samples: SeriesView<'a>) -> Window<'a> {
        let (start, end) = (self.frame.start(step), self.frame.end(step));
        Window { samples, start, end, step, step_t: self.frame.grid.time(step) }
    }

    /// The value of a window from its floats alone, of which there is at least one.
    pub(crate) fn of_floats(&self, w: &Window<'_>) -> Option<f64> {
        let (t, v) = (w.samples.t, w.samples.v);
        let seconds = |at: usize| t[at] as f64 / 1000.0;
        Some(match self.func {
            RangeFn::Rate(_) => return None,
            RangeFn::Instant { counter } => return rate::instant(counter, w),
            RangeFn::Sum => over_time::sum(v),
            RangeFn::Avg => over_time::mean(v),
            RangeFn::Extreme { largest } => v[over_time::extreme(v, largest, false)],
            RangeFn::ExtremeTime { largest } => seconds(over_time::extreme(v, largest, true)),
            RangeFn::Count => v.len() as f64,
            RangeFn::First => v[0],
            RangeFn::Last => v[v.len() - 1],
            RangeFn::FirstTime => seconds(0),
            RangeFn::LastTime => seconds(t.len() - 1),
            RangeFn::Present => 1.0,
            RangeFn::Quantile => over_time::quantile(self.args[0][w.step], &mut v.to_vec()),
            RangeFn::Stddev => over_time::variance(v).sqrt(),
            RangeFn::Stdvar => over_time::variance(v),
            RangeFn::MedianDeviation => over_time::median_deviation(v, &mut Vec::with_capacity(v.len())),
            RangeFn::Changes | RangeFn::Resets => return None,
            RangeFn::Derivative if v.len() < 2 => return None,
            RangeFn::Derivative => regression::line(t, v, t[0]).0,
            RangeFn::Integral => integral::over(t, v, self.integral_rule(w.step)),
            RangeFn::Predict if v.len() < 2 => return None,
            RangeFn::Predict => {
                let (slope, intercept) = regression::line(t, v, w.step_t);
                slope * self.args[0][w.step] + intercept
            }
            RangeFn::Smooth if v.len() < 2 => return None,
            RangeFn::Smooth => regression::smooth(v, self.args[0][w.step], self.args[1][w.step]),
        })
    }

    /// Warns about a quantile that is not between 0 and 1.
    pub(crate) fn note_quantile(&self, step: usize) {
        let q = self.args[0][step];
        if !(0.0..=1.0).contains(&q) {
            self.ev.note(|n| n.quantile_out_of_range(q, self.pos));
        }
    }

    /// The rule that an integral is computed by. Warns about a strategy that does not exist.
    fn integral_rule(&self, step: usize) -> integral::Rule {
        let Some(strategy) = self.args.first().map(|values| values[step]) else { return integral::Rule::default() };
        integral::Rule::of_strategy(strategy).unwrap_or_else(|| {
            let got = pharos_gocompat::GoFloat(strategy);
            self.ev.note(|n| n.warn(format!("strategy should be 0, 1, or 2 (default), using 2, got {got}"), self.pos));
            integral::Rule::default()
        })
    }

    /// Warns that start timestamps overlap.
    pub(crate) fn note_overlap(&self, labels: &Labels, windows: u64) {
        let name = pharos_gocompat::GoQuoted(labels.metric_name());
        let text = format!("sample has start time that overlaps with previous sample timestamp for metric {name}");
        self.ev.note(|n| n.warn_counted(text, self.pos, windows));
    }

    /// Notes that a metric does not look like a counter.
    pub(super) fn note_gauge(&mut self, labels: &Labels, row: &Row) {
        let raw_name = raw_metric_name(labels);
        if raw_name.is_empty() || raw_name == self.judged || row.present.is_empty() {
            return;
        }
        let name = labels.metric_name();
        if !self.ev.shared.type_labels {
            // Series of one metric follow each other, and only the name matters.
            self.judged.clear();
            self.judged.extend_from_slice(raw_name);
        }
        let quoted = pharos_gocompat::GoQuoted(name);
        let text = if self.ev.shared.type_labels {
            let kind = labels.get("__type__").unwrap_or("");
            if matches!(kind, "counter" | "histogram") {
                return;
            }
            format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {quoted}",
                pharos_gocompat::GoQuoted(kind)
            )
        } else {
            if ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
                return;
            }
            format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {quoted}")
        };
        self.ev.note(|n| n.info(text, self.pos));
    }

    /// Warns with a text that ends with the name of the metric.
    pub(crate) fn warn_metric(&self, text: &str, labels: &Labels) {
        let name = pharos_gocompat::GoQuoted(labels.metric_name());
        self.ev.note(|n| n.warn(format!("{text} {name}"), self.pos));
    }

    /// Notes that the histograms of a window with floats were ignored.
    pub(crate) fn note_ignored(&self, labels: &Labels) {
        let name = pharos_gocompat::GoQuoted(labels.metric_name());
        let text =
            format!("ignored histograms in a range containing both floats and histograms for metric name {name}");
        self.ev.note(|n| n.info(text, self.pos));
    }
}
