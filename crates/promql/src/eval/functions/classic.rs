//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over classic and native histograms.
//!
//! The classic buckets of a histogram are series that differ in `le` alone. They are grouped by all other labels.

use hashbrown::HashMap;
use pharos_gocompat::GoQuoted;
use pharos_gocompat::strconv::{format_openmetrics, parse_float};
use pharos_model::{Histogram, Labels, LabelsBuilder};

use super::labels::Seen;
use super::text;
use crate::annotations::{Annotations, Monotonicity, with_metric};
use crate::eval::row::{Grid, Row};
use crate::eval::vector_matching::{LabelFilter, RawLabels};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Call;
use crate::quantile::{self, ClassicBucket, NanNote};

/// What is computed from each histogram.
enum Wanted {
    /// Quantiles, each with a value for every step, and the label that tells them apart.
    Quantiles { q: Vec<Vec<f64>>, label: Option<String> },
    /// The fraction of observations between two values, which are given for every step.
    Fraction { lower: Vec<f64>, upper: Vec<f64> },
}

/// `histogram_fraction(lower, upper, vector)`
pub(super) fn fraction(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let lower = ev.scalar(&call.args[0], grid)?;
    let upper = ev.scalar(&call.args[1], grid)?;
    evaluate(ev, call, grid, Wanted::Fraction { lower, upper }, 2, Annotations::default(), sink)
}

/// `histogram_quantile(q, vector)`
pub(super) fn quantile(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let q = vec![ev.scalar(&call.args[0], grid)?];
    evaluate(ev, call, grid, Wanted::Quantiles { q, label: None }, 1, Annotations::default(), sink)
}

/// `histogram_quantiles(vector, label, q…)`
pub(super) fn quantiles(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let scalars = || call.args.iter().skip(2).map(|arg| ev.scalar(arg, grid)).collect::<Outcome<Vec<_>>>();
    let (q, notes) = super::behind_vector(ev, &call.args[0], grid, scalars)?;
    let label = Some(text(call, 1)?.to_string());
    evaluate(ev, call, grid, Wanted::Quantiles { q, label }, 0, notes, sink)
}

/// Computes what is wanted of all histograms of argument number `vector`. `notes` come behind those of the argument.
fn evaluate(
    ev: &Eval<'_, '_>,
    call: &Call,
    grid: Grid,
    wanted: Wanted,
    vector: usize,
    notes: Annotations,
    sink: Sink<'_>,
) -> Outcome {
    let pos = call.arg_pos[vector];
    let mut found = Found::new();
    let mut reservation = ev.reserve();
    ev.stream(&call.args[vector], grid, &mut |row| {
        reservation.grow(row.bytes(), row.samples())?;
        found.add(std::mem::take(row), pos);
        Ok(())
    })?;
    ev.note(|n| n.absorb(notes));
    ev.note(|n| n.absorb(std::mem::take(&mut found.notes)));
    if let Wanted::Quantiles { q, label } = &wanted {
        let first = if label.is_none() { 0 } else { 2 };
        for (index, q) in q.iter().enumerate() {
            let bad = q.iter().filter(|q| !(0.0..=1.0).contains(*q));
            bad.for_each(|q| ev.note(|n| n.quantile_out_of_range(*q, call.arg_pos[first + index])));
        }
    }
    // Equal labels are an error: of an instant query's result at its end, of a range query's at once.
    let labelled = matches!(&wanted, Wanted::Quantiles { label: Some(_), .. });
    let mut seen = Seen::default();
    let rounds = rounds(&wanted, grid.len);
    let each = rounds.iter().flat_map(|round| found.histograms.iter().map(move |histogram| (round, histogram)));
    for (round, histogram) in each {
        ev.shared.check()?;
        Evaluation { ev, wanted: &wanted, histogram, grid, pos }.run(round, &mut |row| {
            if labelled && !grid.instant {
                seen.add(row)?;
            }
            sink(row)
        })?;
    }
    Ok(())
}

/// What is computed of all histograms before the next is.
struct Round {
    /// Which quantile.
    index: usize,
    /// The label that it gets, with its value.
    label: Option<(String, String)>,
    /// At which steps.
    steps: Vec<usize>,
}

/// One round a quantile; where the label tells its value and that varies, one a value.
fn rounds(wanted: &Wanted, len: usize) -> Vec<Round> {
    let Wanted::Quantiles { q, label } = wanted else {
        return vec![Round { index: 0, label: None, steps: (0..len).collect() }];
    };
    let of = |(index, q): (usize, &Vec<f64>)| {
        let Some(name) = label else { return vec![Round { index, label: None, steps: (0..len).collect() }] };
        // Zeros are one value, whatever their sign, and so are all that are no numbers.
        let key = |q: f64| if q.is_nan() { f64::NAN.to_bits() } else { (q + 0.0).to_bits() };
        let (mut known, mut rounds): (HashMap<u64, usize>, Vec<Round>) = (HashMap::new(), Vec::new());
        for (step, q) in q.iter().enumerate() {
            let at = *known.entry(key(*q)).or_insert_with(|| {
                rounds.push(Round { index, label: Some((name.clone(), format_openmetrics(*q))), steps: Vec::new() });
                rounds.len() - 1
            });
            rounds[at].steps.push(step);
        }
        rounds
    };
    q.iter().enumerate().flat_map(of).collect()
}

/// All samples with the same labels but `le`.
struct Series {
    labels: Labels,
    /// Upper bounds and the series of cumulative counts.
    buckets: Vec<(f64, Row)>,
    /// The series of native histograms.
    native: Vec<Row>,
}

struct Found {
    filter: LabelFilter,
    index: HashMap<Box<[u8]>, usize>,
    histograms: Vec<Series>,
    key: Vec<u8>,
    /// What there is to say of the series. It comes behind what the argument says.
    notes: Annotations,
}

impl Found {
    fn new() -> Self {
        let filter = LabelFilter::without(vec!["le".into()]);
        Found { filter, index: HashMap::new(), histograms: Vec::new(), key: Vec::new(), notes: Annotations::default() }
    }

    fn add(&mut self, mut row: Row, pos: usize) {
        if !row.hists.is_empty() {
            let labels = row.labels.clone();
            self.key.clear();
            self.key.extend_from_slice(labels.as_bytes());
            let at = self.find(&labels);
            let mut native = Row { hists: std::mem::take(&mut row.hists), ..Row::default() };
            native.present.reset(row.values.len());
            self.histograms[at].native.push(native);
        }
        if row.present.is_empty() {
            return;
        }
        let bound = row.labels.get("le").unwrap_or("");
        let Ok(upper) = parse_float(bound) else {
            let text = format!("bucket label \"le\" is missing or has a malformed value of {}", GoQuoted(bound));
            let text = with_metric(&text, row.labels.metric_name());
            self.notes.warn(text, pos);
            return;
        };
        self.key.clear();
        self.filter.append(RawLabels::of(&row.labels), &mut self.key);
        let labels = Labels::from_canonical_unchecked(&self.key);
        let at = self.find(&labels);
        self.histograms[at].buckets.push((upper, row));
    }

    /// The histogram whose labels' bytes are in `key`.
    fn find(&mut self, labels: &Labels) -> usize {
        if let Some(&at) = self.index.get(&self.key[..]) {
            return at;
        }
        self.index.insert(self.key.as_slice().into(), self.histograms.len());
        self.histograms.push(Series { labels: labels.clone(), buckets: Vec::new(), native: Vec::new() });
        self.histograms.len() - 1
    }
}

struct Evaluation<'e, 's, 'q> {
    ev: &'e Eval<'s, 'q>,
    wanted: &'e Wanted,
    histogram: &'e Series,
    grid: Grid,
    pos: usize,
}

impl Evaluation<'_, '_, '_> {
    /// Computes the fraction, or the quantile of a round.
    fn run(&self, round: &Round, sink: Sink<'_>) -> Outcome {
        match self.wanted {
            Wanted::Fraction { lower, upper } => self.emit(
                round,
                |step, buckets| quantile::bucket_fraction(lower[step], upper[step], buckets),
                |step, h| self.native_fraction(lower[step], upper[step], h),
                sink,
            ),
            Wanted::Quantiles { q, .. } => {
                let q = &q[round.index];
                self.emit(
                    round,
                    |step, buckets| self.classic_quantile(q[step], step, buckets),
                    |step, h| self.native_quantile(q[step], h),
                    sink,
                )
            }
        }
    }

    /// Computes a value of the histogram at each step of a round. Steps with both kinds have no value.
    fn emit(
        &self,
        round: &Round,
        classic: impl Fn(usize, &mut Vec<ClassicBucket>) -> f64,
        native: impl Fn(usize, &Histogram) -> f64,
        sink: Sink<'_>,
    ) -> Outcome {
        let labels = match &round.label {
            Some((name, value)) => LabelsBuilder::from_labels(&self.histogram.labels).set(name, value).build(),
            None => self.histogram.labels.clone(),
        };
        let mut row = Row::default();
        row.reset(&labels, self.grid.len);
        row.drop_name = true;
        let mut buckets = Vec::with_capacity(self.histogram.buckets.len());
        for &step in &round.steps {
            buckets.clear();
            let present = self.histogram.buckets.iter().filter(|(_, row)| row.present.get(step));
            buckets.extend(present.map(|(upper, r)| ClassicBucket { upper_bound: *upper, count: r.values[step] }));
            let h = self.histogram.native.iter().find_map(|row| row.hist(step));
            match h {
                Some(_) if !buckets.is_empty() => {
                    let text = "vector contains a mix of classic and native histograms";
                    self.ev.note(|n| n.warn(with_metric(text, self.name()), self.pos));
                }
                Some(h) => row.put(step, native(step, h)),
                None if buckets.is_empty() => {}
                None => row.put(step, classic(step, &mut buckets)),
            }
        }
        if row.is_empty() { Ok(()) } else { sink(&mut row) }
    }

    fn name(&self) -> &str {
        self.histogram.labels.metric_name()
    }

    fn classic_quantile(&self, q: f64, step: usize, buckets: &mut Vec<ClassicBucket>) -> f64 {
        let (value, forced) = quantile::bucket_quantile(q, buckets);
        if let Some(forced) = forced {
            let t = self.grid.time(step);
            let what = Monotonicity {
                t: (t, t),
                buckets: (forced.min_bucket, forced.max_bucket),
                max_diff: forced.max_diff,
                count: 1,
            };
            self.ev.note(|n| n.forced_monotonicity(self.name(), self.pos, what));
        }
        value
    }

    fn native_quantile(&self, q: f64, h: &Histogram) -> f64 {
        let (value, note) = quantile::histogram_quantile(q, h);
        let text = match note {
            Some(NanNote::Result) => "input to histogram_quantile has NaN observations, result is NaN",
            Some(NanNote::Skew) => "input to histogram_quantile has NaN observations, result is skewed higher",
            None => return value,
        };
        self.ev.note(|n| n.info(with_metric(text, self.name()), self.pos));
        value
    }

    fn native_fraction(&self, lower: f64, upper: f64, h: &Histogram) -> f64 {
        let (value, left_out) = quantile::histogram_fraction(lower, upper, h);
        if left_out {
            let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
            self.ev.note(|n| n.info(with_metric(text, self.name()), self.pos));
        }
        value
    }
}
