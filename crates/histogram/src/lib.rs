//! Native histograms: one shape for integer and float ones, exponential and custom buckets.
//!
//! Bucket counts are absolute (not deltas) and `f64`; those of an integer histogram are exact up to 2^53.
//! Schema -4 to 8: bucket `i` covers `(base^(i-1), base^i]` with `base = 2^(2^-schema)`. Schema -53: custom bounds.

//!
//! Operations give the results of Prometheus's float histograms, bit for bit where the order of additions matters.
//! Nothing here trusts its input: spans and buckets that contradict each other are read as far as both go.

mod bounds;
mod buckets;
mod combine;
mod compensated;
mod format;
mod layout;
mod math;
mod reset;
mod scale;
mod stale;
mod trim;
mod validate;

use std::sync::Arc;

pub use bounds::bucket_bound;
pub use buckets::{ApiBucket, Bucket, BucketIter};
pub use combine::Combined;
pub use compensated::{CompensatedHistogram, MeanHistogram, kahan_inc};
pub use math::{exp2, log2};
pub use stale::{STALE_NAN, is_stale_nan};
pub use validate::HistogramError;

/// The schema of histograms with custom bucket bounds ("NHCB").
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The lowest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;

/// The highest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// What is known of a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum CounterReset {
    /// Must be found by comparing.
    #[default]
    Unknown,
    /// This one starts anew.
    Reset,
    /// It continues the one before.
    NotReset,
    /// A gauge: resets make no sense.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Buckets skipped since the end of the span before; of the first span, the index of its first bucket.
    pub offset: i32,
    /// Buckets in the run.
    pub length: u32,
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What is known of a reset before it.
    pub counter_reset: CounterReset,
    /// Whether the counts are whole numbers, as the writer sent them.
    pub integer: bool,
    /// Resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Width of the zero bucket on both sides.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; the stale NaN in a stale marker.
    pub sum: f64,
    /// Layout of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Counts of the positive buckets, one for each that the spans name.
    pub positive_buckets: Vec<f64>,
    /// Layout of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, ascending, without +Inf; empty for other schemas.
    pub custom_values: Arc<[f64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counter_reset: CounterReset::Unknown,
            integer: false,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_spans: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: Arc::from(&[][..]),
        }
    }
}

impl Histogram {
    /// Whether its buckets have custom bounds.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum)
    }

    /// The memory that it holds, bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + 8 * (self.positive_spans.capacity()
                + self.negative_spans.capacity()
                + self.positive_buckets.capacity()
                + self.negative_buckets.capacity())
    }
}

#[cfg(test)]
mod tests;
