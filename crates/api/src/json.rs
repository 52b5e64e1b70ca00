//! Writes query results as JSON, byte for byte like Prometheus.
//!
//! Sample values are strings, times are seconds with three decimals or none, and histograms list their buckets. The
//! functions append to a byte vector without intermediate trees.

use std::io::Write;

use pharos_model::{Histogram, Labels};
use pharos_promql::{MatrixSeries, SampleValue, Value, VectorSample};

/// Appends `text` as a JSON string, with quotes and escapes.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let escaped = [b'\\', b'u', b'0', b'0', HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]];
                out.extend_from_slice(&escaped);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Appends a float with the fewest digits that read back, as Go does. Magnitudes below 1e-6 and from 1e21 on get an
/// exponent.
pub fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        if value == 0.0 && value.is_sign_negative() {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if value.abs() < 1e-6 || value.abs() >= 1e21 {
        exponent_form(out, value);
    } else {
        // Rust also prints the fewest digits that read back, but never an exponent. Writing to a vector cannot fail.
        let _infallible = write!(out, "{value}");
    }
}

/// Appends a float with an exponent, such as `1e-07` or `1.5e+21`. Go's exponents have a sign and at least two digits.
fn exponent_form(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    let _infallible = write!(out, "{mantissa}e{sign}{digits:0>2}");
}

/// Appends a time given in milliseconds as seconds, such as `1435781430.781`.
pub fn time(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(ms / 1000).as_bytes());
    let fraction = ms % 1000;
    if fraction != 0 {
        let digits =
            [b'.', b'0' + (fraction / 100) as u8, b'0' + (fraction / 10 % 10) as u8, b'0' + (fraction % 10) as u8];
        out.extend_from_slice(&digits);
    }
}

/// Appends `[time,"value"]`. `t` is in milliseconds.
pub fn float_sample(out: &mut Vec<u8>, t: i64, value: f64) {
    out.push(b'[');
    time(out, t);
    out.extend_from_slice(b",\"");
    float(out, value);
    out.extend_from_slice(b"\"]");
}

/// Like [`float_sample`], but for a scalar, which Go writes without an exponent.
fn scalar(out: &mut Vec<u8>, t: i64, value: f64) {
    if !value.is_finite() {
        return float_sample(out, t, value);
    }
    out.push(b'[');
    time(out, t);
    let _infallible = write!(out, ",\"{value}\"]");
}

/// Appends `[time,{histogram}]`. `t` is in milliseconds.
pub fn histogram_sample(out: &mut Vec<u8>, t: i64, histogram: &Histogram) {
    out.push(b'[');
    time(out, t);
    out.push(b',');
    self::histogram(out, histogram);
    out.push(b']');
}

fn quoted_float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    float(out, value);
    out.push(b'"');
}

/// Appends `{"count":"…","sum":"…","buckets":[[boundary rule,"left","right","count"],…]}`.
pub fn histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    quoted_float(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    quoted_float(out, histogram.sum);
    let mut first = true;
    for bucket in histogram.api_buckets() {
        out.extend_from_slice(if first { b",\"buckets\":[[" } else { b",[" });
        first = false;
        out.push(b'0' + bucket.boundaries);
        for number in [bucket.left, bucket.right, bucket.count] {
            out.push(b',');
            quoted_float(out, number);
        }
        out.push(b']');
    }
    out.extend_from_slice(if first { b"}" } else { b"]}" });
}

/// Appends `{"name":"value",…}`.
pub fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// Appends items separated by commas. Calls `flush` with the output after each item, and returns its first error.
pub fn list<T, E>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
    mut flush: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
        flush(out)?;
    }
    Ok(())
}

/// Appends `"resultType":…,"result":…`. After each series, `flush` may send the output written so far and clear it.
pub fn value<E>(out: &mut Vec<u8>, value: &Value, flush: impl FnMut(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    match value {
        Value::Scalar(t, v) => {
            out.extend_from_slice(b"\"resultType\":\"scalar\",\"result\":");
            scalar(out, *t, *v);
        }
        Value::String(t, text) => {
            out.extend_from_slice(b"\"resultType\":\"string\",\"result\":[");
            time(out, *t);
            out.push(b',');
            string(out, text);
            out.push(b']');
        }
        Value::Vector(samples) => {
            out.extend_from_slice(b"\"resultType\":\"vector\",\"result\":[");
            list(out, samples, vector_sample, flush)?;
            out.push(b']');
        }
        Value::Matrix(series) => {
            out.extend_from_slice(b"\"resultType\":\"matrix\",\"result\":[");
            list(out, series, matrix_series, flush)?;
            out.push(b']');
        }
    }
    Ok(())
}

/// The usual size of an encoded time and float, bytes.
const FLOAT_BYTES: usize = 32;
/// The usual size of an encoded time and histogram, bytes.
const HISTOGRAM_BYTES: usize = 4096;

/// Whether `value` takes about `most` bytes or less when it is encoded. Counts no further than that.
pub fn is_small(value: &Value, most: usize) -> bool {
    let mut left = most;
    let mut fits = |bytes: usize| {
        let rest = left.checked_sub(bytes);
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    match value {
        Value::Scalar(..) => true,
        Value::String(_, text) => fits(text.len()),
        Value::Vector(samples) => samples.iter().all(|sample| {
            let bytes = match sample.value {
                SampleValue::Float(_) => FLOAT_BYTES,
                SampleValue::Histogram(_) => HISTOGRAM_BYTES,
            };
            fits(sample.labels.as_bytes().len() + bytes)
        }),
        Value::Matrix(series) => series.iter().all(|series| {
            let samples = series.floats.len() * FLOAT_BYTES + series.histograms.len() * HISTOGRAM_BYTES;
            fits(series.labels.as_bytes().len() + samples)
        }),
    }
}

fn vector_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(v) => {
            out.extend_from_slice(b",\"value\":");
            float_sample(out, sample.t, *v);
        }
        SampleValue::Histogram(h) => {
            out.extend_from_slice(b",\"histogram\":");
            histogram_sample(out, sample.t, h);
        }
    }
    out.push(b'}');
}

fn matrix_series(out: &mut Vec<u8>, series: &MatrixSeries) {
    out.extend_from_slice(b"{\"metric\":");
    labels(out, &series.labels);
    for (i, (t, v)) in series.floats.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"values\":[" } else { b"," });
        float_sample(out, *t, *v);
    }
    if !series.floats.is_empty() {
        out.push(b']');
    }
    for (i, (t, h)) in series.histograms.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"histograms\":[" } else { b"," });
        histogram_sample(out, *t, h);
    }
    if !series.histograms.is_empty() {
        out.push(b']');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_small_up_to_its_encoded_size() {
        let sample = |labels: usize| VectorSample {
            labels: Labels::from_pairs([("a", "x".repeat(labels))]),
            t: 0,
            value: SampleValue::Float(1.0),
        };
        for value in [Value::Vector(vec![sample(1); 100]), Value::Vector(vec![sample(3000)])] {
            let bytes = written(|out| super::value(out, &value, |_| Ok::<_, ()>(())).unwrap()).len();
            assert!(is_small(&value, 2 * bytes) && !is_small(&value, bytes / 2), "{bytes}");
        }
        let series = MatrixSeries { floats: vec![(0, 1.0); 200], ..MatrixSeries::default() };
        assert!(is_small(&Value::Matrix(vec![series.clone()]), 16 << 10));
        assert!(!is_small(&Value::Matrix(vec![series; 3]), 16 << 10));
        assert!(!is_small(&Value::String(0, "x".repeat(100)), 99));
    }

    #[test]
    fn floats_are_printed_as_go_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-7, "1e-07"),
            (1.5e21, "1.5e+21"),
            (1e20, "100000000000000000000"),
            (-1.25e-10, "-1.25e-10"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(written(|out| float(out, value)), text);
        }
    }

    #[test]
    fn scalars_have_no_exponent() {
        for (value, text) in
            [(1e-7, "0.0000001"), (1e21, "1000000000000000000000"), (-0.0, "-0"), (2.5, "2.5"), (f64::INFINITY, "+Inf")]
        {
            assert_eq!(written(|out| scalar(out, 1000, value)), format!("[1,\"{text}\"]"));
        }
    }

    #[test]
    fn times_have_three_decimals_or_none() {
        for (ms, text) in
            [(0, "0"), (1_435_781_430_781, "1435781430.781"), (1050, "1.050"), (-500, "-0.500"), (-2000, "-2")]
        {
            assert_eq!(written(|out| time(out, ms)), text);
        }
    }

    proptest! {
        #[test]
        fn strings_are_valid_json(text in ".{0,40}", control in proptest::collection::vec(0u8..0x30, 0..8)) {
            let text = text + &String::from_utf8(control).unwrap();
            let json = written(|out| string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn floats_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(written(|out| float(out, value)).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
