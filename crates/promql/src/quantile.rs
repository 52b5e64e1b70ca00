//! Quantiles, fractions, averages and deviations of classic and native histograms: pure functions.
//!
//! Observations are assumed to be spread evenly within a bucket: linearly in classic and custom buckets and in the zero
//! bucket, exponentially in the other buckets of native histograms. Callers turn notes into annotations.

use pharos_histogram::{Bucket, exp2, kahan_inc, log2};
use pharos_model::Histogram;

/// The relative difference up to which the counts of neighbouring classic buckets are considered equal.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// A classic bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// The value of the `le` label.
    pub upper_bound: f64,
    /// The number of observations up to `upper_bound`.
    pub count: f64,
}

/// How classic buckets were not monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonic {
    /// The lowest bound of the buckets that were fixed.
    pub min_bucket: f64,
    /// The highest bound of the buckets that were fixed.
    pub max_bucket: f64,
    /// The largest difference that was added.
    pub max_diff: f64,
}

/// How NaN observations affect a quantile of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanNote {
    /// The quantile is among the NaN observations, hence NaN.
    Result,
    /// The quantile is skewed upwards, since NaN observations count as the highest.
    Skew,
}

/// The quantile `q` of classic buckets, which are sorted, merged and made monotonic in place.
///
/// NaN when there are fewer than two buckets, no observations, or no `+Inf` bucket. The second value is present when
/// counts had to be raised by more than rounding errors.
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
    // The first bucket with a count of at least the rank; none when the rank is NaN.
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

/// The fraction of the observations in classic buckets between `lower` and `upper`. Buckets are sorted and merged.
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

/// The quantile `q` of a native histogram.
///
/// NaN for no observations. Without negative buckets the zero bucket begins at zero, without positive ones it ends
/// there. NaN observations (the sum is NaN) count as the highest.
pub fn histogram_quantile(q: f64, h: &Histogram) -> (f64, Option<NanNote>) {
    if let Some(value) = trivial_quantile(q) {
        return (value, None);
    }
    if h.count == 0.0 {
        return (f64::NAN, None);
    }
    // The nearer end is walked from, for precision; NaN observations are in no bucket, at the upper end.
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
        // Prometheus goes on to the last bucket to count NaN observations, and then interpolates in that.
        bucket = last;
    }
    (interpolate(&bucket, rank_in_bucket / bucket.count, h.has_custom_buckets()), note)
}

/// The fraction of a native histogram's observations between `lower` and `upper`. The second value says that NaN
/// observations were left out.
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

/// The mean of the observations.
pub fn histogram_avg(h: &Histogram) -> f64 {
    h.sum / h.count
}

/// The estimated standard deviation of the observations.
pub fn histogram_stddev(h: &Histogram) -> f64 {
    histogram_stdvar(h).sqrt()
}

/// The estimated variance of the observations, each taken to be in the middle of its bucket: the geometric mean of
/// exponential buckets, the arithmetic one of custom buckets, zero in the zero bucket.
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

/// The quantile `q` of values, which are sorted: NaN for none; between two values, their weighted mean.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    if let Some(value) = trivial_quantile(q) {
        return value;
    }
    // NaN comes first.
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The quantiles that do not depend on the data.
fn trivial_quantile(q: f64) -> Option<f64> {
    match q {
        q if q.is_nan() => Some(f64::NAN),
        q if q < 0.0 => Some(f64::NEG_INFINITY),
        q if q > 1.0 => Some(f64::INFINITY),
        _ => None,
    }
}

/// Sorts classic buckets and merges those with the same bound. False when the highest is not `+Inf`.
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

/// Raises counts that are lower than those before; says how, unless it was within the tolerance.
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

/// Whether two numbers differ by less than `epsilon` times their sum; all NaNs are equal, except stale markers.
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

/// Where a rank was found.
struct Found {
    /// The bucket that holds it, or the last one.
    bucket: Bucket,
    /// Observations up to and with that bucket.
    count: f64,
    /// Observations in all buckets, where those up to that bucket are no more than there may be.
    all: f64,
    /// The last bucket of all, when the rank was found before it.
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

/// Makes the zero bucket one-sided when only the other side of the histogram has buckets.
fn clip_zero_bucket(bucket: &mut Bucket, h: &Histogram) {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// The value below which a fraction of a bucket's observations is.
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

/// The ranks of two values in a histogram, found while walking its buckets upwards.
struct Ranks {
    lower: (f64, Option<f64>),
    upper: (f64, Option<f64>),
}

impl Ranks {
    fn new(lower: f64, upper: f64) -> Self {
        Ranks { lower: (lower, None), upper: (upper, None) }
    }

    /// Looks into the bucket from `from` to `to`, below which `rank` observations are. True when both are known.
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

    /// How many observations are between the two, of `count`.
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
