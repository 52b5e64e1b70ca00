//! Coding is exact to the bit, for values that try to break it.

use pharos_model::STALE_NAN;
use proptest::prelude::*;

use super::*;

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
fn readings_become_small_integers() {
    assert_eq!(round_trip(&[0.25, 1.5, 100.0]), (Mode::Scaled, Scale { e: 2, mul: 25 }));
    assert_eq!(round_trip(&[4096.0, 8192.0, STALE_NAN]), (Mode::Scaled, Scale { e: 0, mul: 4096 }));
    assert_eq!(round_trip(&[0.0; 9]), (Mode::Constant, Scale { e: 0, mul: 1 }));
    assert_eq!(round_trip(&[1e18, 1e18 + 1024.0]).0, Mode::Scaled);
}

#[test]
fn what_is_no_decimal_stays_a_double() {
    for values in [
        &[-0.0, 1.0][..],
        &[f64::NAN, 1.0],
        &[f64::INFINITY, 1.0],
        &[5e-324, 1.0],
        &[1e308, 1.0],
        &[0.1 + 0.2, 1.0],
        &[1.0 / 3.0, 0.5],
        &[STALE_NAN, f64::from_bits(0x7ff8_dead_beef_0001)],
    ] {
        assert_eq!(round_trip(values).0, Mode::Doubles, "{values:?}");
    }
    assert_eq!(round_trip(&[-0.0; 3]).0, Mode::ConstantDouble);
    assert_eq!(round_trip(&[STALE_NAN; 3]).0, Mode::ConstantDouble);
    assert_eq!(round_trip(&[9_007_199_254_740_993.0, 1e22]).0, Mode::Doubles);
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
    fn any_values_come_back(values in proptest::collection::vec(adversarial(), 0..200)) {
        round_trip(&values);
    }

    #[test]
    fn decimals_are_scaled(numbers in proptest::collection::vec(-1_000_000_000i64..1_000_000_000, 2..100), e in 0u32..6) {
        let values: Vec<f64> = numbers.iter().map(|n| *n as f64 / POWERS_OF_TEN[e as usize]).collect();
        prop_assume!(values.iter().all(|v| v.to_bits() != (-0.0f64).to_bits()));
        prop_assert!(matches!(round_trip(&values).0, Mode::Scaled | Mode::Constant));
    }
}
