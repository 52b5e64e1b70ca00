//! Trimming: the part of a histogram below (`</`) or above (`>/`) a value, with interpolation within buckets.
//!
//! The sum of the rest is an estimate from the middles of the remaining parts of buckets: the geometric mean for
//! exponential buckets, the arithmetic mean for custom ones and the zero bucket.

use crate::buckets::Bucket;
use crate::histogram::Histogram;

/// Which part remains, and how buckets are interpolated.
#[derive(Clone, Copy)]
struct Cut {
    at: f64,
    keep_below: bool,
    linear: bool,
}

impl Histogram {
    /// Keeps the observations below `at` (`histogram </ at`). Compacts the histogram if anything was removed.
    pub fn trim_upper(&mut self, at: f64) {
        self.trim(Cut { at, keep_below: true, linear: self.has_custom_buckets() });
    }

    /// Keeps the observations above `at` (`histogram >/ at`). Compacts the histogram if anything was removed.
    pub fn trim_lower(&mut self, at: f64) {
        self.trim(Cut { at, keep_below: false, linear: self.has_custom_buckets() });
    }

    fn trim(&mut self, cut: Cut) {
        let mut count = 0.0;
        let mut sum = 0.0;
        let mut changed = false;
        let mut trimmed = [Vec::new(), Vec::new()];
        let mut populated = [false, false];
        for (side, buckets) in [self.positive(), self.negative()].into_iter().enumerate() {
            trimmed[side].reserve(buckets.len());
            for bucket in buckets {
                if bucket.count == 0.0 {
                    trimmed[side].push(bucket.count);
                    continue;
                }
                populated[side] = true;
                let (kept, middle) = cut.bucket(&bucket, side == 0);
                count += kept;
                sum += middle * kept;
                changed |= bucket.count != kept;
                trimmed[side].push(kept);
            }
        }
        let mut zero_count = self.zero_count;
        if zero_count > 0.0 {
            let (kept, middle) = cut.zero_bucket(self.zero_bucket(), populated);
            sum += middle * kept;
            count += kept;
            changed |= zero_count != kept;
            zero_count = kept;
        }
        if changed {
            [self.positive_buckets, self.negative_buckets] = trimmed;
            (self.zero_count, self.count, self.sum) = (zero_count, count, sum);
            self.integer = false;
            self.compact(0);
        }
    }
}

impl Cut {
    /// The rest of the count of a bucket, and the middle of the rest.
    fn bucket(self, b: &Bucket, positive: bool) -> (f64, f64) {
        let (keep_all, within) = match self.keep_below {
            true => (b.upper <= self.at, b.lower < self.at),
            false => (b.lower >= self.at, b.upper > self.at),
        };
        if keep_all {
            return (b.count, middle(b.lower, b.upper, positive, self.linear));
        }
        if !within {
            return (0.0, 0.0);
        }
        if b.lower == f64::NEG_INFINITY {
            return self.bucket_without_lower_bound(b);
        }
        if b.upper == f64::INFINITY {
            return self.bucket_without_upper_bound(b);
        }
        let below = match self.at {
            at if at <= b.lower => 0.0,
            at if at >= b.upper => b.count,
            at => b.count * b.fraction_below(at, self.linear),
        };
        match self.keep_below {
            true => (below, middle(b.lower, self.at, positive, self.linear)),
            false => (b.count - below, middle(self.at, b.upper, positive, self.linear)),
        }
    }

    /// The lowest custom bucket, which begins at zero if its upper bound is positive.
    fn bucket_without_lower_bound(self, b: &Bucket) -> (f64, f64) {
        let at = self.at;
        let upper = b.upper;
        if self.keep_below {
            return match () {
                () if at >= upper => (b.count, 0.0),
                () if at > 0.0 && upper > 0.0 && upper.is_finite() => (b.count * at / upper, at / 2.0),
                () if upper <= 0.0 => (b.count, at),
                () => (0.0, finite_or_zero(upper)),
            };
        }
        match () {
            () if at <= b.lower => (b.count, 0.0),
            () if at >= 0.0 && upper > at && upper.is_finite() => (b.count * (1.0 - at / upper), (at + upper) / 2.0),
            () => (0.0, finite_or_zero(upper)),
        }
    }

    /// The highest custom bucket, which is kept or removed as a whole.
    fn bucket_without_upper_bound(self, b: &Bucket) -> (f64, f64) {
        if !self.keep_below && self.at >= b.lower { (b.count, self.at) } else { (0.0, finite_or_zero(b.lower)) }
    }

    /// The zero bucket, which is one-sided if only one side has populated buckets.
    fn zero_bucket(self, zero: Bucket, [has_positive, has_negative]: [bool; 2]) -> (f64, f64) {
        let lower = if has_positive && !has_negative { 0.0 } else { zero.lower };
        let upper = if has_negative && !has_positive { 0.0 } else { zero.upper };
        let whole = (zero.count, (lower + upper) / 2.0);
        match self.keep_below {
            true if self.at <= lower => (0.0, 0.0),
            true if self.at >= upper => whole,
            true => (zero.count * ((self.at - lower) / (upper - lower)), (lower + self.at) / 2.0),
            false if self.at <= lower => whole,
            false if self.at >= upper => (0.0, 0.0),
            false => (zero.count * ((upper - self.at) / (upper - lower)), (self.at + upper) / 2.0),
        }
    }
}

/// The middle of the part of a bucket between two values.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) if positive => (lower * upper).abs().sqrt(),
        (false, false) => -(lower * upper).abs().sqrt(),
    }
}

fn finite_or_zero(value: f64) -> f64 {
    if value.is_infinite() { 0.0 } else { value }
}
