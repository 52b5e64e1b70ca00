//! Strategies for series that try to break the format.

use std::sync::Arc;

use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::{CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, STALE_NAN, Span};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::TestSeries;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000i32..1000).prop_map(f64::from),
        2 => (-100_000i32..100_000).prop_map(|n| f64::from(n) / 100.0),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
        1 => Just(-0.0),
        1 => Just(1e308),
        1 => Just((1u64 << 53) as f64 + 2.0),
    ]
}

fn values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        vec(value(), n),
        value().prop_map(move |v| vec![v; n]),
        (any::<i32>(), 0i64..5000)
            .prop_map(move |(from, step)| (0..n as i64).map(|i| (i64::from(from) + i * step) as f64).collect()),
        (0u32..100_000, vec(0u32..40, n)).prop_map(|(from, steps)| {
            let mut at = from;
            steps
                .iter()
                .map(|step| {
                    at += step;
                    f64::from(at) / 100.0
                })
                .collect()
        }),
    ]
}

fn times() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        (0i64..1000, 0usize..600).prop_map(|(start, n)| (0..n as i64).map(|i| start + i * 15_000).collect()),
        (0i64..10, 4000usize..4010).prop_map(|(start, n)| (0..n as i64).map(|i| start + i * 1000).collect()),
        btree_set(-7_200_000i64..7_200_000, 0..50).prop_map(|set| set.into_iter().collect()),
        Just(vec![i64::MIN, 0, i64::MAX]),
    ]
}

fn start_times(n: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![4 => Just(vec![]), 1 => Just(vec![5; n]), 1 => Just(vec![0; n]), 1 => vec(0i64..3, n), 1 => vec(any::<i64>(), n)]
}

fn histogram() -> impl Strategy<Value = Arc<Histogram>> {
    let side = || vec((any::<i8>(), vec(value(), 0..4)), 0..3);
    (side(), side(), vec(value(), 4), vec(value(), 0..3), 0u8..4, any::<bool>(), -4i32..9).prop_map(
        |(positive, negative, numbers, bounds, reset, integer, schema)| {
            let spans = |side: &[(i8, Vec<f64>)]| -> Vec<Span> {
                side.iter().map(|(offset, b)| Span { offset: i32::from(*offset), length: b.len() as u32 }).collect()
            };
            let buckets = |side: &[(i8, Vec<f64>)]| side.iter().flat_map(|(_, b)| b.clone()).collect();
            Arc::new(Histogram {
                counter_reset: [
                    CounterReset::Unknown,
                    CounterReset::Reset,
                    CounterReset::NotReset,
                    CounterReset::Gauge,
                ][reset as usize],
                integer,
                schema: if bounds.is_empty() { schema } else { CUSTOM_BUCKETS_SCHEMA },
                zero_threshold: numbers[0],
                zero_count: numbers[1],
                count: numbers[2],
                sum: numbers[3],
                positive_spans: spans(&positive),
                positive_buckets: buckets(&positive),
                negative_spans: spans(&negative),
                negative_buckets: buckets(&negative),
                custom_values: bounds.into(),
            })
        },
    )
}

fn histograms() -> impl Strategy<Value = (Vec<i64>, Vec<Arc<Histogram>>, Vec<i64>)> {
    prop_oneof![
        3 => Just((vec![], vec![], vec![])),
        1 => btree_set(0i64..7_200_000, 0..20).prop_flat_map(|t| {
            let t: Vec<i64> = t.into_iter().collect();
            let n = t.len();
            (Just(t), vec(histogram(), n), start_times(n))
        }),
    ]
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let one = (btree_map("[a-z]{1,4}", ".{1,12}", 0..3), value(), 0i64..7_200_000);
    vec(one.prop_map(|(labels, value, t)| Exemplar { labels: Labels::from_pairs(labels), value, t }), 0..3)
}

fn metadata() -> impl Strategy<Value = Option<Metadata>> {
    proptest::option::of(("[a-z]{0,6}", ".{0,10}").prop_map(|(unit, help)| Metadata {
        kind: MetricType::Gauge,
        unit,
        help,
    }))
}

fn labels() -> impl Strategy<Value = Labels> {
    let name = prop_oneof![
        3 => Just("__name__".to_string()),
        2 => Just("job".to_string()),
        2 => Just("instance".to_string()),
        1 => Just("SID".to_string()),
        1 => Just("n".to_string()),
        1 => "[a-cA-C]{1,2}",
        1 => "\\PC{1,4}",
    ];
    let value = prop_oneof!["[a-d]{1,2}", "\\PC{1,10}"];
    btree_map(name, value, 0..6).prop_map(Labels::from_pairs)
}

/// One series with floats, histograms, exemplars and metadata.
fn one_series() -> impl Strategy<Value = TestSeries> {
    (labels(), times(), histograms(), exemplars(), metadata()).prop_flat_map(
        |(labels, t, (ht, h, hst), exemplars, metadata)| {
            let n = t.len();
            (values(n), start_times(n)).prop_map(move |(v, st)| TestSeries {
                labels: labels.clone(),
                t: t.clone(),
                v,
                st,
                ht: ht.clone(),
                h: h.clone(),
                hst: hst.clone(),
                exemplars: exemplars.clone(),
                metadata: metadata.clone(),
            })
        },
    )
}

/// Up to `most` series with distinct labels, sorted.
pub(super) fn series(most: usize) -> impl Strategy<Value = Vec<TestSeries>> {
    vec(one_series(), 0..most).prop_map(|mut series| {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        series.dedup_by(|a, b| a.labels == b.labels);
        series
    })
}
