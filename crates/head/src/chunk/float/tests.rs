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

/// Asserts that samples are decoded as they were encoded; returns their encoded size.
fn round_trip(samples: &[Sample]) -> usize {
    let bytes = encode(samples);
    let mut t = vec![7];
    let mut v = vec![7.0];
    let mut st = vec![7];
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
fn constants_take_next_to_no_bytes() {
    assert!(round_trip(&regular(240, |_| 42.0)) < 20);
    assert!(round_trip(&regular(240, |_| 0.0)) < 20);
}

#[test]
fn small_changes_take_a_byte() {
    assert!(round_trip(&regular(240, |i| (i % 7) as f64)) < 260);
}

#[test]
fn counters_and_decimals_take_three_bytes() {
    assert!(round_trip(&regular(240, |i| (i * 1_000) as f64)) < 750);
    assert!(round_trip(&regular(240, |i| (i * 3 % 100) as f64 / 100.0)) < 740);
}

#[test]
fn doubles_without_a_scale_take_at_most_ten_bytes() {
    assert!(round_trip(&regular(240, |i| (i as f64).sqrt())) < 240 * 10);
}

#[test]
fn a_run_longer_than_a_token_holds_is_split() {
    for n in [63, 64, 65, 66, 129, 130, 500] {
        round_trip(&regular(n, |_| 3.0));
    }
}

#[test]
fn a_change_of_the_start_timestamp_ends_a_run() {
    let mut samples = regular(10, |_| 3.0);
    samples[5..].iter_mut().for_each(|s| s.st = 9);
    samples[8].st = 0;
    round_trip(&samples);
}

#[test]
fn a_scale_is_found_again_after_values_that_have_none() {
    let mut samples = regular(100, |i| i as f64 / 100.0);
    samples[10].v = 1.0 / 3.0;
    let bytes = round_trip(&samples);
    assert!(bytes < 100 * 10, "{bytes}");
}

#[test]
fn special_values_keep_their_bits() {
    let values = [STALE_NAN, f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, 1e300, -1.5];
    let samples: Vec<Sample> =
        values.iter().enumerate().map(|(i, &v)| Sample { t: i as i64, v, st: i as i64 % 2 }).collect();
    round_trip(&samples);
}

#[test]
fn integers_around_the_limit_of_exactness_keep_their_bits() {
    let limit = (1u64 << 53) as f64;
    let values = [limit - 1.0, limit, limit + 2.0, -limit, 9.3e18, -9.3e18];
    let samples: Vec<Sample> = values.iter().enumerate().map(|(i, &v)| Sample { t: i as i64, v, st: 0 }).collect();
    round_trip(&samples);
}

#[test]
fn the_ends_of_time_round_trip() {
    round_trip(&[
        Sample { t: i64::MIN, v: 1.0, st: i64::MAX },
        Sample { t: 0, v: 1.0, st: i64::MIN },
        Sample { t: i64::MAX, v: 1.0, st: 0 },
    ]);
}

#[test]
fn start_timestamps_can_be_skipped() {
    let samples = [Sample { t: 1, v: 1.0, st: 5 }, Sample { t: 2, v: 2.0, st: 6 }];
    let mut t = Vec::new();
    let mut v = Vec::new();
    decode(&encode(&samples), 2, 1, &mut t, &mut v, None);
    assert_eq!(t, [1, 2]);
    assert_eq!(v, [1.0, 2.0]);
}

#[test]
fn truncated_bytes_decode_to_a_prefix() {
    let samples = regular(50, |i| (i as f64).sqrt());
    let bytes = encode(&samples);
    for len in 0..bytes.len() {
        let mut t = Vec::new();
        let mut v = Vec::new();
        let mut st = Vec::new();
        decode(&bytes[..len], samples.len(), samples[0].t, &mut t, &mut v, Some(&mut st));
        assert!(t.len() < samples.len());
        assert_eq!(t.len(), v.len());
        assert_eq!(t.len(), st.len());
        assert!(t.iter().zip(&samples).all(|(t, s)| *t == s.t));
    }
}

#[test]
fn an_unknown_kind_ends_the_decoding() {
    let mut t = Vec::new();
    let mut v = Vec::new();
    decode(&[0, GENERAL | 12, 0, 0], 4, 0, &mut t, &mut v, None);
    assert_eq!(t.len(), 1);
}

#[test]
fn a_scale_out_of_range_is_clamped() {
    let mut t = Vec::new();
    let mut v = Vec::new();
    decode(&[GENERAL | RESCALE, 255, 2], 1, 0, &mut t, &mut v, None);
    assert_eq!(v, [1e-9]);
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
        let mut t = Vec::new();
        let mut v = Vec::new();
        decode(&bytes, count, 0, &mut t, &mut v, None);
        prop_assert!(t.len() <= count && t.len() == v.len());
    }
}
