//! Straight lines and smoothing over the floats of a window: `deriv`, `predict_linear`,
//! `double_exponential_smoothing`.

use pharos_histogram::kahan_inc;

use crate::error::QueryError;

/// The slope per second, and the value at `origin` (milliseconds), of the least-squares line through at least one sample.
pub(crate) fn line(t: &[i64], v: &[f64], origin: i64) -> (f64, f64) {
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    let first = v[0];
    // The first sample is not compared with itself: it may be NaN.
    let constant = v[1..].iter().all(|y| *y == first);
    for (&t, &y) in t.iter().zip(v) {
        let x = (t - origin) as f64 / 1e3;
        x_sum = kahan_inc(x, x_sum.0, x_sum.1);
        y_sum = kahan_inc(y, y_sum.0, y_sum.1);
        xy_sum = kahan_inc(x * y, xy_sum.0, xy_sum.1);
        xx_sum = kahan_inc(x * x, xx_sum.0, xx_sum.1);
    }
    if constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = v.len() as f64;
    let (x, y, xy, xx) = (x_sum.0 + x_sum.1, y_sum.0 + y_sum.1, xy_sum.0 + xy_sum.1, xx_sum.0 + xx_sum.1);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Checks a factor of `double_exponential_smoothing`.
pub(crate) fn check_factor(name: &str, short: &str, value: f64) -> Result<(), QueryError> {
    if value <= 0.0 || value >= 1.0 {
        let reason = format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {value:.6}");
        return Err(QueryError::Execution(reason));
    }
    Ok(())
}

/// The smoothed last value of at least two samples, with a smoothing and a trend factor.
pub(crate) fn smooth(v: &[f64], smoothing: f64, trend: f64) -> f64 {
    let (mut before, mut smoothed, mut slope) = (0.0, v[0], v[1] - v[0]);
    for (i, &value) in v.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + slope);
        (before, smoothed) = (smoothed, next);
    }
    smoothed
}
