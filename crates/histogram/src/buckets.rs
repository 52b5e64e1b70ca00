//! Buckets with their bounds, one at a time.

use crate::bounds::bucket_bound;
use crate::math::log2;
use crate::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};

/// One bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
    /// Its index in the schema, counted away from zero; 0 for the zero bucket.
    pub index: i64,
}

impl Bucket {
    /// The part of the bucket that is below `at`, which lies within it, by linear or exponential interpolation.
    pub fn fraction_below(&self, at: f64, linear: bool) -> f64 {
        if linear {
            return (at - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, at_log] = [self.lower, self.upper, at].map(|v| log2(v.abs()));
        if at > 0.0 { (at_log - lower) / (upper - lower) } else { 1.0 - (at_log - upper) / (lower - upper) }
    }
}

/// A bucket in the form of the HTTP API: `[boundaries, left, right, count]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApiBucket {
    /// Which bounds belong to it: 0 the right one, 1 the left one, 2 none, 3 both.
    pub boundaries: u8,
    /// Lower bound.
    pub left: f64,
    /// Upper bound.
    pub right: f64,
    /// Observations in it.
    pub count: f64,
}

/// The buckets of one side by ascending index; from the back by descending index. Empty buckets are included.
#[derive(Clone, Debug)]
pub struct BucketIter<'a> {
    spans: &'a [Span],
    counts: &'a [f64],
    custom_values: &'a [f64],
    schema: i32,
    negative: bool,
    /// Index of the next bucket at the front, and how many of the first span are left.
    front: (i64, u32),
    /// Index of the next bucket at the back, and how many of the last span are left.
    back: (i64, u32),
}

impl<'a> BucketIter<'a> {
    fn new(h: &'a Histogram, negative: bool) -> Self {
        let (spans, counts) = match negative {
            false => (h.positive_spans.as_slice(), h.positive_buckets.as_slice()),
            true => (h.negative_spans.as_slice(), h.negative_buckets.as_slice()),
        };
        let named: u64 = spans.iter().map(|s| u64::from(s.length)).sum();
        let usable = counts.len().min(usize::try_from(named).unwrap_or(usize::MAX));
        let (spans, back) = last_bucket(spans, usable);
        let front = spans.first().map_or((0, 0), |s| (i64::from(s.offset), s.length));
        let custom_values = if negative { &[][..] } else { &h.custom_values[..] };
        BucketIter { spans, counts: &counts[..usable], custom_values, schema: h.schema, negative, front, back }
    }

    fn bucket(&self, index: i64, count: f64) -> Bucket {
        let outer = bucket_bound(index, self.schema, self.custom_values);
        let inner = bucket_bound(index.saturating_sub(1), self.schema, self.custom_values);
        let (lower, upper) = if self.negative { (-outer, -inner) } else { (inner, outer) };
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        let lower_inclusive = if custom { index == 0 } else { lower < 0.0 };
        Bucket { lower, upper, lower_inclusive, upper_inclusive: custom || upper > 0.0, count, index }
    }
}

/// The spans up to that of the last of `usable` buckets, its index, and how many buckets its span has up to it.
fn last_bucket(spans: &[Span], usable: usize) -> (&[Span], (i64, u32)) {
    let (mut left, mut next) = (usable as u64, 0i64);
    let spans = if usable == 0 { &[] } else { spans };
    for (at, span) in spans.iter().enumerate() {
        next += i64::from(span.offset);
        if u64::from(span.length) >= left {
            return (&spans[..=at], (next + left as i64 - 1, left as u32));
        }
        left -= u64::from(span.length);
        next += i64::from(span.length);
    }
    (&[], (0, 0))
}

impl Iterator for BucketIter<'_> {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        let (&count, rest) = self.counts.split_first()?;
        while self.front.1 == 0 {
            let [_, next, ..] = self.spans else { return None };
            // The index is one past the last bucket of the span before already.
            self.front = (self.front.0 + i64::from(next.offset), next.length);
            self.spans = &self.spans[1..];
        }
        let bucket = self.bucket(self.front.0, count);
        self.front = (self.front.0 + 1, self.front.1 - 1);
        self.counts = rest;
        Some(bucket)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.counts.len(), Some(self.counts.len()))
    }
}

impl DoubleEndedIterator for BucketIter<'_> {
    fn next_back(&mut self) -> Option<Bucket> {
        let (&count, rest) = self.counts.split_last()?;
        while self.back.1 == 0 {
            let [.., before, last] = self.spans else { return None };
            self.back = (self.back.0 - i64::from(last.offset), before.length);
            self.spans = &self.spans[..self.spans.len() - 1];
        }
        let bucket = self.bucket(self.back.0, count);
        self.back = (self.back.0 - 1, self.back.1 - 1);
        self.counts = rest;
        Some(bucket)
    }
}

impl ExactSizeIterator for BucketIter<'_> {}

impl Histogram {
    /// The positive buckets (all, for custom buckets), from the lowest value to the highest.
    pub fn positive(&self) -> BucketIter<'_> {
        BucketIter::new(self, false)
    }

    /// The negative buckets by ascending index: from the highest value, nearest to zero, to the lowest.
    pub fn negative(&self) -> BucketIter<'_> {
        BucketIter::new(self, true)
    }

    /// The zero bucket, also when it is empty.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// All buckets from the lowest value to the highest, from the back the other way round. The zero bucket is there
    /// when it is populated; buckets that reach into it are cut off at its bounds.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let clip = |b: Bucket| clip_at_zero_bucket(b, self.zero_threshold);
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        self.negative().rev().map(clip).chain(zero).chain(self.positive().map(clip))
    }

    /// The populated buckets as the HTTP API shows them.
    pub fn api_buckets(&self) -> impl Iterator<Item = ApiBucket> + '_ {
        self.buckets().filter(|b| b.count != 0.0).map(|b| ApiBucket {
            boundaries: match (b.lower_inclusive, b.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            },
            left: b.lower,
            right: b.upper,
            count: b.count,
        })
    }
}

fn clip_at_zero_bucket(mut bucket: Bucket, zero_threshold: f64) -> Bucket {
    if bucket.upper < 0.0 && bucket.upper > -zero_threshold {
        bucket.upper = -zero_threshold;
    } else if bucket.lower > 0.0 && bucket.lower < zero_threshold {
        bucket.lower = zero_threshold;
    }
    bucket
}
