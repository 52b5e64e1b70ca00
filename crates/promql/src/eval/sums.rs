//! Compensated sums whose terms are added in parts: by several threads, or on several nodes.
//!
//! Prometheus adds the terms in the order of series and compensates for rounding (Kahan and Neumaier), and so does [`add`].
//! The rounded result depends on that order, so parts of a sum must not simply be added. [`rounded`] returns a result only if
//! every order leads to it, which [`Terms`] decides. Otherwise the caller adds the terms in their order.
//!
//! Let `n` be the number of terms `x`, `M = sum |x|` and `u = 2^-53`. The rounding error of an addition with the result `s` is a
//! multiple of the last place of the smallest `|x|`, and at most `u |s| <= u M (1 + n u)`. `lost` adds up the errors of `2 n`
//! additions, and is rounded itself each time.
//!
//! - If `16 n M <= 2^52 min |x|`, the errors together are less than `2^53` of these last places, so `lost` is exact. In every
//!   order, the result is the exact sum, rounded once.
//! - Otherwise `lost` is off by at most `8 n^2 u^2 M`, in this and in any other order. If all numbers that close to the sum round
//!   to the same double, that is the result in every order.
//! - Additions cannot overflow in any order if `4 M` is finite.

use pharos_model::fragment::Terms;

use super::row::Row;

/// Half a unit in the last place of 1.
const UNIT: f64 = f64::EPSILON / 2.0;

/// A compensated (Kahan-Neumaier) addition without branches.
#[inline]
pub(crate) fn add(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    let (large, small) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
    let lost = lost + ((large - total) + small);
    (total, if total.is_infinite() { 0.0 } else { lost })
}

/// What is known about the terms of two sums taken together.
pub(crate) fn together(a: Terms, b: Terms) -> Terms {
    Terms {
        count: a.count.saturating_add(b.count),
        magnitude: a.magnitude + b.magnitude,
        smallest: a.smallest.min(b.smallest),
    }
}

/// What is known about the values of a row, each of which is a term at its step, and whether all of them are finite.
pub(crate) fn terms_of(row: &Row) -> (Terms, bool) {
    let (terms, all_finite) = match row.present.is_full() {
        true => extent(row.values.iter().copied()),
        false => extent(row.present.iter().map(|step| row.values[step])),
    };
    if all_finite {
        return (terms, true);
    }
    let finite = row.present.iter().map(|step| row.values[step]).filter(|value| value.is_finite());
    (extent(finite).0, false)
}

#[inline]
fn extent(values: impl Iterator<Item = f64>) -> (Terms, bool) {
    let (mut largest, mut smallest, mut all_finite) = (0.0, f64::INFINITY, true);
    for value in values.map(f64::abs) {
        all_finite &= value < f64::INFINITY;
        largest = if value > largest { value } else { largest };
        smallest = if value > 0.0 && value < smallest { value } else { smallest };
    }
    (Terms { count: 1, magnitude: largest, smallest }, all_finite)
}

/// The value of a sum that was added in parts, if it is the same in every order of its terms. `special` is the sum of the infinite
/// and NaN terms, if there are any.
pub(crate) fn settled(terms: &Terms, sum: f64, lost: f64, special: Option<f64>) -> Option<f64> {
    let may_overflow = !(4.0 * terms.magnitude).is_finite();
    match special {
        // NaN, or infinities of both signs.
        Some(special) if special.is_nan() => Some(special),
        _ if may_overflow => None,
        Some(infinity) => Some(infinity),
        None => rounded(terms, sum, lost),
    }
}

fn rounded(terms: &Terms, sum: f64, lost: f64) -> Option<f64> {
    const TWO_TO_48: f64 = (1u64 << 48) as f64;
    let count = terms.count as f64;
    let total = sum + lost;
    if terms.magnitude / TWO_TO_48 * count <= terms.smallest {
        return Some(total);
    }
    let of_lost = total - sum;
    let rest = (sum - (total - of_lost)) + (lost - of_lost);
    // Twice the bound, because the following additions round as well.
    let bound = 16.0 * count * count * (UNIT * UNIT * terms.magnitude) + f64::MIN_POSITIVE;
    let (down, up) = (total + (rest - bound), total + (rest + bound));
    (down == up).then_some(total)
}

#[cfg(test)]
mod tests;
