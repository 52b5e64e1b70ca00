//! Iterators over buckets with their bounds.

use crate::bounds::bucket_bound;
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};
use crate::math::log2;

/// One bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// The number of observations.
    pub count: f64,
    /// The index in the schema, which grows with the distance from zero; 0 for the zero bucket.
    pub index: i64,
}

impl Bucket {
    /// The fraction of the bucket below `at`, a value within it, by linear or exponential interpolation.
    pub fn fraction_below(&self, at: f64, linear: bool) -> f64 {
        if linear {
            return (at - self.lower) / (self.upper - self.lower);
        }
        let [lower, upper, at_log] = [self.lower, self.upper, at].map(|v| log2(v.abs()));
        if at > 0.0 { (at_log - lower) / (upper - lower) } else { 1.0 - (at_log - upper) / (lower - upper) }
    }
}

/// A bucket in the form of the HTTP API, `[boundaries, left, right, count]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApiBucket {
    /// Which bounds belong to the bucket: 0 the right one, 1 the left one, 2 none, 3 both.
    pub boundaries: u8,
    /// The lower bound.
    pub left: f64,
    /// The upper bound.
    pub right: f64,
    /// The number of observations.
    pub count: f64,
}

/// The buckets of one side by ascending index, including empty ones.
#[derive(Clone, Debug)]
pub struct BucketIter<'a> {
    spans: &'a [Span],
    counts: &'a [f64],
    custom_values: &'a [f64],
    schema: i32,
    negative: bool,
    /// The index of the next bucket at the front, and the number of buckets left in the first span.
    front: (i64, u32),
    /// The index of the next bucket at the back, and the number of buckets left in the last span.
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

/// The spans up to the last of `usable` buckets, and for the back of the iterator its index and the number of buckets of
/// its span up to it.
fn last_bucket(spans: &[Span], usable: usize) -> (&[Span], (i64, u32)) {
    let mut left = usable as u64;
    let mut next = 0i64;
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
            // The index is already one past the last bucket of the previous span.
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
    /// The positive buckets from the lowest value to the highest. All custom buckets are positive ones.
    pub fn positive(&self) -> BucketIter<'_> {
        BucketIter::new(self, false)
    }

    /// The negative buckets by ascending index: from the value nearest to zero to the lowest.
    pub fn negative(&self) -> BucketIter<'_> {
        BucketIter::new(self, true)
    }

    /// The zero bucket, even if it is empty.
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

    /// All buckets from the lowest value to the highest, with the zero bucket if it is populated. Buckets that overlap the
    /// zero bucket end at its bounds.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let clip = |b: Bucket| clip_at_zero_bucket(b, self.zero_threshold);
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        self.negative().rev().map(clip).chain(zero).chain(self.positive().map(clip))
    }

    /// The populated buckets in the form of the HTTP API.
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
