use super::*;
use pharos_model::{STALE_NAN, Sample};
use proptest::prelude::*;

fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = FloatEncoder::new(samples[0].t);
    for s in samples {
        encoder.append(&mut out, s.t, s.v, s.st);
    }
    out
}

fn round_trip(samples: &[Sample]) -> usize {
    let bytes = encode(samples);
    let (mut t, mut v, mut st) = (vec![7], vec![7.0], vec![7]);
    decode(&bytes, samples.len(), samples[0].t, &mut t, &mut v, Some(&mut st));
    assert_eq!(t[1..], samples.iter().map(|s| s.t).collect::<Vec<_>>());
    assert_eq!(
        v[1..].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
        samples.iter().map(|s| s.v.to_bits()).collect::<Vec<_>>()
    );
    assert_eq!(st[1..], samples.iter().map(|s| s.st).collect::<Vec<_>>());
    bytes.len()
}

fn regular(n: i64, mut value: impl FnMut(i64) -> f64) -> Vec<Sample> {
    (0..n).map(|i| Sample { t: 1_700_000_000_000 + i * 15_000, v: value(i), st: 0 }).collect()
}

#[test]
fn usual_series_are_small() {
    assert!(round_trip(&regular(240, |_| 42.0)) < 20);
    assert!(round_trip(&regular(240, |_| 0.0)) < 20);
    assert!(round_trip(&regular(240, |i| (i % 7) as f64)) < 260);
    assert!(round_trip(&regular(240, |i| (i * 1_000) as f64)) < 750);
    assert!(round_trip(&regular(240, |i| (i * 3 % 100) as f64 / 100.0)) < 740);
    assert!(round_trip(&regular(240, |i| (i as f64).sqrt())) < 240 * 10);
}

#[test]
fn special_values_keep_their_bits() {
    let values = [STALE_NAN, f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, 1e300, -1.5];
    let samples: Vec<Sample> =
        values.iter().enumerate().map(|(i, &v)| Sample { t: i as i64, v, st: i as i64 % 2 }).collect();
    round_trip(&samples);
}

#[test]
fn times_at_both_ends_of_time() {
    round_trip(&[
        Sample { t: i64::MIN, v: 1.0, st: i64::MAX },
        Sample { t: 0, v: 1.0, st: i64::MIN },
        Sample { t: i64::MAX, v: 1.0, st: 0 },
    ]);
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1_000_000i64..1_000_000).prop_map(|i| i as f64),
        (-100_000i64..100_000, 0u32..10).prop_map(|(i, e)| i as f64 / 10f64.powi(e as i32)),
        Just(3.0),
        Just(STALE_NAN),
    ]
}

proptest! {
    #[test]
    fn any_samples_round_trip(
        first in any::<i64>(),
        steps in proptest::collection::vec((prop_oneof![Just(15_000i64), 14_990..15_010i64, any::<i64>()], values(),
            prop_oneof![9 => Just(0i64), 1 => any::<i64>()]), 1..200),
    ) {
        let mut t = first;
        let samples: Vec<Sample> = steps.iter().map(|&(step, v, st)| {
            t = t.wrapping_add(step);
            Sample { t, v, st }
        }).collect();
        round_trip(&samples);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..500) {
        let (mut t, mut v) = (Vec::new(), Vec::new());
        decode(&bytes, count, 0, &mut t, &mut v, None);
        prop_assert!(t.len() <= count && t.len() == v.len());
    }
}
