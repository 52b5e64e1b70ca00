//! Tests of sums in parts: a value that is given out is that of every order, and ordinary sums have one.

use proptest::prelude::*;

use super::*;

/// The sum of terms in their order, as one process computes it.
fn in_order(values: &[f64]) -> f64 {
    let (sum, lost) = values.iter().fold((-0.0, 0.0), |(sum, lost), v| add(*v, sum, lost));
    sum + lost
}

/// A part of a sum.
#[derive(Clone, Copy)]
struct Part {
    terms: Terms,
    sum: f64,
    lost: f64,
    special: Option<f64>,
}

fn part(values: &[f64]) -> Part {
    let mut part = Part { terms: Terms::default(), sum: -0.0, lost: 0.0, special: None };
    for value in values {
        let mut row = Row::default();
        row.reset(&pharos_model::Labels::empty(), 1);
        row.put(0, *value);
        let (terms, is_finite) = terms_of(&row);
        part.terms = together(part.terms, terms);
        (part.sum, part.lost) = add(*value, part.sum, part.lost);
        if !is_finite {
            part.special = Some(part.special.unwrap_or(0.0) + value);
        }
    }
    part
}

/// The sum of terms that are divided among `parts`.
fn in_parts(values: &[f64], parts: usize, seed: usize) -> Option<f64> {
    let mut divided = vec![Vec::new(); parts];
    values.iter().enumerate().for_each(|(i, value)| divided[(i * 7 + seed * (i / 3)) % parts].push(*value));
    let all = divided.iter().map(|values| part(values)).reduce(|a, b| {
        let (sum, lost) = add(b.sum, a.sum, a.lost + b.lost);
        let special = match (a.special, b.special) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Part { terms: together(a.terms, b.terms), sum, lost, special }
    })?;
    settled(&all.terms, all.sum, all.lost, all.special)
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => prop::sample::select(vec![1e16, -1e16, 1.0, 3.3, -2.5, 1e100, -1e100, 0.0, -0.0, 0.1, 5e-324, -1e-310]),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.7e308, -1.7e308]),
        4 => -1.0..1.0f64,
        2 => any::<f64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_settled_sum_is_that_of_one_process(
        values in prop::collection::vec(hostile(), 1..30),
        parts in 1usize..5,
        seed in 0usize..7,
    ) {
        if let Some(found) = in_parts(&values, parts, seed) {
            prop_assert!(same(found, in_order(&values)), "{found} {}", in_order(&values));
            let mut backwards = values.clone();
            backwards.reverse();
            prop_assert!(same(found, in_order(&backwards)), "{found} {}", in_order(&backwards));
        }
    }

    /// Sums whose exact value lies in the middle between two doubles are settled, too.
    #[test]
    fn sums_of_ordinary_values_are_settled(
        values in prop::collection::vec(prop_oneof![1.0..2.0f64, 0.0..1e6f64, (0u32..1000).prop_map(f64::from)], 1..200),
        parts in 1usize..5,
    ) {
        let values: Vec<f64> = values.into_iter().map(|v| if v < 1e-3 { 0.0 } else { v }).collect();
        prop_assert_eq!(in_parts(&values, parts, 1), Some(in_order(&values)));
    }
}

#[test]
fn additions_keep_what_rounding_loses() {
    let (sum, lost) = [1e100, 1.0, -1e100].into_iter().fold((0.0, 0.0), |(sum, lost), v| add(v, sum, lost));
    assert_eq!(sum + lost, 1.0);
}

#[test]
fn an_infinite_sum_has_no_compensation() {
    assert_eq!(add(f64::INFINITY, 1.0, 0.5), (f64::INFINITY, 0.0));
}

#[test]
fn sums_that_depend_on_the_order_are_not_settled() {
    assert_eq!(in_parts(&[1e100, 1e16, 3.3, -1e100, -1e16], 2, 0), None);
    assert_eq!(in_parts(&[1.7e308, 1.7e308, -1.7e308], 2, 0), None);
    assert_eq!(in_parts(&[1.7e308, 1.7e308, f64::NEG_INFINITY], 2, 0), None);
}

#[test]
fn infinities_and_nan_decide_a_sum() {
    let sum = |values: &[f64]| in_parts(values, 2, 0).unwrap();
    assert_eq!(sum(&[1.0, f64::INFINITY, 2.0]), f64::INFINITY);
    assert!(sum(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).is_nan());
    assert!(sum(&[1.7e308, f64::NAN, 1.7e308]).is_nan());
}

#[test]
fn a_sum_of_negative_zeros_is_positive_as_in_one_process() {
    assert!(same(in_parts(&[-0.0, -0.0, -0.0], 2, 0).unwrap(), in_order(&[-0.0, -0.0])));
}
