//! Logarithm and power to base 2 with the rounding of Prometheus, so that interpolated quantiles agree in the last digit.
//!
//! These are the argument reductions and minimax polynomials of fdlibm's `log` and `exp`. The functions of the standard
//! library are as precise but round some results the other way.

#![allow(clippy::excessive_precision, clippy::approx_constant, reason = "the exact bits matter")]

use crate::bounds::ldexp;

const LN2_HI: f64 = 6.93147180369123816490e-01;
const LN2_LO: f64 = 1.90821492927058770002e-10;

/// The logarithm to base 2. Exact for powers of two.
pub fn log2(x: f64) -> f64 {
    if !x.is_normal() || x < 0.0 {
        return x.log2();
    }
    let (fraction, exponent) = split(x);
    if fraction == 0.5 { exponent - 1.0 } else { ln(fraction) * std::f64::consts::LOG2_E + exponent }
}

/// `2^x`.
pub fn exp2(x: f64) -> f64 {
    if !(-1020.0..=1020.0).contains(&x) {
        return x.exp2();
    }
    const P: [f64; 5] = [
        1.66666666666666657415e-01,
        -2.77777777770155933842e-03,
        6.61375632143793436117e-05,
        -1.65339022054652515390e-06,
        4.13813679705723846039e-08,
    ];
    let whole = (x + 0.5f64.copysign(x)).trunc();
    let rest = x - whole;
    let hi = rest * LN2_HI;
    let lo = -rest * LN2_LO;
    let r = hi - lo;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    ldexp(y, whole as i64)
}

/// Splits a normal number into a fraction in [0.5, 1) and an exponent of 2.
fn split(x: f64) -> (f64, f64) {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent as f64)
}

/// The natural logarithm of a normal number.
fn ln(x: f64) -> f64 {
    const L: [f64; 7] = [
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    ];
    let (mut fraction, mut k) = split(x);
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        k -= 1.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let half_square = 0.5 * f * f;
    k * LN2_HI - ((half_square - (s * (half_square + (odd + even)) + k * LN2_LO)) - f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_root_is_rounded_as_in_prometheus() {
        assert_eq!(exp2(0.5), 1.414213562373095);
    }

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!([log2(8.0), log2(0.25)], [3.0, -2.0]);
        assert_eq!([exp2(10.0), exp2(-3.0), exp2(0.0)], [1024.0, 0.125, 1.0]);
    }

    #[test]
    fn results_out_of_range_are_infinite_zero_or_nan() {
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        assert_eq!(log2(f64::INFINITY), f64::INFINITY);
        assert!(log2(-1.0).is_nan());
        assert_eq!([exp2(2000.0), exp2(-2000.0)], [f64::INFINITY, 0.0]);
        assert!(exp2(f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn close_to_the_standard_library(x in 1e-300f64..1e300, y in -1000f64..1000.0) {
            prop_assert!((log2(x) - x.log2()).abs() <= 1e-15 * x.log2().abs().max(1.0));
            prop_assert!((exp2(y) - y.exp2()).abs() <= 4e-16 * y.exp2());
        }
    }
}
