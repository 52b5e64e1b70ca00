//! Tests that independent decoders restore encoded chunks bit for bit.

use proptest::prelude::*;

use super::super::decoding;
use super::*;

fn chunks_of(series: SeriesView<'_>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    encode_series(&series, |chunk| chunks.push(chunk));
    chunks
}

#[test]
fn chunks_have_the_documented_bytes() {
    // One sample: count, zigzag time, value.
    let chunk = floats_chunk(&[1], &[1.0]);
    assert_eq!(chunk.data, [0, 1, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    // Step 15000 as LEB128, an unchanged value as a zero bit, then an unchanged step and an unchanged value.
    let chunk = floats_chunk(&[0, 15_000, 30_000], &[1.0; 3]);
    assert_eq!(chunk.data[11..], [0x98, 0x75, 0b0000_0000]);
    assert_eq!((chunk.min_time_ms, chunk.max_time_ms), (0, 30_000));
}

#[test]
fn chunks_have_at_most_120_samples_and_keep_the_order_of_kinds() {
    let t: Vec<i64> = (0..300).chain(400..410).collect();
    let v: Vec<f64> = t.iter().map(|t| *t as f64).collect();
    let ht: Vec<i64> = (300..400).collect();
    let h: Vec<Arc<Histogram>> =
        ht.iter().map(|_| Arc::new(Histogram { integer: true, ..Default::default() })).collect();
    let chunks = chunks_of(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
    let seen: Vec<(i64, i64, i32)> = chunks.iter().map(|c| (c.min_time_ms, c.max_time_ms, c.r#type)).collect();
    assert_eq!(seen, [(0, 119, 1), (120, 239, 1), (240, 299, 1), (300, 399, 2), (400, 409, 1)]);
}

#[test]
fn resets_layouts_and_stale_markers_start_chunks() {
    let h = |count: f64, f: fn(&mut Histogram)| {
        let mut h = Histogram {
            integer: true,
            count,
            sum: 1.5,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            ..Default::default()
        };
        f(&mut h);
        Arc::new(h)
    };
    let stale = |h: &mut Histogram| h.sum = pharos_model::STALE_NAN;
    let histograms = [
        h(1.0, |_| {}),
        h(2.0, |_| {}),
        h(1.0, |_| {}),
        h(3.0, |h| h.counter_reset = CounterReset::Reset),
        h(4.0, |h| h.schema = 2),
        h(4.0, stale),
        h(5.0, |h| h.counter_reset = CounterReset::Gauge),
        h(4.0, |h| h.counter_reset = CounterReset::Gauge),
    ];
    let ht: Vec<i64> = (0..8).collect();
    let chunks = chunks_of(SeriesView { ht: &ht, h: &histograms, ..SeriesView::EMPTY });
    let starts: Vec<i64> = chunks.iter().map(|c| c.min_time_ms).collect();
    assert_eq!(starts, [0, 2, 3, 4, 5, 6]);
    let marker = &decoding::histograms(&chunks[4])[0].1;
    assert!(marker.is_stale() && marker.positive_spans.is_empty());
}

#[test]
fn thresholds_and_bounds_round_trip() {
    for zero_threshold in [0.0, 2f64.powi(-128), 2f64.powi(-243), 2f64.powi(-244), 1024.0, 2048.0, 1e-128, 0.3] {
        let h = Histogram { zero_threshold, ..Default::default() };
        let decoded = decoding::histograms(&histograms_chunk(&[7], &[Arc::new(h)]));
        assert_eq!(decoded[0].1.zero_threshold, zero_threshold);
    }
    let bounds = [-1.0, 0.0, 0.001, 0.1, 0.1234, 33_554.43, 33_554.431, 1e300];
    let h = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: Arc::from(&bounds[..]), ..Default::default() };
    let decoded = decoding::histograms(&histograms_chunk(&[7], &[Arc::new(h)]));
    assert_eq!(decoded[0].1.custom_values[..], bounds);
}

fn any_histograms(integer: bool) -> impl Strategy<Value = Vec<Histogram>> {
    let counts = proptest::collection::vec(0u32..1000, 5);
    proptest::collection::vec((counts, any::<i32>()), 1..300).prop_map(move |rows| {
        let mut total = [0.0; 5];
        let row = |(counts, sum): (Vec<u32>, i32)| {
            for (sum, count) in total.iter_mut().zip(&counts) {
                *sum += if integer { f64::from(*count) } else { f64::from(*count) / 7.0 };
            }
            Histogram {
                integer,
                schema: 3,
                zero_threshold: 1e-128,
                zero_count: total[0],
                count: total.iter().sum(),
                sum: f64::from(sum) / 8.0,
                positive_spans: vec![Span { offset: -3, length: 1 }, Span { offset: 5, length: 1 }],
                positive_buckets: total[1..3].to_vec(),
                negative_spans: vec![Span { offset: 1, length: 2 }],
                negative_buckets: total[3..].to_vec(),
                ..Default::default()
            }
        };
        rows.into_iter().map(row).collect()
    })
}

proptest! {
    #[test]
    fn floats_round_trip(rows in proptest::collection::vec((any::<i64>(), any::<u64>()), 1..400)) {
        let mut t: Vec<i64> = rows.iter().map(|(t, _)| *t).collect();
        t.sort_unstable();
        let v: Vec<f64> = rows.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
        let chunks = chunks_of(SeriesView { t: &t, v: &v, ..SeriesView::EMPTY });
        let read: Vec<(i64, u64)> = chunks.iter().flat_map(decoding::floats).map(|(t, v)| (t, v.to_bits())).collect();
        let sent: Vec<(i64, u64)> = t.into_iter().zip(v).map(|(t, v)| (t, v.to_bits())).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn regular_floats_round_trip(jitter in proptest::collection::vec((-600_000i64..600_000, -50i32..50), 2..400)) {
        let mut t: Vec<i64> = jitter.iter().enumerate().map(|(i, (j, _))| i as i64 * 15_000 + j).collect();
        t.sort_unstable();
        let v: Vec<f64> = jitter.iter().map(|(_, v)| f64::from(*v) / 4.0).collect();
        let chunks = chunks_of(SeriesView { t: &t, v: &v, ..SeriesView::EMPTY });
        let read: Vec<(i64, f64)> = chunks.iter().flat_map(decoding::floats).collect();
        prop_assert_eq!(read, t.into_iter().zip(v).collect::<Vec<_>>());
    }

    #[test]
    fn histograms_round_trip(sent in any::<bool>().prop_flat_map(any_histograms)) {
        let h: Vec<Arc<Histogram>> = sent.iter().cloned().map(Arc::new).collect();
        let ht: Vec<i64> = (0..h.len() as i64).map(|i| i * 15_000 - 9 + i % 3).collect();
        let chunks = chunks_of(SeriesView { ht: &ht, h: &h, ..SeriesView::EMPTY });
        prop_assert_eq!(chunks.len(), h.len().div_ceil(MAX_SAMPLES));
        let read: Vec<(i64, Histogram)> = chunks.iter().flat_map(decoding::histograms).collect();
        for ((t, mut h), (sent_t, sent)) in read.into_iter().zip(ht.into_iter().zip(sent)) {
            h.counter_reset = sent.counter_reset;
            prop_assert_eq!((t, h), (sent_t, sent));
        }
    }
}
