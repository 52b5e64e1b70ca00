//! Addition and subtraction of histograms with different resolutions, zero buckets and custom bounds.
//!
//! [`Parts`] is a histogram over any kind of cell, so that plain and compensated addition share the code. The coarser
//! schema and the wider zero bucket win. A zero bucket that ends within a populated bucket grows to the bound of that
//! bucket.

use std::sync::Arc;

use crate::bounds::exponential_bound;
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram};
use crate::layout::{Cell, Side, indexed};
use crate::validate::HistogramError;

/// What users should know about an addition or subtraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Combined {
    /// One histogram was marked as a counter reset and the other as none.
    pub counter_reset_collision: bool,
    /// The custom bounds differed. The result has the bounds that both have in common.
    pub bounds_reconciled: bool,
}

/// A histogram whose counts are cells.
#[derive(Clone, Debug)]
pub(crate) struct Parts<C> {
    pub(crate) counter_reset: CounterReset,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero: C,
    pub(crate) count: C,
    pub(crate) sum: C,
    pub(crate) positive: Side<C>,
    pub(crate) negative: Side<C>,
    pub(crate) custom_values: Arc<[f64]>,
}

impl<C: Cell> Parts<C> {
    /// Converts the counts of a histogram, times `scale`, to cells.
    pub(crate) fn copy_of(h: &Histogram, scale: f64) -> Self {
        let cells = |counts: &[f64]| counts.iter().map(|&n| C::of(scale * n)).collect();
        Parts {
            counter_reset: h.counter_reset,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero: C::of(scale * h.zero_count),
            count: C::of(scale * h.count),
            sum: C::of(scale * h.sum),
            positive: Side { spans: h.positive_spans.clone(), cells: cells(&h.positive_buckets) },
            negative: Side { spans: h.negative_spans.clone(), cells: cells(&h.negative_buckets) },
            custom_values: h.custom_values.clone(),
        }
    }

    /// Adds `scale` (1 or -1) times a histogram.
    pub(crate) fn combine(&mut self, other: &Histogram, scale: f64) -> Result<Combined, HistogramError> {
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        if custom != other.has_custom_buckets() {
            return Err(HistogramError::IncompatibleSchemas);
        }
        let counter_reset_collision = self.adjust_counter_reset(other.counter_reset);
        self.count.absorb(C::of(scale * other.count));
        self.sum.absorb(C::of(scale * other.sum));
        let mut bounds_reconciled = false;
        if custom {
            bounds_reconciled = !same_bounds(&self.custom_values, &other.custom_values);
            if bounds_reconciled {
                self.combine_mismatched(other, scale);
            } else {
                self.add_sides(other, scale);
            }
        } else if self.has_layout_of(other) {
            self.zero.absorb(C::of(scale * other.zero_count));
            self.add_sides(other, scale);
        } else {
            let mut other = Parts::copy_of(other, scale);
            let other_zero = self.reconcile_zero_buckets(&other);
            self.zero.absorb(other_zero);
            self.reduce_to(other.schema);
            other.reduce_to(self.schema);
            let schema = self.schema;
            let threshold = self.zero_threshold;
            let outside = move |&(index, _): &(i64, C)| exponential_bound(index, schema) > threshold;
            self.positive.merge(other.positive.iter().filter(outside));
            self.negative.merge(other.negative.iter().filter(outside));
        }
        Ok(Combined { counter_reset_collision, bounds_reconciled })
    }

    fn has_layout_of(&self, other: &Histogram) -> bool {
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.positive.spans == other.positive_spans
            && self.negative.spans == other.negative_spans
            && (self.zero_threshold == 0.0
                || [&other.positive_spans, &other.negative_spans].iter().all(|spans| {
                    let first = spans.first().map_or(i64::MAX, |s| i64::from(s.offset));
                    exponential_bound(first, other.schema) > other.zero_threshold
                }))
    }

    /// Adds the buckets of a histogram with the same bounds.
    fn add_sides(&mut self, other: &Histogram, scale: f64) {
        for (mine, spans, counts) in [
            (&mut self.positive, &other.positive_spans, &other.positive_buckets),
            (&mut self.negative, &other.negative_spans, &other.negative_buckets),
        ] {
            if mine.spans == *spans && mine.cells.len() == counts.len() {
                mine.cells.iter_mut().zip(counts).for_each(|(cell, &n)| cell.absorb(C::of(scale * n)));
            } else {
                mine.merge(indexed(spans, counts).map(|(index, n)| (index, C::of(scale * n))));
            }
        }
    }

    /// Adds the buckets of a histogram with other custom bounds. The result has the bounds that both have in common.
    fn combine_mismatched(&mut self, other: &Histogram, scale: f64) {
        let shared = shared_bounds(&self.custom_values, &other.custom_values);
        let mut cells = vec![C::of(0.0); shared.len() + 1];
        let target = |index: i64, bounds: &[f64]| {
            let source = usize::try_from(index).ok().and_then(|at| bounds.get(at));
            source.map_or(shared.len(), |bound| shared.partition_point(|s| s < bound))
        };
        for (index, cell) in self.positive.iter() {
            cells[target(index, &self.custom_values)].absorb(cell);
        }
        for (index, n) in indexed(&other.positive_spans, &other.positive_buckets) {
            cells[target(index, &other.custom_values)].absorb(C::of(scale * n));
        }
        self.positive = Side::collect((0i64..).zip(cells).filter(|(_, cell)| !cell.is_zero()));
        self.custom_values = shared.into();
    }

    fn reduce_to(&mut self, schema: i32) {
        if schema < self.schema {
            self.positive = Side::reduced(self.positive.iter(), self.schema, schema);
            self.negative = Side::reduced(self.negative.iter(), self.schema, schema);
            self.schema = schema;
        }
    }

    /// Widens the zero bucket until that of `other` can be made equally wide, and returns the count of the latter. The
    /// buckets of `other` stay; the sum leaves out those that the zero bucket covers at the common resolution.
    fn reconcile_zero_buckets(&mut self, other: &Parts<C>) -> C {
        let mut zero = other.zero;
        let mut threshold = other.zero_threshold;
        // `!=` would hold forever for a hostile threshold that is NaN.
        loop {
            if self.zero_threshold > threshold {
                let sides = [&other.positive, &other.negative].map(Side::iter);
                (zero, threshold) = zero_bucket_at(other.zero, other.schema, sides, self.zero_threshold);
            } else if threshold > self.zero_threshold {
                self.widen_zero_bucket(threshold);
            } else {
                return zero;
            }
        }
    }

    /// Widens the zero bucket to at least `threshold` and moves the buckets within it into it.
    fn widen_zero_bucket(&mut self, threshold: f64) {
        let (zero, threshold) =
            zero_bucket_at(self.zero, self.schema, [&self.positive, &self.negative].map(Side::iter), threshold);
        self.zero = zero;
        self.zero_threshold = threshold;
        let schema = self.schema;
        for side in [&mut self.positive, &mut self.negative] {
            let outside = |&(index, _): &(i64, C)| exponential_bound(index.saturating_sub(1), schema) >= threshold;
            *side = Side::collect(side.iter().filter(|(_, cell)| !cell.is_zero()).filter(outside));
        }
    }

    fn adjust_counter_reset(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, NotReset, Reset, Unknown};
        let (combined, collision) = match (self.counter_reset, other) {
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Reset, NotReset) | (NotReset, Reset) => (Unknown, true),
            (mine, other) if mine == other => (mine, false),
            _ => (Unknown, false),
        };
        self.counter_reset = combined;
        collision
    }
}

/// The count and width of a zero bucket that is widened to at least `threshold`. If `threshold` is within a populated
/// bucket, the width is the outer bound of that bucket. `sides` ascend.
pub(crate) fn zero_bucket_at<C: Cell>(
    zero: C,
    schema: i32,
    sides: [impl Iterator<Item = (i64, C)> + Clone; 2],
    mut threshold: f64,
) -> (C, f64) {
    loop {
        let before = threshold;
        let mut total = zero;
        for side in sides.clone() {
            for (index, cell) in side {
                if exponential_bound(index.saturating_sub(1), schema) >= threshold {
                    break;
                }
                total.absorb(cell);
                let outer = exponential_bound(index, schema);
                if outer > threshold {
                    if !cell.is_zero() {
                        threshold = outer;
                    }
                    break;
                }
            }
        }
        // The second side may have widened the zero bucket over buckets of the first one.
        if threshold == before || threshold.is_nan() {
            return (total, threshold);
        }
    }
}

/// Whether custom bounds are the same.
pub(crate) fn same_bounds(a: &Arc<[f64]>, b: &Arc<[f64]>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// The bounds that two ascending lists have in common.
fn shared_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut shared = Vec::with_capacity(a.len().min(b.len()));
    let mut others = b.iter().peekable();
    for bound in a {
        while others.next_if(|other| *other < bound).is_some() {}
        if others.next_if(|other| *other == bound).is_some() {
            shared.push(*bound);
        }
    }
    shared
}

impl Parts<f64> {
    /// Takes the buckets out of `h`.
    fn take(h: &mut Histogram) -> Self {
        Parts {
            counter_reset: h.counter_reset,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero: h.zero_count,
            count: h.count,
            sum: h.sum,
            positive: Side {
                spans: std::mem::take(&mut h.positive_spans),
                cells: std::mem::take(&mut h.positive_buckets),
            },
            negative: Side {
                spans: std::mem::take(&mut h.negative_spans),
                cells: std::mem::take(&mut h.negative_buckets),
            },
            custom_values: h.custom_values.clone(),
        }
    }

    /// Converts the parts back into a histogram.
    pub(crate) fn into_histogram(self) -> Histogram {
        Histogram {
            counter_reset: self.counter_reset,
            integer: false,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero,
            count: self.count,
            sum: self.sum,
            positive_spans: self.positive.spans,
            positive_buckets: self.positive.cells,
            negative_spans: self.negative.spans,
            negative_buckets: self.negative.cells,
            custom_values: self.custom_values,
        }
    }
}

impl Histogram {
    /// Adds a histogram. The result is not compacted.
    ///
    /// # Errors
    /// [`HistogramError::IncompatibleSchemas`] if only one of them has custom buckets. Nothing has changed then.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.combine(other, 1.0)
    }

    /// Subtracts a histogram. The caller decides whether the result is a gauge.
    ///
    /// # Errors
    /// As [`Histogram::add`].
    pub fn sub(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.combine(other, -1.0)
    }

    fn combine(&mut self, other: &Histogram, scale: f64) -> Result<Combined, HistogramError> {
        let mut parts = Parts::take(self);
        let combined = parts.combine(other, scale);
        let integer = self.integer && (combined.is_err() || other.integer && scale > 0.0);
        *self = parts.into_histogram();
        self.integer = integer;
        combined
    }
}
