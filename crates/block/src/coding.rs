//! How values become integers: `value = (v0 + x) * mul / 10^e`, exact to the bit, or else they stay doubles.
//!
//! Decimal readings (seconds with two digits, byte counts in pages of 4,096, percentages) are integers in disguise: with
//! the smallest exponent `e` that makes all of them whole and their greatest common divisor `mul` taken out, they shrink to
//! small integers whose deltas pack well. A row whose values do not come back bit for bit is stored as doubles.

use pharos_model::is_stale_nan;

/// Largest exponent; powers of ten are exact doubles up to 10^22.
pub const MAX_EXPONENT: u32 = 15;
/// Scaled values stay below this, so that sums with the shift trick below are exact.
const SCALED_LIMIT: f64 = (1u64 << 51) as f64;
/// Whole numbers up to this are kept as integers; their doubles are exact by construction.
const WHOLE_LIMIT: f64 = (1u64 << 62) as f64;
/// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of the mantissa.
const SHIFT: f64 = 6_755_399_441_055_744.0;

/// Powers of ten by exponent.
pub const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// How a row's values are coded, as the column `md` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Mode {
    /// All values are `v0 * mul / 10^e`.
    Constant = 0,
    /// `vi` holds an integer for each value, null for a stale marker.
    Scaled = 1,
    /// `vd` holds each value.
    Doubles = 2,
    /// `vd` holds one double, which all values are.
    ConstantDouble = 3,
}

impl Mode {
    /// The mode of that number.
    pub fn from_i64(mode: i64) -> Option<Self> {
        Some(match mode {
            0 => Mode::Constant,
            1 => Mode::Scaled,
            2 => Mode::Doubles,
            3 => Mode::ConstantDouble,
            _ => return None,
        })
    }
}

/// The scale of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Decimal exponent, 0 to 22.
    pub e: u32,
    /// Common factor, not 0.
    pub mul: i64,
}

/// Finds how to code values. With [`Mode::Scaled`] and [`Mode::Constant`], `out` holds the integer `n` of each value that
/// is not a stale marker, where `value = n * mul / 10^e` (one for a constant); `out` is cleared before.
pub fn encode(values: &[f64], out: &mut Vec<i64>) -> (Mode, Scale) {
    out.clear();
    let unscaled = Scale { e: 0, mul: 1 };
    let Some((first, rest)) = values.split_first() else { return (Mode::Doubles, unscaled) };
    let bits = first.to_bits();
    let constant = rest.iter().fold(0, |differ, v| differ | (v.to_bits() ^ bits)) == 0;
    let looked_at = if constant { &values[..1] } else { values };
    let Some(e) = scale_all(looked_at, out) else {
        out.clear();
        return (if constant { Mode::ConstantDouble } else { Mode::Doubles }, unscaled);
    };
    if out.is_empty() {
        // Nothing but stale markers.
        return (if constant { Mode::ConstantDouble } else { Mode::Doubles }, unscaled);
    }
    let mul = common_factor(out);
    if mul > 1 {
        out.iter_mut().for_each(|n| *n /= mul);
    }
    (if constant { Mode::Constant } else { Mode::Scaled }, Scale { e, mul })
}

/// Scales all values that are no stale markers by the smallest exponent that fits all.
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

/// Scales values by 10^e; on the first that does not come back to the bit, returns it.
fn scale_by(values: &[f64], e: u32, out: &mut Vec<i64>) -> Result<(), f64> {
    let power = POWERS_OF_TEN[e as usize];
    out.reserve(values.len());
    for chunk in values.chunks(64) {
        let start = out.len();
        let mut exact = true;
        out.extend(chunk.iter().map(|&v| {
            let n = ((v * power + SHIFT).to_bits() as i64).wrapping_sub(SHIFT.to_bits() as i64);
            // For whole numbers up to 2^51 the division is by one.
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

/// The integer of one value at exponent `e`, if it comes back to the bit.
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

/// The smallest exponent from `from` on that suits a value.
fn exponent_of(v: f64, from: u32) -> Option<u32> {
    (from..=MAX_EXPONENT).find(|&e| scale_one(v, e).is_some())
}

/// The greatest common divisor of all, at least 1.
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
    // Most numbers are multiples of the factor so far; one division settles those.
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

/// The value of one integer.
pub fn decode_one(v0: i64, x: i64, scale: Scale) -> f64 {
    v0.wrapping_add(x).wrapping_mul(scale.mul) as f64 / POWERS_OF_TEN[(scale.e as usize).min(22)]
}

/// Appends the values of a row's integers.
pub fn decode(v0: i64, xs: &[i64], scale: Scale, out: &mut Vec<f64>) {
    if scale.e == 0 {
        out.extend(xs.iter().map(|x| v0.wrapping_add(*x).wrapping_mul(scale.mul) as f64));
    } else {
        let power = POWERS_OF_TEN[(scale.e as usize).min(22)];
        out.extend(xs.iter().map(|x| v0.wrapping_add(*x).wrapping_mul(scale.mul) as f64 / power));
    }
}

#[cfg(test)]
mod tests;
