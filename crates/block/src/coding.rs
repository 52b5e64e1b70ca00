//! Codes values as integers: `value = (v0 + x) * mul / 10^e` wherever that is exact to the bit, and as doubles otherwise.
//!
//! Many readings are integers in disguise: seconds with two decimals, byte counts in pages of 4,096, percentages. Scaled by the
//! smallest exponent `e` that makes all of them whole, and divided by their greatest common divisor `mul`, they become small
//! integers whose deltas pack well. A row whose values would not be restored bit for bit is stored as doubles.

use pharos_model::is_stale_nan;

/// The largest exponent that the writer tries.
pub(crate) const MAX_EXPONENT: u32 = 15;
/// Scaled values stay below this limit, so that adding [`SHIFT`] is exact.
const SCALED_LIMIT: f64 = (1u64 << 51) as f64;
/// Whole numbers up to this limit are coded as integers without scaling.
const WHOLE_LIMIT: f64 = (1u64 << 62) as f64;
/// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the mantissa.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// Powers of ten by exponent, all of them exact doubles.
pub(crate) const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// How the values of a row are coded: the column `md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Mode {
    /// All values are `v0 * mul / 10^e`.
    Constant = 0,
    /// `vi` holds an integer for each value, and null for a stale marker.
    Scaled = 1,
    /// `vd` holds every value.
    Doubles = 2,
    /// `vd` holds the one double that all values equal.
    ConstantDouble = 3,
}

impl Mode {
    /// The mode with a number; `None` for other numbers.
    pub(crate) fn from_i64(mode: i64) -> Option<Self> {
        Some(match mode {
            0 => Mode::Constant,
            1 => Mode::Scaled,
            2 => Mode::Doubles,
            3 => Mode::ConstantDouble,
            _ => return None,
        })
    }
}

/// The scale of the integers of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Decimal exponent, 0 to 22.
    pub e: u32,
    /// Common factor; never 0.
    pub mul: i64,
}

/// Chooses how to code values. With [`Mode::Scaled`], `out` is set to the integers `n` of all values that are not stale
/// markers, where `value = n * mul / 10^e`; with [`Mode::Constant`] to one integer.
pub(crate) fn encode(values: &[f64], out: &mut Vec<i64>) -> (Mode, Scale) {
    out.clear();
    let unscaled = Scale { e: 0, mul: 1 };
    let Some((first, rest)) = values.split_first() else { return (Mode::Doubles, unscaled) };
    let bits = first.to_bits();
    let constant = rest.iter().fold(0, |differ, v| differ | (v.to_bits() ^ bits)) == 0;
    let distinct = if constant { &values[..1] } else { values };
    let Some(e) = scale_all(distinct, out) else {
        out.clear();
        return (if constant { Mode::ConstantDouble } else { Mode::Doubles }, unscaled);
    };
    if out.is_empty() {
        // All values are stale markers.
        return (if constant { Mode::ConstantDouble } else { Mode::Doubles }, unscaled);
    }
    let mul = common_factor(out);
    if mul > 1 {
        out.iter_mut().for_each(|n| *n /= mul);
    }
    (if constant { Mode::Constant } else { Mode::Scaled }, Scale { e, mul })
}

/// Scales all values but stale markers by the smallest exponent that suits all of them.
fn scale_all(values: &[f64], out: &mut Vec<i64>) -> Option<u32> {
    let mut e = 0;
    loop {
        out.clear();
        match scale_by(values, e, out) {
            Ok(()) => return Some(e),
            Err(bad) => e = exponent_of(bad, e + 1)?,
        }
    }
}

/// Scales values by 10^e; fails with the first value that would not be restored bit for bit.
fn scale_by(values: &[f64], e: u32, out: &mut Vec<i64>) -> Result<(), f64> {
    let power = POWERS_OF_TEN[e as usize];
    out.reserve(values.len());
    for chunk in values.chunks(64) {
        let start = out.len();
        let mut exact = true;
        out.extend(chunk.iter().map(|&v| {
            let n = ((v * power + SHIFT).to_bits() as i64).wrapping_sub(SHIFT.to_bits() as i64);
            exact &= (v * power).abs() < SCALED_LIMIT && (n as f64 / power).to_bits() == v.to_bits();
            n
        }));
        if !exact {
            out.truncate(start);
            for &v in chunk.iter().filter(|v| !is_stale_nan(**v)) {
                out.push(scale_one(v, e).ok_or(v)?);
            }
        }
    }
    Ok(())
}

/// The integer of a value at exponent `e`, if it restores the value bit for bit.
fn scale_one(v: f64, e: u32) -> Option<i64> {
    let power = POWERS_OF_TEN[e as usize];
    let scaled = v * power;
    let n = if scaled.abs() < SCALED_LIMIT {
        (scaled + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i64
    } else if e == 0 && v.abs() < WHOLE_LIMIT {
        v as i64
    } else {
        return None;
    };
    (n as f64 / power).to_bits().eq(&v.to_bits()).then_some(n)
}

/// The smallest exponent, starting at `from`, that suits a value.
fn exponent_of(v: f64, from: u32) -> Option<u32> {
    (from..=MAX_EXPONENT).find(|&e| scale_one(v, e).is_some())
}

/// The greatest common divisor of the numbers; at least 1.
fn common_factor(numbers: &[i64]) -> i64 {
    let mut factor = 0u64;
    for n in numbers {
        factor = gcd(n.unsigned_abs(), factor);
        if factor == 1 {
            return 1;
        }
    }
    i64::try_from(factor.max(1)).unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    if a == 0 || b == 0 {
        return a | b;
    }
    // Most numbers are multiples of the factor found so far, which one division detects.
    if a.is_multiple_of(b) {
        return b;
    }
    let shift = (a | b).trailing_zeros();
    a >>= a.trailing_zeros();
    loop {
        b >>= b.trailing_zeros();
        if a > b {
            std::mem::swap(&mut a, &mut b);
        }
        b -= a;
        if b == 0 {
            return a << shift;
        }
    }
}

/// Decodes one integer.
pub(crate) fn decode_one(v0: i64, x: i64, scale: Scale) -> f64 {
    v0.wrapping_add(x).wrapping_mul(scale.mul) as f64 / POWERS_OF_TEN[(scale.e as usize).min(22)]
}

/// Decodes the integers of a row and appends the values.
pub(crate) fn decode(v0: i64, xs: &[i64], scale: Scale, out: &mut Vec<f64>) {
    if scale.e == 0 {
        out.extend(xs.iter().map(|x| v0.wrapping_add(*x).wrapping_mul(scale.mul) as f64));
    } else {
        let power = POWERS_OF_TEN[(scale.e as usize).min(22)];
        out.extend(xs.iter().map(|x| v0.wrapping_add(*x).wrapping_mul(scale.mul) as f64 / power));
    }
}

#[cfg(test)]
mod tests;
