//! The rules that a histogram must obey to be stored.

use pharos_gocompat::GoFloat;

use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Histogram, Span};

/// What is wrong with a histogram or an operation on it, in the words of Prometheus.
///
/// A `side` is `positive side`, `negative side` or `custom buckets`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// One histogram has exponential buckets and the other one custom buckets.
    #[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
    IncompatibleSchemas,
    /// The resolution can only be reduced, and only that of exponential buckets.
    #[error("cannot reduce resolution from schema {from} to {to}")]
    CannotReduce {
        /// The schema of the histogram.
        from: i32,
        /// The requested schema.
        to: i32,
    },
    /// The schema is neither exponential nor that of custom buckets.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// A span begins before the previous one ends.
    #[error("{side}: span number {number} with offset {offset}: histogram has a span whose offset is negative")]
    SpanOffset {
        /// The side of the histogram.
        side: &'static str,
        /// The number of the span, from 1.
        number: usize,
        /// The offset of the span.
        offset: i32,
    },
    /// Spans and buckets disagree about the number of buckets.
    #[error(
        "{side}: spans need {need} buckets, have {have} buckets: histogram spans specify different number of buckets than provided"
    )]
    BucketNumber {
        /// The side of the histogram.
        side: &'static str,
        /// The number that the spans name.
        need: u64,
        /// The number of counts.
        have: usize,
    },
    /// A bucket index does not fit 32 bits.
    #[error("{side}: spans reach bucket {index}, which is out of range")]
    IndexRange {
        /// The side of the histogram.
        side: &'static str,
        /// The index after the last bucket.
        index: i64,
    },
    /// A bucket has a negative count.
    #[error(
        "{side}: bucket number {number} has observation count of {count}: histogram has a bucket whose observation count is negative"
    )]
    NegativeBucket {
        /// The side of the histogram.
        side: &'static str,
        /// The number of the bucket, from 1.
        number: usize,
        /// The count of the bucket.
        count: GoText,
    },
    /// The zero bucket has a negative count.
    #[error("zero bucket has observation count of {0}: histogram has a bucket whose observation count is negative")]
    NegativeZeroBucket(GoText),
    /// The zero threshold is negative or NaN.
    #[error("zero bucket has a threshold of {0}, which must not be negative or NaN")]
    ZeroThreshold(GoText),
    /// The number of observations is negative.
    #[error("observation count is {0}: histogram's observation count is negative")]
    NegativeCount(GoText),
    /// The buckets have more observations than the histogram, whose sum is NaN.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall {
        /// The number in the buckets.
        buckets: GoText,
        /// The number in the histogram.
        count: GoText,
    },
    /// The buckets' number of observations differs from the histogram's.
    #[error(
        "{buckets} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch {
        /// The number in the buckets.
        buckets: GoText,
        /// The number in the histogram.
        count: GoText,
    },
    /// A custom bound is NaN.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    CustomBoundNan,
    /// The custom bounds do not ascend.
    #[error(
        "custom buckets: previous bound is {previous} and current is {current}: histogram custom bounds must be in strictly increasing order"
    )]
    CustomBoundOrder {
        /// The bound before it.
        previous: GoText,
        /// The bound that is not larger.
        current: GoText,
    },
    /// The last custom bound is +Inf.
    #[error("custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite")]
    CustomBoundInfinite,
    /// The spans reach beyond the custom bounds.
    #[error(
        "custom buckets: only {bounds} custom bounds defined which is insufficient to cover total span length of {spans}: histogram custom bounds are too few"
    )]
    CustomBoundsTooFew {
        /// The number of bounds.
        bounds: usize,
        /// The number of buckets that the spans cover.
        spans: u64,
    },
    /// A histogram with custom buckets has something that only exponential ones have.
    #[error("custom buckets: must {0}")]
    CustomWith(&'static str),
    /// A histogram with exponential buckets has custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
}

/// A number in a message, printed as Prometheus prints it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoText(pub f64);

impl std::fmt::Display for GoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        GoFloat(self.0).fmt(f)
    }
}

impl Histogram {
    /// Checks what Prometheus checks before it stores a histogram. Costs no more than reading it.
    ///
    /// # Errors
    /// The first rule that the histogram breaks.
    pub fn validate(&self) -> Result<(), HistogramError> {
        match self.schema {
            CUSTOM_BUCKETS_SCHEMA => self.validate_custom()?,
            EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX => self.validate_exponential()?,
            other => return Err(HistogramError::Schema(other)),
        }
        if self.count < 0.0 {
            return Err(HistogramError::NegativeCount(GoText(self.count)));
        }
        check_counts("positive side", &self.positive_buckets)?;
        if !self.integer {
            return Ok(());
        }
        let buckets: f64 = self.negative_buckets.iter().chain(&self.positive_buckets).sum::<f64>() + self.zero_count;
        let buckets_text = GoText(buckets);
        let count = GoText(self.count);
        match self.sum.is_nan() {
            true if buckets > self.count => Err(HistogramError::CountTooSmall { buckets: buckets_text, count }),
            false if buckets != self.count => Err(HistogramError::CountMismatch { buckets: buckets_text, count }),
            _ => Ok(()),
        }
    }

    fn validate_exponential(&self) -> Result<(), HistogramError> {
        check_spans("positive side", &self.positive_spans, self.positive_buckets.len(), true)?;
        check_spans("negative side", &self.negative_spans, self.negative_buckets.len(), true)?;
        check_counts("negative side", &self.negative_buckets)?;
        if self.zero_count < 0.0 {
            return Err(HistogramError::NegativeZeroBucket(GoText(self.zero_count)));
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold(GoText(self.zero_threshold)));
        }
        if !self.custom_values.is_empty() {
            return Err(HistogramError::ExponentialWithBounds);
        }
        Ok(())
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let bounds = &self.custom_values;
        if bounds.iter().any(|b| b.is_nan()) {
            return Err(HistogramError::CustomBoundNan);
        }
        if let Some([previous, current]) = bounds.array_windows().find(|[a, b]| b <= a) {
            return Err(HistogramError::CustomBoundOrder { previous: GoText(*previous), current: GoText(*current) });
        }
        if bounds.last() == Some(&f64::INFINITY) {
            return Err(HistogramError::CustomBoundInfinite);
        }
        let reach = check_spans("custom buckets", &self.positive_spans, self.positive_buckets.len(), false)?;
        if (bounds.len() as u64 + 1) < reach {
            return Err(HistogramError::CustomBoundsTooFew { bounds: bounds.len(), spans: reach });
        }
        let exponential_parts = [
            (self.zero_count != 0.0, "have zero count of 0"),
            (self.zero_threshold != 0.0, "have zero threshold of 0"),
            (!self.negative_spans.is_empty(), "not have negative spans"),
            (!self.negative_buckets.is_empty(), "not have negative buckets"),
        ];
        match exponential_parts.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(HistogramError::CustomWith(rule)),
            None => Ok(()),
        }
    }
}

/// Checks the spans of a side and returns the index after their last bucket. The first offset may be negative if `signed`.
fn check_spans(side: &'static str, spans: &[Span], have: usize, signed: bool) -> Result<u64, HistogramError> {
    let mut need = 0u64;
    let mut index = 0i64;
    for (at, span) in spans.iter().enumerate() {
        if span.offset < 0 && (at > 0 || !signed) {
            return Err(HistogramError::SpanOffset { side, number: at + 1, offset: span.offset });
        }
        need += u64::from(span.length);
        index += i64::from(span.offset) + i64::from(span.length);
    }
    if need != have as u64 {
        return Err(HistogramError::BucketNumber { side, need, have });
    }
    if index > i64::from(i32::MAX) {
        return Err(HistogramError::IndexRange { side, index });
    }
    Ok(index.max(0) as u64)
}

fn check_counts(side: &'static str, counts: &[f64]) -> Result<(), HistogramError> {
    match counts.iter().position(|count| *count < 0.0) {
        Some(at) => Err(HistogramError::NegativeBucket { side, number: at + 1, count: GoText(counts[at]) }),
        None => Ok(()),
    }
}
