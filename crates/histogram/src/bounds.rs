//! The bounds of buckets, to the bit those of Prometheus and its client libraries.
//!
//! A bound of a positive schema is `fraction * 2^exponent` with `fraction` in [0.5, 1). The fractions of the finest schema
//! are computed at compile time, from the coarsest schema to the finest: every second one is that of the previous schema,
//! the others are their left neighbour times the growth factor of the schema. Only this order gives the right bits.

use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX};

/// `2^(2^-schema)` for the schemas 1 to 8, rounded as in the tables of the client libraries.
#[allow(clippy::excessive_precision, clippy::approx_constant, reason = "the exact bits matter")]
const GROWTH: [f64; 8] = [
    1.414213562373095,
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// The fractions of schema 8. Those of schema `s` are every `2^(8-s)`th of them.
const FRACTIONS: [f64; 256] = fractions();

const fn fractions() -> [f64; 256] {
    let mut table = [0.5; 256];
    let mut schema = 1;
    while schema <= 8 {
        let stride = 1usize << (8 - schema);
        let mut at = stride;
        while at < 256 {
            table[at] = table[at - stride] * GROWTH[schema - 1];
            at += 2 * stride;
        }
        schema += 1;
    }
    table
}

/// The upper bound of the positive bucket `index`. The lower bound is the upper one of `index - 1`.
///
/// `custom_values` are the bounds of [`CUSTOM_BUCKETS_SCHEMA`]: indices below 0 give -Inf, those after the last bound +Inf.
/// The last exponential bucket of finite numbers ends at the largest of them, the next one at +Inf.
pub fn bucket_bound(index: i64, schema: i32, custom_values: &[f64]) -> f64 {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return exponential_bound(index, schema);
    }
    match usize::try_from(index) {
        Err(_) => f64::NEG_INFINITY,
        Ok(at) => custom_values.get(at).copied().unwrap_or(f64::INFINITY),
    }
}

/// The upper bound of the positive bucket `index` of an exponential schema.
pub(crate) fn exponential_bound(index: i64, schema: i32) -> f64 {
    if schema < 0 {
        // An index beyond 2^11 either way is out of the range of f64 in every schema.
        let exponent = index.clamp(-4096, 4096) << schema.unsigned_abs().min(16);
        return if exponent == 1024 { f64::MAX } else { ldexp(1.0, exponent) };
    }
    if schema > EXPONENTIAL_SCHEMA_MAX {
        return (index as f64 / 2f64.powi(schema)).exp2();
    }
    let within = (index & ((1 << schema) - 1)) as usize;
    let fraction = FRACTIONS[within << (EXPONENTIAL_SCHEMA_MAX - schema)];
    let exponent = (index >> schema).saturating_add(1);
    if within == 0 && exponent == 1025 { f64::MAX } else { ldexp(fraction, exponent) }
}

/// `value * 2^exponent`, rounded once; `value` is in [0.5, 2].
pub(crate) fn ldexp(value: f64, exponent: i64) -> f64 {
    match exponent {
        1025.. => f64::INFINITY,
        -1000..=1024 => value * 2.0 * power_of_two(exponent - 1),
        -1100..=-1001 => value * power_of_two(exponent + 128) * power_of_two(-128),
        _ => 0.0,
    }
}

/// `2^exponent`, which must be a normal number.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_those_of_the_published_tables() {
        for (schema, index, bound) in [
            (0, 0, 1.0),
            (0, 1, 2.0),
            (0, -1, 0.5),
            (1, 1, 2.0 * 0.7071067811865475),
            (2, 3, 2.0 * 0.8408964152537144),
            (3, 7, 2.0 * 0.9170040432046711),
            (4, 9, 2.0 * 0.7384130729697496),
            (5, 31, 2.0 * 0.9785720620876999),
            (8, 255, 2.0 * 0.9972960560854698),
            (8, 6, 2.0 * 0.5081891574554764),
            (-1, 1, 4.0),
            (-4, 1, 65536.0),
            (-4, -1, 1.0 / 65536.0),
        ] {
            assert_eq!(bucket_bound(index, schema, &[]), bound, "schema {schema} index {index}");
        }
    }

    #[test]
    fn the_last_finite_bucket_ends_at_the_largest_number() {
        for (index, schema) in [(1024, 0), (512, -1), (64, -4), (1024 << 8, 8)] {
            assert_eq!(bucket_bound(index, schema, &[]), f64::MAX, "schema {schema}");
        }
        for (index, schema) in [(1025, 0), (65, -4)] {
            assert_eq!(bucket_bound(index, schema, &[]), f64::INFINITY, "schema {schema}");
        }
    }

    #[test]
    fn small_bounds_are_subnormal_and_then_zero() {
        assert_eq!(bucket_bound(-1074, 0, &[]), f64::from_bits(1));
        assert_eq!(bucket_bound(-1080, 0, &[]), 0.0);
    }

    #[test]
    fn extreme_indices_and_schemas_do_not_overflow() {
        for index in [i64::MIN, i64::MAX, i64::MIN / 2] {
            for schema in [i32::MIN, -53, -9, -4, 0, 8, 52, i32::MAX] {
                let _any_bound = bucket_bound(index, schema, &[1.0]);
            }
        }
    }

    #[test]
    fn custom_bounds_end_at_infinity() {
        let bounds = |i| bucket_bound(i, CUSTOM_BUCKETS_SCHEMA, &[5.0, 10.0]);
        assert_eq!([bounds(-1), bounds(0), bounds(1), bounds(2)], [f64::NEG_INFINITY, 5.0, 10.0, f64::INFINITY]);
    }
}
