//! The type of native histograms.

use std::sync::Arc;

use crate::stale::is_stale_nan;

/// The schema of histograms with custom bucket bounds (NHCB).
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The lowest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MIN: i32 = -4;

/// The highest schema of exponential buckets.
pub const EXPONENTIAL_SCHEMA_MAX: i32 = 8;

/// What is known about a counter reset between a histogram and the previous one of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum CounterReset {
    /// Nothing: readers compare.
    #[default]
    Unknown,
    /// The counter was reset.
    Reset,
    /// The counter was not reset.
    NotReset,
    /// A gauge, which has no resets.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The number of buckets between the end of the previous span and this one. For the first span, the index of its
    /// first bucket.
    pub offset: i32,
    /// The number of buckets in the run.
    pub length: u32,
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What is known about a reset before this histogram.
    pub counter_reset: CounterReset,
    /// Whether the writer sent whole numbers as counts.
    pub integer: bool,
    /// The resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// The distance from zero to which the zero bucket reaches on both sides.
    pub zero_threshold: f64,
    /// The number of observations in the zero bucket.
    pub zero_count: f64,
    /// The number of all observations.
    pub count: f64,
    /// The sum of all observations. A stale marker has [`STALE_NAN`](crate::STALE_NAN).
    pub sum: f64,
    /// The indices of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// The counts of the positive buckets, one for each index that the spans name.
    pub positive_buckets: Vec<f64>,
    /// The indices of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// The counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// The upper bounds of custom buckets, ascending, without +Inf. Empty for other schemas.
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
    /// Whether the buckets have custom bounds.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether the histogram is a stale marker, which ends its series.
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum)
    }

    /// The memory that the histogram takes, bytes. Custom bounds are shared and not counted.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + 8 * (self.positive_spans.capacity()
                + self.negative_spans.capacity()
                + self.positive_buckets.capacity()
                + self.negative_buckets.capacity())
    }
}
