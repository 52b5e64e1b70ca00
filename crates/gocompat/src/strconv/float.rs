//! The forms in which Go prints floats.

use std::fmt;

/// Displays a float as Go's `%g` does: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on;
/// `+Inf`, `-Inf` or `NaN`.
pub struct GoFloat(pub f64);

impl fmt::Display for GoFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        let scientific = format!("{value:e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(f, "{value}");
        }
        f.write_str(&with_exponent(mantissa, exponent))
    }
}

/// Prints a float with at most `digits` significant digits, as `%.4g` does.
pub fn format_general(value: f64, digits: usize) -> String {
    if !value.is_finite() || value == 0.0 {
        return GoFloat(value).to_string();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        return with_exponent(&trim(mantissa), exponent);
    }
    trim(&format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

/// A mantissa with an exponent of at least two digits and its sign.
fn with_exponent(mantissa: &str, exponent: i32) -> String {
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Prints a float with an exponent and `digits` decimals, as `%.4e` does.
pub fn format_exponential(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return GoFloat(value).to_string();
    }
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(mantissa, exponent.parse().unwrap_or(0))
}

/// Prints a float with `digits` decimals, as `%.4f` does.
pub fn format_fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { GoFloat(value).to_string() }
}

/// Prints the bound of a bucket or a quantile as OpenMetrics does: like [`GoFloat`], but whole numbers have a `.0`.
pub fn format_openmetrics(value: f64) -> String {
    let text = GoFloat(value).to_string();
    if value.is_finite() && !text.contains(['.', 'e']) { text + ".0" } else { text }
}
