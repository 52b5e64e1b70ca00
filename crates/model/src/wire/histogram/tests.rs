use super::*;
use crate::STALE_NAN;
use proptest::prelude::*;

pub(crate) fn sample(scale: f64) -> Histogram {
    Histogram {
        integer: true,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 2.0 * scale,
        count: 12.0 * scale,
        sum: 18.4 * scale,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0 * scale, 2.0 * scale, 1.0 * scale, 1.0 * scale],
        negative_spans: vec![Span { offset: -3, length: 1 }],
        negative_buckets: vec![5.0 * scale],
        ..Histogram::default()
    }
}

fn round_trip(before: Option<&Histogram>, h: &Histogram) -> usize {
    let mut out = Vec::new();
    encode(before, h, &mut out);
    let mut reader = Reader::new(&out);
    let back = decode(before, &mut reader).unwrap();
    assert!(reader.is_empty());
    assert!(same_sample(&back, h), "{back:?} != {h:?}");
    assert_eq!((back.integer, back.counter_reset), (h.integer, h.counter_reset));
    out.len()
}

#[test]
fn changes_are_smaller_than_whole_histograms() {
    let (first, second) = (sample(1.0), sample(2.0));
    let whole = round_trip(None, &second);
    let change = round_trip(Some(&first), &second);
    assert!(change < whole && change < 20, "{change} of {whole}");
}

#[test]
fn stale_markers_and_other_layouts_follow_each_other() {
    let stale = Histogram { sum: STALE_NAN, ..Histogram::default() };
    round_trip(Some(&sample(1.0)), &stale);
    round_trip(Some(&stale), &sample(1.0));
    let custom = Histogram { schema: -53, custom_values: Arc::from([0.1, 0.5, 1.0]), ..sample(0.5) };
    round_trip(Some(&sample(1.0)), &custom);
    round_trip(Some(&custom), &Histogram { count: 1e300, ..custom.clone() });
}

fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), (0i64..100_000).prop_map(|i| i as f64)]
}

prop_compose! {
    fn histograms()(
        numbers4 in proptest::array::uniform4(numbers()), schema in any::<i32>(), integer in any::<bool>(),
        positive in proptest::collection::vec(numbers(), 0..8), negative in proptest::collection::vec(numbers(), 0..8),
        spans in proptest::collection::vec((any::<i32>(), any::<u32>()), 0..4), bounds in proptest::collection::vec(numbers(), 0..4),
        reset in 0usize..4,
    ) -> Histogram {
        let resets = [CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge];
        Histogram {
            counter_reset: resets[reset], integer, schema, zero_threshold: numbers4[0], zero_count: numbers4[1],
            count: numbers4[2], sum: numbers4[3],
            positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
            negative_spans: Vec::new(), positive_buckets: positive, negative_buckets: negative,
            custom_values: Arc::from(bounds),
        }
    }
}

proptest! {
    #[test]
    fn any_histogram_round_trips(a in histograms(), b in histograms(), sum in numbers(), count in numbers()) {
        round_trip(None, &a);
        round_trip(Some(&a), &b);
        round_trip(Some(&a), &Histogram { sum, count, ..a.clone() });
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(None, &mut Reader::new(&bytes));
        let _ = decode(Some(&sample(1.0)), &mut Reader::new(&bytes));
    }
}
