//! Pure functions for quantiles, fractions, averages and deviations of classic and native histograms.
//!
//! Interpolation assumes that observations are spread evenly within a bucket: linearly in classic buckets, custom
//! buckets and the zero bucket, and exponentially in the other buckets of native histograms. Callers turn
//! [`NanNote`] and [`ForcedMonotonic`] into annotations.

use pharos_histogram::{Bucket, exp2, kahan_inc, log2};
use pharos_model::Histogram;

/// Relative difference below which the counts of adjacent classic buckets count as equal.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// A bucket of a classic histogram, whose count is cumulative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// The value of the `le` label.
    pub upper_bound: f64,
    /// The number of observations less than or equal to `upper_bound`.
    pub count: f64,
}

/// The range and the size of the corrections that made classic buckets monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonic {
    /// The lowest upper bound among the corrected buckets.
    pub min_bucket: f64,
    /// The highest upper bound among the corrected buckets.
    pub max_bucket: f64,
    /// The largest number of observations added to a bucket.
    pub max_diff: f64,
}

/// The effect of NaN observations on a quantile of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanNote {
    /// The quantile falls among the NaN observations, so the result is NaN.
    Result,
    /// The quantile is skewed upwards, because NaN observations rank above all others.
    Skew,
}

/// Computes the quantile `q` of classic buckets. Sorts and merges them and makes them monotonic in place.
///
/// The quantile is NaN if there are fewer than two buckets, no observations, or no `+Inf` bucket. The second value is
/// present if counts were raised by more than rounding errors.
pub fn bucket_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<ForcedMonotonic>) {
    if let Some(value) = trivial_quantile(q) {
        return (value, None);
    }
    if !normalize(buckets) {
        return (f64::NAN, None);
    }
    let forced = ensure_monotonic(buckets);
    let [.., second_last, last] = buckets[..] else { return (f64::NAN, forced) };
    if last.count == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * last.count;
    let finite = &buckets[..buckets.len() - 1];
    // The first bucket whose count reaches the rank. A NaN rank matches none.
    let at = finite.iter().position(|b| b.count >= rank).unwrap_or(finite.len());
    let value = match at {
        at if at == finite.len() => second_last.upper_bound,
        0 if finite[0].upper_bound <= 0.0 => finite[0].upper_bound,
        at => {
            let below = match at {
                0 => ClassicBucket { upper_bound: 0.0, count: 0.0 },
                at => finite[at - 1],
            };
            let width = finite[at].upper_bound - below.upper_bound;
            below.upper_bound + width * ((rank - below.count) / (finite[at].count - below.count))
        }
    };
    (value, forced)
}

/// Computes the fraction of the observations between `lower` and `upper`, from 0 to 1. Sorts and merges the classic
/// buckets in place.
///
/// The fraction is NaN if there are no observations, no `+Inf` bucket, or a bound is NaN.
pub fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !normalize(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |b| b.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks = Ranks::new(lower, upper);
    let mut below = match buckets[0].upper_bound {
        bound if bound <= 0.0 => ClassicBucket { upper_bound: f64::NEG_INFINITY, count: 0.0 },
        _ => ClassicBucket { upper_bound: 0.0, count: 0.0 },
    };
    for b in buckets.iter() {
        let (from, rank) = (below.upper_bound, below.count);
        let done = ranks.visit(from, b.upper_bound, rank, |at| match from {
            f64::NEG_INFINITY => b.count,
            from => rank + (b.count - rank) * (at - from) / (b.upper_bound - from),
        });
        if done {
            break;
        }
        below = *b;
    }
    ranks.between(count) / count
}

/// Computes the quantile `q` of a native histogram.
///
/// The quantile is NaN if there are no observations. If the histogram has positive buckets only, the zero bucket
/// starts at zero; if it has negative buckets only, it ends at zero. NaN observations, which make the sum NaN, rank
/// above all others.
pub fn histogram_quantile(q: f64, h: &Histogram) -> (f64, Option<NanNote>) {
    if let Some(value) = trivial_quantile(q) {
        return (value, None);
    }
    if h.count == 0.0 {
        return (f64::NAN, None);
    }
    // Walking from the nearer end is more precise. NaN observations rank highest but are in no bucket, so a histogram
    // that has them can only be walked from below.
    let from_below = h.sum.is_nan() || q < 0.5;
    let rank = if from_below { q * h.count } else { (1.0 - q) * h.count };
    let found =
        if from_below { find_rank(h.buckets(), rank, h.count) } else { find_rank(h.buckets().rev(), rank, h.count) };
    let Found { mut bucket, mut count, all, last } = found;
    if h.has_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        clip_zero_bucket(&mut bucket, h);
    }
    if count > h.count {
        count = h.count;
    }
    if count < rank {
        return if h.sum.is_nan() { (f64::NAN, Some(NanNote::Result)) } else { (bucket.upper, None) };
    }
    let rank_in_bucket = if from_below { rank - (count - bucket.count) } else { count - rank };
    let note = (h.sum.is_nan() && all < h.count).then_some(NanNote::Skew);
    if let Some(last) = last.filter(|_| h.sum.is_nan()) {
        // Prometheus walks on to the last bucket to count NaN observations, and then interpolates in that bucket.
        bucket = last;
    }
    (interpolate(&bucket, rank_in_bucket / bucket.count, h.has_custom_buckets()), note)
}

/// Computes the fraction of the observations of a native histogram between `lower` and `upper`, from 0 to 1.
///
/// The fraction is NaN if there are no observations or a bound is NaN. The second value is true if the histogram has
/// NaN observations, which are never between the bounds.
pub fn histogram_fraction(lower: f64, upper: f64, h: &Histogram) -> (f64, bool) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let mut ranks = Ranks::new(lower, upper);
    let (mut rank, mut in_buckets) = (0.0, 0.0);
    let mut done = false;
    for mut b in h.buckets() {
        in_buckets += b.count;
        if done {
            continue;
        }
        let zero_bucket = b.lower <= 0.0 && b.upper >= 0.0;
        if zero_bucket {
            clip_zero_bucket(&mut b, h);
        }
        let linear = h.has_custom_buckets() || zero_bucket;
        done = ranks.visit(b.lower, b.upper, rank, |at| match linear && b.lower == f64::NEG_INFINITY {
            true => b.count,
            false => rank + b.count * b.fraction_below(at, linear),
        });
        if done && !h.sum.is_nan() {
            break;
        }
        rank += b.count;
    }
    let nan = h.sum.is_nan();
    let between = ranks.between(if nan { in_buckets } else { h.count });
    (between / h.count, nan && in_buckets < h.count)
}

/// Computes the arithmetic mean of the observations of a native histogram. It is NaN if there are none.
pub fn histogram_avg(h: &Histogram) -> f64 {
    h.sum / h.count
}

/// Estimates the standard deviation of the observations of a native histogram: the root of [`histogram_stdvar`].
pub fn histogram_stddev(h: &Histogram) -> f64 {
    histogram_stdvar(h).sqrt()
}

/// Estimates the variance of the observations of a native histogram.
///
/// Every observation is assumed to be in the middle of its bucket: the geometric mean of the bounds of an exponential
/// bucket, the arithmetic mean of those of a custom bucket, and zero for the zero bucket.
pub fn histogram_stdvar(h: &Histogram) -> f64 {
    let mean = h.sum / h.count;
    let (mut variance, mut compensation) = (0.0, 0.0);
    for b in h.buckets().filter(|b| b.count != 0.0) {
        let middle = if h.has_custom_buckets() {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            (b.upper * b.lower).sqrt().copysign(b.upper)
        };
        let delta = middle - mean;
        (variance, compensation) = kahan_inc(b.count * delta * delta, variance, compensation);
    }
    (variance + compensation) / h.count
}

/// Computes the quantile `q` of `values`, which it sorts. A quantile between two values is their weighted mean; that
/// of no values is NaN.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    if let Some(value) = trivial_quantile(q) {
        return value;
    }
    // NaN sorts first.
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    if weight == 0.0 {
        // Nothing times an infinite neighbour would not be a number.
        return values[lower];
    }
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Returns the quantile if it does not depend on the data, which is the case for a `q` outside of 0 to 1.
fn trivial_quantile(q: f64) -> Option<f64> {
    match q {
        q if q.is_nan() => Some(f64::NAN),
        q if q < 0.0 => Some(f64::NEG_INFINITY),
        q if q > 1.0 => Some(f64::INFINITY),
        _ => None,
    }
}

/// Sorts classic buckets and merges those with the same bound. Returns whether the highest bound is `+Inf`.
fn normalize(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|b, kept| {
        let same = b.upper_bound == kept.upper_bound;
        if same {
            kept.count += b.count;
        }
        same
    });
    buckets.last().is_some_and(|b| b.upper_bound == f64::INFINITY)
}

/// Raises every count that is lower than its predecessor. Returns the corrections that exceeded the tolerance.
fn ensure_monotonic(buckets: &mut [ClassicBucket]) -> Option<ForcedMonotonic> {
    let mut forced: Option<ForcedMonotonic> = None;
    let (first, rest) = buckets.split_first_mut()?;
    let mut before = first.count;
    for b in rest {
        if almost_equal(before, b.count, SMALL_DELTA_TOLERANCE) {
            b.count = before;
        } else if b.count < before {
            let so_far = forced.unwrap_or(ForcedMonotonic {
                min_bucket: f64::INFINITY,
                max_bucket: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            forced = Some(ForcedMonotonic {
                min_bucket: so_far.min_bucket.min(b.upper_bound),
                max_bucket: so_far.max_bucket.max(b.upper_bound),
                max_diff: so_far.max_diff.max(before - b.count),
            });
            b.count = before;
        } else {
            before = b.count;
        }
    }
    forced
}

/// Returns whether two numbers differ by less than `epsilon` times the sum of their magnitudes.
///
/// All NaNs equal each other, except stale markers, which equal only stale markers.
pub fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if pharos_model::is_stale_nan(a) || pharos_model::is_stale_nan(b) {
        return a.to_bits() == b.to_bits();
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// The position of a rank among the buckets of a native histogram.
struct Found {
    /// The bucket that contains the rank, or the last bucket if none does.
    bucket: Bucket,
    /// Number of observations up to and including `bucket`.
    count: f64,
    /// Number of observations in all buckets. The part up to `bucket` is capped at the count of the histogram.
    all: f64,
    /// The last bucket, if it comes after `bucket`.
    last: Option<Bucket>,
}

fn find_rank(buckets: impl Iterator<Item = Bucket>, rank: f64, most: f64) -> Found {
    let none = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0, index: 0 };
    let mut found = Found { bucket: none, count: 0.0, all: 0.0, last: None };
    let mut reached = false;
    for b in buckets {
        if reached {
            found.all += b.count;
            found.last = Some(b);
            continue;
        }
        found.bucket = b;
        if b.count != 0.0 {
            found.count += b.count;
            found.all = if found.count > most { most } else { found.count };
            reached = found.count >= rank;
        }
    }
    found
}

/// Clips the zero bucket at zero if all other buckets of the histogram are on one side of it.
fn clip_zero_bucket(bucket: &mut Bucket, h: &Histogram) {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// Returns the value below which the given fraction of the bucket's observations lies.
fn interpolate(bucket: &Bucket, fraction: f64, custom: bool) -> f64 {
    let &Bucket { lower, upper, .. } = bucket;
    if custom || (lower <= 0.0 && upper >= 0.0) {
        return lower + (upper - lower) * fraction;
    }
    let (log_lower, log_upper) = (log2(lower.abs()), log2(upper.abs()));
    if lower > 0.0 {
        return exp2(log_lower + (log_upper - log_lower) * fraction);
    }
    -exp2(log_upper + (log_lower - log_upper) * (1.0 - fraction))
}

/// The ranks of two values in a histogram, computed while its buckets are walked in ascending order.
struct Ranks {
    lower: (f64, Option<f64>),
    upper: (f64, Option<f64>),
}

impl Ranks {
    fn new(lower: f64, upper: f64) -> Self {
        Ranks { lower: (lower, None), upper: (upper, None) }
    }

    /// Visits the bucket from `from` to `to`, which has `rank` observations below it. Returns whether both values have
    /// their ranks now.
    fn visit(&mut self, from: f64, to: f64, rank: f64, interpolate: impl Fn(f64) -> f64) -> bool {
        for (value, found) in [&mut self.lower, &mut self.upper] {
            if found.is_none() {
                if from >= *value {
                    *found = Some(rank);
                } else if from < *value && to > *value {
                    *found = Some(interpolate(*value));
                }
            }
        }
        self.lower.1.is_some() && self.upper.1.is_some()
    }

    /// Returns the number of observations between the two values, out of `count`.
    fn between(&self, count: f64) -> f64 {
        let limited = |rank: Option<f64>| match rank {
            Some(rank) if rank > count => count,
            Some(rank) => rank,
            None => count,
        };
        limited(self.upper.1) - limited(self.lower.1)
    }
}

#[cfg(test)]
mod tests;
