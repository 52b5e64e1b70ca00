//! Operations on histograms: examples with known results, properties, and hostile input.

use proptest::prelude::*;

use super::*;

/// A histogram with dense positive buckets from `offset`, whose count is their sum.
fn exponential(schema: i32, offset: i32, positive: &[f64]) -> Histogram {
    Histogram {
        schema,
        count: positive.iter().sum(),
        sum: 10.0,
        positive_spans: vec![Span { offset, length: positive.len() as u32 }],
        positive_buckets: positive.to_vec(),
        ..Histogram::default()
    }
}

fn custom(bounds: &[f64], buckets: &[f64]) -> Histogram {
    Histogram { custom_values: bounds.into(), ..exponential(CUSTOM_BUCKETS_SCHEMA, 0, buckets) }
}

fn bucket_counts(h: &Histogram) -> Vec<(f64, f64)> {
    h.positive().map(|b| (b.upper, b.count)).collect()
}

#[test]
fn buckets_come_in_order_from_both_ends() {
    let h = Histogram {
        zero_threshold: 0.75,
        zero_count: 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0, 0.0, 3.0],
        negative_spans: vec![
            Span { offset: -3, length: 1 },
            Span { offset: 0, length: 0 },
            Span { offset: 3, length: 1 },
        ],
        negative_buckets: vec![4.0, 5.0],
        ..Histogram::default()
    };
    let ends: Vec<_> = h.buckets().map(|b| (b.lower, b.upper, b.count)).collect();
    let expected = [
        (-2.0, -1.0, 5.0),
        (-0.125, -0.75, 4.0),
        (-0.75, 0.75, 2.0),
        (0.75, 1.0, 1.0),
        (2.0, 4.0, 0.0),
        (4.0, 8.0, 3.0),
    ];
    assert_eq!(ends, expected);
    let mut backwards: Vec<_> = h.buckets().rev().map(|b| (b.lower, b.upper, b.count)).collect();
    backwards.reverse();
    assert_eq!(backwards, expected);
    assert_eq!(h.positive().map(|b| b.index).collect::<Vec<_>>(), [0, 2, 3]);
}

#[test]
fn api_buckets_and_text() {
    let h = Histogram {
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: 1.5e6,
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative_buckets: vec![3.0],
        ..exponential(0, 0, &[0.0, 3.0])
    };
    assert_eq!(h.to_string(), "{count:7, sum:1.5e+06, [-2,-1):3, [-0.001,0.001]:1, (1,2]:3}");
    let api: Vec<_> = h.api_buckets().map(|b| (b.boundaries, b.left, b.right, b.count)).collect();
    assert_eq!(api, [(1, -2.0, -1.0, 3.0), (3, -0.001, 0.001, 1.0), (0, 1.0, 2.0, 3.0)]);
    let c = custom(&[5.0], &[1.0, 2.0]);
    assert_eq!(c.to_string(), "{count:3, sum:10, [-Inf,5]:1, (5,+Inf]:2}");
}

#[test]
fn addition_takes_the_coarser_schema() {
    let mut a = exponential(-1, 1, &[1.0]);
    let added = a.add(&exponential(0, 1, &[2.0, 2.0])).unwrap();
    assert_eq!((added, bucket_counts(&a), a.schema), (Combined::default(), vec![(4.0, 5.0)], -1));
    let mut b = exponential(0, 1, &[2.0, 2.0]);
    b.add(&exponential(-1, 1, &[1.0])).unwrap();
    assert_eq!((bucket_counts(&b), b.schema), (vec![(4.0, 5.0)], -1));
}

#[test]
fn addition_widens_zero_buckets_to_bucket_bounds() {
    let mut a = Histogram { zero_threshold: 0.5, zero_count: 1.0, ..exponential(0, 0, &[2.0, 3.0]) };
    let b = Histogram { zero_threshold: 1.5, zero_count: 10.0, ..exponential(0, 2, &[4.0]) };
    a.add(&b).unwrap();
    assert_eq!((a.zero_threshold, a.zero_count), (2.0, 16.0));
    assert_eq!(bucket_counts(&a), [(4.0, 4.0)]);
    let mut c = Histogram { zero_threshold: 1.5, zero_count: 10.0, ..exponential(0, 2, &[4.0]) };
    c.add(&Histogram { zero_threshold: 0.5, zero_count: 1.0, ..exponential(0, 0, &[2.0, 3.0]) }).unwrap();
    assert_eq!((c.zero_threshold, c.zero_count, bucket_counts(&c)), (2.0, 16.0, vec![(4.0, 4.0)]));
}

#[test]
fn mismatched_custom_bounds_meet_at_shared_ones() {
    let mut a = custom(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let combined = a.add(&custom(&[2.0, 3.5, 4.0], &[10.0, 20.0, 30.0, 40.0])).unwrap();
    assert!(combined.bounds_reconciled);
    assert_eq!(&a.custom_values[..], [2.0, 4.0]);
    assert_eq!(bucket_counts(&a), [(2.0, 13.0), (4.0, 57.0), (f64::INFINITY, 45.0)]);
    assert_eq!(a.add(&exponential(0, 0, &[1.0])), Err(HistogramError::IncompatibleSchemas));
    assert_eq!(a.count, 115.0);
    let mut none = custom(&[], &[1.0]);
    none.sub(&custom(&[1.0], &[1.0, 1.0])).unwrap();
    assert_eq!(bucket_counts(&none), [(f64::INFINITY, -1.0)]);
}

#[test]
fn hints_combine_and_collide() {
    use CounterReset::*;
    for (a, b, result, collision) in [
        (NotReset, NotReset, NotReset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
        (Unknown, Reset, Unknown, false),
        (NotReset, Unknown, Unknown, false),
    ] {
        let mut h = Histogram { counter_reset: a, ..Histogram::default() };
        let combined = h.add(&Histogram { counter_reset: b, ..Histogram::default() }).unwrap();
        assert_eq!((h.counter_reset, combined.counter_reset_collision), (result, collision), "{a:?} {b:?}");
    }
}

#[test]
fn resets_are_detected() {
    let h = |counts: &[f64]| exponential(0, 0, counts);
    assert!(!h(&[1.0, 2.0]).detect_reset(&h(&[1.0, 1.0])));
    assert!(h(&[1.0, 1.0, 3.0]).detect_reset(&h(&[1.0, 2.0, 1.0])), "one bucket went down");
    assert!(h(&[5.0]).detect_reset(&h(&[1.0, 1.0])), "a bucket vanished");
    assert!(!h(&[5.0]).detect_reset(&h(&[1.0, 0.0])));
    assert!(exponential(1, 0, &[5.0]).detect_reset(&h(&[1.0])), "the resolution went up");
    assert!(!exponential(-1, 0, &[5.0, 5.0]).detect_reset(&exponential(0, 0, &[1.0, 2.0, 3.0])));
    let hint = |a: &[f64], b: Option<&[f64]>| h(a).hint_when_read(b.map(h).as_ref());
    assert_eq!(hint(&[1.0], None), CounterReset::Unknown);
    assert_eq!(
        [hint(&[1.0], Some(&[2.0])), hint(&[2.0], Some(&[1.0]))],
        [CounterReset::Unknown, CounterReset::NotReset]
    );
    let wide = Histogram { zero_threshold: 2.0, zero_count: 3.0, ..exponential(0, 2, &[5.0]) };
    assert!(!wide.detect_reset(&h(&[1.0, 2.0])));
    assert!(Histogram { zero_count: 2.0, ..wide.clone() }.detect_reset(&h(&[1.0, 2.0])));
    assert!(h(&[1.0, 2.0]).detect_reset(&Histogram { count: 3.0, ..wide }));
    let finer = custom(&[2.0, 3.0, 4.0, 6.0], &[1.0, 0.0, 1.0, 5.0, 8.0]);
    assert!(finer.detect_reset(&custom(&[2.0, 4.0, 6.0], &[1.0, 2.0, 5.0, 7.0])));
    assert!(!finer.detect_reset(&custom(&[2.0, 4.0, 6.0], &[1.0, 1.0, 5.0, 7.0])));
}

#[test]
fn trimming_interpolates() {
    let h = Histogram {
        zero_threshold: 0.001,
        zero_count: 1.0,
        negative_spans: vec![Span { offset: 0, length: 2 }],
        negative_buckets: vec![1.0, 2.0],
        count: 34.0,
        ..exponential(0, 0, &[2.0, 4.0, 8.0, 16.0])
    };
    let mut upper = h.clone();
    upper.trim_upper(2f64.sqrt());
    assert!((upper.count - 8.0).abs() < 1e-9 && (upper.sum - 0.2570938865).abs() < 1e-6, "{upper}");
    let mut lower = h.clone();
    lower.trim_lower(2.0);
    assert_eq!((lower.count, bucket_counts(&lower)), (24.0, vec![(4.0, 8.0), (8.0, 16.0)]));
    assert_eq!(lower.positive_spans, [Span { offset: 2, length: 2 }]);
    let mut all = h.clone();
    all.trim_upper(f64::INFINITY);
    assert_eq!(all, h);
    let mut c = custom(&[5.0, 10.0, 15.0, 20.0], &[1.0, 6.0, 4.0, 3.0, 1.0]);
    c.trim_upper(13.0);
    assert!((c.count - 9.4).abs() < 1e-9 && (c.sum - 75.1).abs() < 1e-9);
}

#[test]
fn empty_buckets_make_no_difference() {
    let h = Histogram {
        count: 2.0,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive_buckets: vec![2.0],
        ..Histogram::default()
    };
    let filled = Histogram {
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![0.0, 2.0, 0.0],
        ..h.clone()
    };
    let moved = Histogram { positive_buckets: vec![2.0, 0.0, 0.0], ..filled.clone() };
    assert!(h.same_as(&filled) && filled.same_as(&h));
    assert!(!h.same_as(&moved) && !filled.same_as(&moved));
}

#[test]
fn compaction_has_one_result() {
    let mut h = Histogram {
        positive_spans: vec![
            Span { offset: 0, length: 3 },
            Span { offset: 0, length: 2 },
            Span { offset: 2, length: 0 },
        ],
        positive_buckets: vec![0.0, 1.0, 0.0, 0.0, 2.0],
        ..Histogram::default()
    };
    let mut filled = h.clone();
    h.compact(0);
    assert_eq!(h.positive_spans, [Span { offset: 1, length: 1 }, Span { offset: 2, length: 1 }]);
    filled.compact(2);
    assert_eq!(filled.positive_buckets, [1.0, 0.0, 0.0, 2.0]);
    h.compact(2);
    assert_eq!(h, filled);
}

#[test]
fn division_by_zero_leaves_no_buckets() {
    let mut h = exponential(0, 0, &[1.0]);
    h.div(0.0);
    assert!(h.count.is_infinite() && h.positive_buckets.is_empty() && h.positive_spans.is_empty());
    h.mul(-1.0);
    assert_eq!(h.counter_reset, CounterReset::Gauge);
}

#[test]
fn compensated_sums_and_means() {
    let h = |sum: f64| Histogram { sum, ..exponential(0, 0, &[1.0]) };
    let mut total = CompensatedHistogram::new(&h(3.1));
    for sum in [1e100, 1.3, -1e100] {
        total.add(&h(sum)).unwrap();
    }
    let total = total.finish();
    assert_eq!((total.sum, total.count), (4.4, 4.0));
    let mut mean = MeanHistogram::new(&Histogram { count: f64::MAX, ..h(1.0) });
    for count in [f64::MAX, 0.0, 0.0] {
        mean.add(&Histogram { count, ..h(1.0) }).unwrap();
    }
    let mean = mean.finish();
    assert!((mean.count / f64::MAX - 0.5).abs() < 1e-9 && (mean.sum - 1.0).abs() < 1e-12);
    assert_eq!(mean.positive_buckets, [1.0]);
}

#[test]
fn one_histogram_alone_keeps_its_bits() {
    let h = Histogram { sum: -0.0, count: -0.0, zero_count: -0.0, ..exponential(0, 0, &[-1.0]) };
    let all = [
        CompensatedHistogram::new(&h).finish(),
        CompensatedHistogram::new(&h).finish_divided(1.0),
        MeanHistogram::new(&h).finish(),
    ];
    for alone in all {
        let negative = [alone.sum, alone.count, alone.zero_count].map(f64::is_sign_negative);
        assert_eq!((negative, alone.positive_buckets), ([true; 3], vec![-1.0]));
    }
    let mut two = CompensatedHistogram::new(&h);
    two.add(&h).unwrap();
    assert!(two.finish().sum.is_sign_positive(), "what is lost, nothing, is added");
}

#[test]
fn broken_histograms_are_refused() {
    let good = exponential(0, 0, &[1.0, 2.0]);
    let span = |offset, length| Span { offset, length };
    let error = |h: Histogram| h.validate().unwrap_err().to_string();
    assert!(good.validate().is_ok());
    assert!(error(Histogram { schema: 9, ..good.clone() }).contains("got schema 9"));
    assert!(error(Histogram { positive_spans: vec![span(0, u32::MAX); 3], ..good.clone() }).contains("spans need"));
    assert!(error(Histogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..good.clone() }).contains("negative"));
    assert!(error(Histogram { count: -1.0, ..good.clone() }).contains("observation count is negative"));
    assert!(error(Histogram { positive_buckets: vec![1.0, -1.0], ..good.clone() }).contains("bucket number 2"));
    assert!(error(Histogram { integer: true, count: 4.0, ..good.clone() }).contains("should equal"));
    assert!(error(Histogram { integer: true, count: 2.0, sum: f64::NAN, ..good.clone() }).contains("at least"));
    assert!(Histogram { integer: true, count: 5.0, sum: f64::NAN, ..good.clone() }.validate().is_ok());
    assert!(error(Histogram { custom_values: [1.0].into(), ..good.clone() }).contains("must not have custom bounds"));
    assert!(error(Histogram { zero_threshold: f64::NAN, ..good.clone() }).contains("threshold"));
    let c = custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]);
    assert!(c.validate().is_ok());
    assert!(error(Histogram { custom_values: [2.0, 1.0].into(), ..c.clone() }).contains("increasing"));
    assert!(error(Histogram { custom_values: [f64::NAN].into(), ..c.clone() }).contains("NaN"));
    assert!(error(Histogram { custom_values: [1.0, f64::INFINITY].into(), ..c.clone() }).contains("+Inf"));
    assert!(error(Histogram { custom_values: [1.0].into(), ..c.clone() }).contains("insufficient"));
    assert!(error(Histogram { zero_count: 1.0, ..c }).contains("zero count of 0"));
}

fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    prop::collection::vec((0i32..4, prop::collection::vec(0u32..50, 1..4)), 0..4).prop_map(|runs| {
        let spans = runs.iter().map(|(offset, run)| Span { offset: *offset, length: run.len() as u32 }).collect();
        (spans, runs.into_iter().flat_map(|(_, run)| run).map(f64::from).collect())
    })
}

prop_compose! {
    fn well_formed()(
        schema in -4i32..=8, zero in 0u32..9, threshold in prop::sample::select(vec![0.0, 1e-128, 0.001, 1.0, 3.0]),
        (positive_spans, positive_buckets) in side(), (negative_spans, negative_buckets) in side(), sum in -100i32..100,
    ) -> Histogram {
        let zero_count = f64::from(zero);
        let count = zero_count + positive_buckets.iter().chain(&negative_buckets).sum::<f64>();
        let mut h = Histogram {
            schema, zero_count, count, sum: f64::from(sum), positive_spans, positive_buckets, negative_spans,
            negative_buckets, ..Histogram::default()
        };
        // Takes the buckets within the threshold into the zero bucket.
        h.add(&Histogram { schema, zero_threshold: threshold, ..Histogram::default() }).unwrap();
        h
    }
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(1.0)]
}

prop_compose! {
    fn hostile()(
        schema in prop_oneof![-5i32..=9, Just(-53), any::<i32>()], numbers in prop::array::uniform4(any_number()),
        spans in prop::array::uniform2(prop::collection::vec((any::<i32>(), prop_oneof![0u32..4, any::<u32>()]), 0..5)),
        counts in prop::array::uniform2(prop::collection::vec(any_number(), 0..8)),
        bounds in prop::collection::vec(any_number(), 0..4), hint in 0..4usize,
    ) -> Histogram {
        let [zero_threshold, zero_count, count, sum] = numbers;
        let [positive_spans, negative_spans] =
            spans.map(|spans| spans.into_iter().map(|(offset, length)| Span { offset, length }).collect());
        let [positive_buckets, negative_buckets] = counts;
        let hints = [CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge];
        Histogram {
            counter_reset: hints[hint], integer: hint == 0, schema, zero_threshold, zero_count, count, sum,
            positive_spans, positive_buckets, negative_spans, negative_buckets, custom_values: bounds.into(),
        }
    }
}

/// All counts of a histogram, in whatever buckets they are.
fn total(h: &Histogram) -> f64 {
    h.zero_count + h.positive_buckets.iter().chain(&h.negative_buckets).sum::<f64>()
}

proptest! {
    #[test]
    fn addition_is_commutative(a in well_formed(), b in well_formed()) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.add(&b).unwrap();
        ba.add(&a).unwrap();
        prop_assert_eq!((ab.count, ab.sum, ab.schema), (ba.count, ba.sum, ba.schema));
        // As in Prometheus, a bucket of the finer histogram that falls into the wider zero bucket of the other one may
        // also stay in a coarser bucket that reaches out of it.
        if a.zero_threshold == b.zero_threshold || a.schema == b.schema {
            ab.compact(0);
            ba.compact(0);
            prop_assert!(ab.same_as(&ba), "{ab} {ba}");
            prop_assert_eq!(total(&ab), total(&a) + total(&b));
        }
    }

    #[test]
    fn what_is_added_can_be_subtracted(a in well_formed(), b in well_formed()) {
        let mut back = a.clone();
        back.add(&b).unwrap();
        back.sub(&b).unwrap();
        prop_assert_eq!(total(&back), total(&a));
        prop_assert_eq!((back.count, back.sum), (a.count, a.sum));
        if a.schema <= b.schema && a.zero_threshold >= b.zero_threshold && back.zero_threshold == a.zero_threshold {
            let mut a = a;
            a.compact(0);
            back.compact(0);
            prop_assert_eq!(back.positive_buckets, a.positive_buckets);
            prop_assert_eq!(back.negative_spans, a.negative_spans);
        }
    }

    #[test]
    fn compensated_addition_agrees(a in well_formed(), b in well_formed(), c in well_formed()) {
        let mut plain = a.clone();
        let mut compensated = CompensatedHistogram::new(&a);
        for h in [&b, &c] {
            plain.add(h).unwrap();
            compensated.add(h).unwrap();
        }
        plain.compact(0);
        prop_assert!(compensated.finish().same_as(&plain));
    }

    #[test]
    fn coarser_resolution_keeps_the_total(h in well_formed(), by in 1i32..5) {
        let coarse = h.at_schema(h.schema - by);
        prop_assert_eq!(total(&coarse), total(&h));
        prop_assert!(coarse.validate().is_ok() || h.schema - by < EXPONENTIAL_SCHEMA_MIN);
    }

    #[test]
    fn no_reset_between_a_sum_and_its_part(a in well_formed(), b in well_formed()) {
        // Where only the sum is coarser, its zero bucket may end within a bucket, which counts as a reset.
        let (a, b) = if a.zero_threshold >= b.zero_threshold { (a, b) } else { (b, a) };
        let a = if a.schema > b.schema { a.at_schema(b.schema) } else { a };
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert!(!sum.detect_reset(&a));
    }

    #[test]
    fn hostile_histograms_never_panic(a in hostile(), b in hostile(), at in any_number()) {
        let _ = (a.validate(), a.detect_reset(&b), a.same_as(&b), a.has_overflow(), a.to_string());
        let _ = (a.buckets().count(), a.buckets().rev().count(), a.api_buckets().count(), a.at_schema(-4));
        let mut compensated = CompensatedHistogram::new(&a);
        let _ = compensated.add(&b);
        compensated.finish_divided(at);
        let mut mean = MeanHistogram::new(&a);
        let _ = (mean.add(&b), mean.add(&a), mean.finish());
        let operations: [fn(&mut Histogram, &Histogram, f64); 8] = [
            |h, other, _| drop(h.add(other)), |h, other, _| drop(h.sub(other)), |h, _, at| h.mul(at), |h, _, at| h.div(at),
            |h, _, at| h.trim_upper(at), |h, _, at| h.trim_lower(at), |h, _, _| h.compact(0), |h, _, _| h.compact(3),
        ];
        for operation in operations {
            let mut h = a.clone();
            operation(&mut h, &b, at);
            prop_assert_eq!(h.buckets().count(), h.buckets().rev().count());
        }
    }
}
