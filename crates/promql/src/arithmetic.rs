//! Arithmetic between floats: the operators of PromQL, and the functions of Go's `math` package whose results differ from
//! those of Rust's standard library.

use crate::syntax::ast::BinaryOp;

/// An operation between numbers. Comparisons yield 0 or 1. `None` for operators that are undefined between numbers.
pub(crate) fn scalar_op(op: BinaryOp, l: f64, r: f64) -> Option<f64> {
    let truth = |t: bool| Some(f64::from(u8::from(t)));
    match op {
        BinaryOp::Add => Some(l + r),
        BinaryOp::Sub => Some(l - r),
        BinaryOp::Mul => Some(l * r),
        BinaryOp::Div => Some(l / r),
        BinaryOp::Mod => Some(l % r),
        BinaryOp::Pow => Some(go_pow(l, r)),
        BinaryOp::Atan2 => Some(l.atan2(r)),
        BinaryOp::Eql => truth(l == r),
        BinaryOp::Neq => truth(l != r),
        BinaryOp::Gtr => truth(l > r),
        BinaryOp::Lss => truth(l < r),
        BinaryOp::Gte => truth(l >= r),
        BinaryOp::Lte => truth(l <= r),
        BinaryOp::TrimUpper | BinaryOp::TrimLower | BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => None,
    }
}

/// A power. For integral exponents it equals Go's `math.Pow` to the last bit: the fraction is squared repeatedly, and powers of two
/// are tracked separately.
pub(crate) fn go_pow(base: f64, exponent: f64) -> f64 {
    const FAR: i64 = 1 << 12;
    let usual = base.is_finite() && base != 0.0 && exponent.abs() < 9.2e18;
    if usual && exponent.abs() == 0.5 {
        let root = base.sqrt();
        return if exponent > 0.0 { root } else { 1.0 / root };
    }
    if !usual || exponent.fract() != 0.0 || exponent.abs() <= 1.0 && exponent >= 0.0 {
        return base.powf(exponent);
    }
    let (mut fraction, mut two) = split(base);
    let (mut result, mut result_two) = (1.0, 0);
    let mut rest = exponent.abs() as u64;
    while rest != 0 {
        if two.abs() > FAR {
            // Overflow or underflow, whatever the remaining factors are.
            result_two += two;
            break;
        }
        if rest & 1 == 1 {
            result *= fraction;
            result_two += two;
        }
        fraction *= fraction;
        two *= 2;
        if fraction < 0.5 {
            fraction += fraction;
            two -= 1;
        }
        rest >>= 1;
    }
    if exponent < 0.0 { scaled(1.0 / result, -result_two) } else { scaled(result, result_two) }
}

/// The binary logarithm as Go computes it: the logarithm of the fraction, plus the exponent.
pub(crate) fn go_log2(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return value.log2();
    }
    let (fraction, two) = split(value);
    if fraction == 0.5 { (two - 1) as f64 } else { fraction.ln() * std::f64::consts::LOG2_E + two as f64 }
}

const FRACTION_BITS: u32 = 52;
const EXPONENT_BIAS: i64 = 1022;

/// Splits a finite number other than 0 into a fraction in [0.5, 1) and a power of two.
fn split(value: f64) -> (f64, i64) {
    const SUBNORMAL_SCALE: i64 = 54;
    if value.is_subnormal() {
        let (fraction, two) = split(value * (1u64 << SUBNORMAL_SCALE) as f64);
        return (fraction, two - SUBNORMAL_SCALE);
    }
    let bits = value.to_bits();
    let two = ((bits >> FRACTION_BITS) & 0x7ff) as i64 - EXPONENT_BIAS;
    let fraction = bits & !(0x7ff << FRACTION_BITS) | (EXPONENT_BIAS as u64) << FRACTION_BITS;
    (f64::from_bits(fraction), two)
}

/// A number times a power of two, rounded only once.
fn scaled(value: f64, two: i64) -> f64 {
    let (fraction, own) = split(value);
    let two = two + own;
    let power = |two: i64| f64::from_bits(((two + EXPONENT_BIAS + 1) as u64) << FRACTION_BITS);
    match two {
        ..-1074 => 0.0f64.copysign(value),
        -1074..=-1022 => fraction * power(two + 60) * power(-60),
        -1021..=1024 => fraction * 2.0 * power(two - 1),
        _ => f64::INFINITY.copysign(value),
    }
}

/// The decimal logarithm as Go computes it: from the binary one.
pub(crate) fn go_log10(value: f64) -> f64 {
    go_log2(value) * std::f64::consts::LOG10_2
}

/// -1 for negative numbers and 1 for positive ones. Zeros and NaN are returned as they are.
pub(crate) fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// The smaller number as Go's `math.Min` defines it: NaN if either is NaN, unless one is -Inf.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b {
        if a.is_sign_negative() { a } else { b }
    } else {
        a.min(b)
    }
}

/// The larger number as Go's `math.Max` defines it: NaN if either is NaN, unless one is +Inf.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    -go_min(-a, -b)
}

#[cfg(test)]
mod tests;
