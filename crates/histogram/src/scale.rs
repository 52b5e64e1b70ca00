//! Operations on one histogram: scaling, reduction of the resolution, compaction and comparison.

use crate::combine::same_bounds;
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Span};
use crate::layout::{Side, indexed, indices};
use crate::validate::HistogramError;

impl Histogram {
    /// Multiplies all counts and the sum. A negative factor makes the histogram a gauge. The buckets stay.
    pub fn mul(&mut self, factor: f64) {
        self.map_counts(|count| count * factor);
        if factor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Divides all counts and the sum. A negative divisor makes the histogram a gauge. Zero removes the buckets.
    pub fn div(&mut self, divisor: f64) {
        self.map_counts(|count| count / divisor);
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
        } else if divisor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Negates all counts and the sum, which makes the histogram a gauge.
    pub fn negate(&mut self) {
        self.mul(-1.0);
    }

    fn map_counts(&mut self, map: impl Fn(f64) -> f64) {
        self.integer = false;
        let buckets = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        for count in buckets.chain([&mut self.zero_count, &mut self.count, &mut self.sum]) {
            *count = map(*count);
        }
    }

    /// Drops empty buckets and joins adjacent spans. Runs of at most `max_empty` empty buckets between populated ones
    /// stay, and gaps of at most `max_empty` are filled. Results of queries are compacted with 0.
    pub fn compact(&mut self, max_empty: u32) {
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let mut side = Side { spans: std::mem::take(spans), cells: std::mem::take(counts) };
            side.compact(max_empty);
            (*spans, *counts) = (side.spans, side.cells);
        }
    }

    /// Merges buckets until the histogram has the coarser `schema`.
    ///
    /// # Errors
    /// Either schema is that of custom buckets, or `schema` is not lower than that of the histogram.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        let custom = self.has_custom_buckets() || schema == CUSTOM_BUCKETS_SCHEMA;
        if custom || schema >= self.schema {
            return Err(HistogramError::CannotReduce { from: self.schema, to: schema });
        }
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let side = Side::reduced(indexed(spans, counts), self.schema, schema);
            (*spans, *counts) = (side.spans, side.cells);
        }
        self.schema = schema;
        Ok(())
    }

    /// A copy with the coarser `schema`, or an unchanged copy if the histogram is not finer or has custom buckets. As in
    /// Prometheus, a copy of lower resolution has no counter-reset hint.
    pub fn at_schema(&self, schema: i32) -> Histogram {
        let mut copy = self.clone();
        if copy.reduce_resolution(schema).is_ok() {
            copy.counter_reset = CounterReset::Unknown;
        }
        copy
    }

    /// Whether a count, the sum or a custom bound is infinite.
    pub fn has_overflow(&self) -> bool {
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets).chain(&self.custom_values[..]);
        buckets.chain([&self.zero_count, &self.count, &self.sum]).any(|v| v.is_infinite())
    }

    /// Equality as in PromQL's `==`: the same schema, bounds and populated buckets, to the bit. Spans, empty buckets and
    /// counter-reset hints do not matter.
    pub fn same_as(&self, other: &Histogram) -> bool {
        self.schema == other.schema
            && same_bits(&[self.count, self.sum, self.zero_count], &[other.count, other.sum, other.zero_count])
            && self.zero_threshold == other.zero_threshold
            && (!self.has_custom_buckets() || same_bounds(&self.custom_values, &other.custom_values))
            && filled(&self.positive_spans, &self.positive_buckets)
                .eq(filled(&other.positive_spans, &other.positive_buckets))
            && filled(&self.negative_spans, &self.negative_buckets)
                .eq(filled(&other.negative_spans, &other.negative_buckets))
    }
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The indices and bits of the buckets that are not empty.
fn filled(spans: &[Span], buckets: &[f64]) -> impl Iterator<Item = (i64, u64)> {
    let counts = buckets.iter().map(|count| count.to_bits());
    indices(spans, buckets.len()).zip(counts).filter(|(_, bits)| f64::from_bits(*bits) != 0.0)
}
