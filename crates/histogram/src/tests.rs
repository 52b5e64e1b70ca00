//! Examples with known results, by area, and properties of random and of hostile histograms.

mod buckets;
mod combine;
mod operations;
mod reset;
mod validate;

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
