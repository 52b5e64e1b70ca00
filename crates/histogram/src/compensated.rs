//! Sums and means of many histograms, with Kahan-Neumaier compensation of every count.

use crate::combine::{Combined, Parts};
use crate::histogram::Histogram;
use crate::layout::{Cell, Side};
use crate::validate::HistogramError;

/// Adds `increment` to a compensated sum. Returns the sum and its compensation, which the caller adds at the very end.
#[inline]
pub fn kahan_inc(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let lost = if sum.abs() >= increment.abs() { (sum - total) + increment } else { (increment - total) + sum };
    (total, compensation + lost)
}

/// A count and what rounding lost of it.
#[derive(Clone, Copy, Debug, Default)]
struct Kahan {
    value: f64,
    lost: f64,
}

impl Cell for Kahan {
    fn of(count: f64) -> Self {
        Kahan { value: count, lost: 0.0 }
    }

    fn absorb(&mut self, other: Self) {
        (self.value, self.lost) = kahan_inc(other.value, self.value, self.lost);
        if other.lost != 0.0 {
            (self.value, self.lost) = kahan_inc(other.lost, self.value, self.lost);
        }
    }

    fn is_zero(self) -> bool {
        self.value == 0.0 && self.lost == 0.0
    }
}

/// A running sum of histograms.
#[derive(Clone, Debug)]
pub struct CompensatedHistogram {
    parts: Parts<Kahan>,
    /// Whether more than one histogram was added. A single one has no compensation, and adding 0 would turn -0 into 0.
    several: bool,
}

impl CompensatedHistogram {
    /// The sum of one histogram.
    pub fn new(first: &Histogram) -> Self {
        CompensatedHistogram { parts: Parts::copy_of(first, 1.0), several: false }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    /// [`HistogramError::IncompatibleSchemas`] if only one of them has custom buckets. Nothing has changed then.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        let combined = self.parts.combine(other, 1.0)?;
        self.several = true;
        Ok(combined)
    }

    /// Whether a count or the sum has become infinite.
    pub fn has_overflow(&self) -> bool {
        let p = &self.parts;
        [p.zero, p.count, p.sum].iter().any(|c| c.value.is_infinite())
            || p.positive.cells.iter().chain(&p.negative.cells).any(|c| c.value.is_infinite())
            || p.custom_values.iter().any(|v| v.is_infinite())
    }

    /// The sum. It is not compacted.
    pub fn finish(self) -> Histogram {
        match self.several {
            true => self.total(|cell| cell.value + cell.lost),
            false => self.total(|cell| cell.value),
        }
    }

    /// The sum divided by `n`. Sums and compensations are divided before they are added. It is not compacted.
    pub fn finish_divided(self, n: f64) -> Histogram {
        match self.several {
            true => self.total(|cell| cell.value / n + cell.lost / n),
            false => self.total(|cell| cell.value / n),
        }
    }

    fn total(self, of: impl Fn(Kahan) -> f64) -> Histogram {
        let p = self.parts;
        let side = |side: Side<Kahan>| Side { cells: side.cells.into_iter().map(&of).collect(), spans: side.spans };
        let parts = Parts {
            counter_reset: p.counter_reset,
            schema: p.schema,
            zero_threshold: p.zero_threshold,
            zero: of(p.zero),
            count: of(p.count),
            sum: of(p.sum),
            positive: side(p.positive),
            negative: side(p.negative),
            custom_values: p.custom_values,
        };
        parts.into_histogram()
    }

    fn scale(&mut self, by: impl Fn(f64) -> f64) {
        let p = &mut self.parts;
        let sides = p.positive.cells.iter_mut().chain(&mut p.negative.cells);
        for cell in sides.chain([&mut p.zero, &mut p.count, &mut p.sum]) {
            *cell = Kahan { value: by(cell.value), lost: by(cell.lost) };
        }
    }
}

/// A running mean of histograms. The sum is divided at the end or, once it would overflow, each addition moves the mean.
#[derive(Clone, Debug)]
pub struct MeanHistogram {
    sum_or_mean: CompensatedHistogram,
    n: f64,
    incremental: bool,
}

impl MeanHistogram {
    /// The mean of one histogram.
    pub fn new(first: &Histogram) -> Self {
        MeanHistogram { sum_or_mean: CompensatedHistogram::new(first), n: 1.0, incremental: false }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    /// As [`CompensatedHistogram::add`]. The mean is meaningless then.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.n += 1.0;
        if !self.incremental {
            let may_overflow = self.sum_or_mean.is_large() || is_large(other);
            let before = may_overflow.then(|| self.sum_or_mean.clone());
            let combined = self.sum_or_mean.add(other)?;
            let Some(before) = before.filter(|_| self.sum_or_mean.has_overflow()) else { return Ok(combined) };
            self.incremental = true;
            self.sum_or_mean = before;
            let n = self.n - 1.0;
            self.sum_or_mean.scale(|v| v / n);
        }
        let n = self.n;
        self.sum_or_mean.scale(|v| v * ((n - 1.0) / n));
        let mut part = other.clone();
        part.div(n);
        self.sum_or_mean.add(&part)
    }

    /// The mean. It is not compacted.
    pub fn finish(self) -> Histogram {
        if self.incremental { self.sum_or_mean.finish() } else { self.sum_or_mean.finish_divided(self.n) }
    }
}

/// Numbers below this do not overflow when 2^20 of them are added.
const LARGE: f64 = f64::MAX / 2_097_152.0;

fn is_large(h: &Histogram) -> bool {
    let counts = h.positive_buckets.iter().chain(&h.negative_buckets).chain(&h.custom_values[..]);
    counts.chain([&h.zero_count, &h.count, &h.sum]).any(|v| v.abs() >= LARGE)
}

impl CompensatedHistogram {
    fn is_large(&self) -> bool {
        let p = &self.parts;
        let cells = p.positive.cells.iter().chain(&p.negative.cells);
        cells.chain([&p.zero, &p.count, &p.sum]).any(|c| c.value.abs() >= LARGE)
            || p.custom_values.iter().any(|v| v.is_infinite())
    }
}
