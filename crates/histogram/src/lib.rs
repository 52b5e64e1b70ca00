//! Native histograms. One type holds integer and float histograms, with exponential and with custom buckets.
//!
//! Bucket counts are absolute (not deltas) and `f64`, so those of an integer histogram are exact up to 2^53. In schemas -4
//! to 8 bucket `i` covers `(base^(i-1), base^i]` with `base = 2^(2^-schema)`. Schema -53 has custom bounds.
//!
//! Results equal those of Prometheus's float histograms to the bit, also where the order of additions matters. Nothing
//! trusts its input: where spans and buckets contradict each other, both are read up to the end of the shorter.

#![forbid(unsafe_code)]

mod bounds;
mod buckets;
mod combine;
mod compensated;
mod format;
mod histogram;
mod layout;
mod math;
mod reset;
mod scale;
mod stale;
mod trim;
mod validate;

pub use bounds::bucket_bound;
pub use buckets::{ApiBucket, Bucket, BucketIter};
pub use combine::Combined;
pub use compensated::{CompensatedHistogram, MeanHistogram, kahan_inc};
pub use histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterReset, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Histogram, Span,
};
pub use math::{exp2, log2};
pub use stale::{STALE_NAN, is_stale_nan};
pub use validate::HistogramError;

#[cfg(test)]
mod tests;
