use pharos_model::STALE_NAN;
use proptest::prelude::*;

use super::*;

fn scaled(e: u32, mul: i64) -> (Mode, Scale) {
    (Mode::Scaled, Scale { e, mul })
}

/// Asserts that values are restored bit for bit; returns how they were coded.
fn round_trip(values: &[f64]) -> (Mode, Scale) {
    let mut numbers = Vec::new();
    let (mode, scale) = encode(values, &mut numbers);
    let mut back = Vec::new();
    match mode {
        Mode::Constant => back.resize(values.len(), decode_one(numbers[0], 0, scale)),
        Mode::Scaled => {
            decode(0, &numbers, scale, &mut back);
            let mut decoded = back.into_iter();
            back = values.iter().map(|v| if is_stale_nan(*v) { STALE_NAN } else { decoded.next().unwrap() }).collect();
            assert!(decoded.next().is_none());
        }
        Mode::Doubles | Mode::ConstantDouble => back.extend_from_slice(values),
    }
    let bits = |vs: &[f64]| vs.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(values), "{mode:?} {scale:?}");
    (mode, scale)
}

#[test]
fn decimals_are_scaled_by_the_smallest_exponent() {
    assert_eq!(round_trip(&[0.25, 1.5, 100.0]), scaled(2, 25));
    assert_eq!(round_trip(&[0.5, 1.5]), scaled(1, 5));
    assert_eq!(round_trip(&[0.001, 0.002]), scaled(3, 1));
}

#[test]
fn a_common_factor_is_divided_out() {
    assert_eq!(round_trip(&[4096.0, 8192.0]), scaled(0, 4096));
    assert_eq!(round_trip(&[-6.0, 9.0, 0.0]), scaled(0, 3));
    assert_eq!(round_trip(&[7.0, 8.0]), scaled(0, 1));
}

#[test]
fn stale_markers_do_not_prevent_scaling() {
    assert_eq!(round_trip(&[4096.0, STALE_NAN, 8192.0, STALE_NAN]), scaled(0, 4096));
}

#[test]
fn equal_values_are_a_constant() {
    assert_eq!(round_trip(&[0.0; 9]), (Mode::Constant, Scale { e: 0, mul: 1 }));
    assert_eq!(round_trip(&[2.5]).0, Mode::Constant);
}

#[test]
fn large_whole_numbers_are_scaled() {
    assert_eq!(round_trip(&[1e18, 1e18 + 1024.0]).0, Mode::Scaled);
    assert_eq!(round_trip(&[-1e18, 1e18]).0, Mode::Scaled);
}

#[test]
fn values_that_are_not_decimals_stay_doubles() {
    for values in [
        &[-0.0, 1.0][..],
        &[f64::NAN, 1.0],
        &[f64::INFINITY, 1.0],
        &[5e-324, 1.0],
        &[1e308, 1.0],
        &[0.1 + 0.2, 1.0],
        &[1.0 / 3.0, 0.5],
        &[STALE_NAN, f64::from_bits(0x7ff8_dead_beef_0001)],
        &[9_007_199_254_740_993.0, 1e22],
    ] {
        assert_eq!(round_trip(values).0, Mode::Doubles, "{values:?}");
    }
}

#[test]
fn equal_values_that_are_not_decimals_are_one_double() {
    assert_eq!(round_trip(&[-0.0; 3]).0, Mode::ConstantDouble);
    assert_eq!(round_trip(&[STALE_NAN; 3]).0, Mode::ConstantDouble);
    assert_eq!(round_trip(&[f64::INFINITY; 3]).0, Mode::ConstantDouble);
}

#[test]
fn no_values_are_doubles() {
    assert_eq!(round_trip(&[]).0, Mode::Doubles);
}

#[test]
fn modes_have_stable_numbers() {
    for mode in [Mode::Constant, Mode::Scaled, Mode::Doubles, Mode::ConstantDouble] {
        assert_eq!(Mode::from_i64(mode as i64), Some(mode));
    }
    assert_eq!(Mode::from_i64(-1), None);
    assert_eq!(Mode::from_i64(4), None);
}

#[test]
fn hostile_scales_do_not_panic() {
    let scale = Scale { e: u32::MAX, mul: i64::MIN };
    decode_one(i64::MAX, i64::MAX, scale);
    decode(i64::MIN, &[i64::MIN, i64::MAX], scale, &mut Vec::new());
}

#[test]
fn the_greatest_common_divisor_of_extremes() {
    assert_eq!(common_factor(&[]), 1);
    assert_eq!(common_factor(&[0, 0]), 1);
    assert_eq!(common_factor(&[0, -12, 18]), 6);
    assert_eq!(common_factor(&[i64::MIN]), 1, "its magnitude is not an integer of 64 bits");
}

fn adversarial() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i64>().prop_map(|n| n as f64),
        (any::<i32>(), 0u32..18).prop_map(|(n, e)| f64::from(n) / 10f64.powi(e as i32)),
        (-1e15..1e15f64).prop_map(|v| (v * 1000.0).round() / 1000.0),
        Just(-0.0),
        Just(0.1 + 0.2),
        Just(STALE_NAN),
        Just(f64::MIN_POSITIVE / 2.0),
        Just(1e308),
        Just(2f64.powi(53) + 2.0),
    ]
}

proptest! {
    #[test]
    fn any_values_are_restored(values in proptest::collection::vec(adversarial(), 0..200)) {
        round_trip(&values);
    }

    #[test]
    fn decimals_are_scaled(numbers in proptest::collection::vec(-1_000_000_000i64..1_000_000_000, 2..100), e in 0u32..6) {
        let values: Vec<f64> = numbers.iter().map(|n| *n as f64 / POWERS_OF_TEN[e as usize]).collect();
        prop_assume!(values.iter().all(|v| v.to_bits() != (-0.0f64).to_bits()));
        prop_assert!(matches!(round_trip(&values).0, Mode::Scaled | Mode::Constant));
    }

    #[test]
    fn the_common_factor_divides_every_number(numbers in proptest::collection::vec(-10_000i64..10_000, 1..20)) {
        let factor = common_factor(&numbers);
        prop_assert!(factor >= 1);
        prop_assert!(numbers.iter().all(|n| n % factor == 0));
        let larger = (factor + 1..=10_000).find(|f| numbers.iter().all(|n| n % f == 0) && numbers.iter().any(|n| *n != 0));
        prop_assert_eq!(larger, None);
    }
}
