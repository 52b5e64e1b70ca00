//! Merging equals a map from (labels, timestamp) that sources are written into by rank, also through real blocks.

use std::collections::BTreeMap;

use pharos_model::{SeriesBatch, TimeRange, series_hash};
use proptest::prelude::*;
use ulid::Ulid;

use super::*;
use crate::tests::{TestSeries, options, reader, run, same_histogram, write};
use crate::{BlockWriter, WriterOptions};

type Samples = BTreeMap<i64, (Option<f64>, Option<f64>)>;

/// One source: series number, floats and histograms by timestamp.
fn source() -> impl Strategy<Value = BTreeMap<u8, Samples>> {
    let sample = prop_oneof![
        3 => (-50.0..50.0f64).prop_map(|v| (Some(v), None)),
        1 => (-50.0..50.0f64).prop_map(|v| (None, Some(v))),
        1 => (-50.0..50.0f64).prop_map(|v| (Some(v), Some(v + 1.0))),
    ];
    let range = prop_oneof![Just(0i64), Just(100), Just(30)];
    let samples = (range, proptest::collection::btree_map(0i64..60, sample, 0..20))
        .prop_map(|(start, samples)| samples.into_iter().map(|(t, s)| (start + t, s)).collect());
    proptest::collection::btree_map(0u8..6, samples, 0..6)
}

fn series_of(source: &BTreeMap<u8, Samples>) -> Vec<TestSeries> {
    let one = |(number, samples): (&u8, &Samples)| {
        let mut one = TestSeries::floats(&[("__name__", "m"), ("n", &number.to_string())], vec![], vec![]);
        for (t, (float, histogram)) in samples {
            if let Some(v) = float {
                one.t.push(*t);
                one.v.push(*v);
                one.st.push(i64::from(*t % 2 == 0));
            }
            if let Some(sum) = histogram {
                one.ht.push(*t);
                one.h.push(Arc::new(Histogram { sum: *sum, ..Histogram::default() }));
            }
        }
        one
    };
    source.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn write_read_merge_equals_a_map(sources in proptest::collection::vec(source(), 1..5)) {
        let mut model: BTreeMap<u8, Samples> = BTreeMap::new();
        for source in &sources {
            for (number, samples) in source.iter().filter(|(_, samples)| !samples.is_empty()) {
                model.entry(*number).or_default().extend(samples.clone());
            }
        }
        run(async {
            let mut selections = Vec::new();
            for (at, source) in sources.iter().enumerate() {
                let options = WriterOptions { id: Ulid(at as u128), sequence: at as u64, ..options() };
                let reader = reader(&write(options, &mut series_of(source))).await;
                let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
                let mut batch = SeriesBatch::default();
                selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await.unwrap();
                selections.push((selection, batch));
            }
            let inputs: Vec<Input<'_>> = selections.iter().enumerate()
                .map(|(at, (selection, _))| Input { labels: selection.labels(), rank: at as u64 }).collect();
            let mut plan = Plan::new(&inputs);
            let (mut sources, mut merged) = (Vec::new(), Merged::default());
            let mut writer = BlockWriter::new(options()).unwrap();
            while let Some(labels) = plan.next(&mut sources) {
                let views: Vec<SeriesView<'_>> = sources.iter().map(|at| selections[at.source].1.view(at.series)).collect();
                merged.merge(&views);
                writer.push(labels, series_hash(&options().tenant, labels.as_bytes()), None, merged.view()).unwrap();
            }
            let reader = reader(&writer.finish().unwrap()).await;
            let (labels, batch) = crate::tests::read_all(&reader, TimeRange::ALL).await;
            let expected = series_of(&model);
            assert_eq!(labels, expected.iter().map(|one| one.labels.clone()).collect::<Vec<_>>());
            for (at, one) in expected.iter().enumerate() {
                let got = batch.view(at);
                assert_eq!((got.t, got.v, got.ht), (&one.t[..], &one.v[..], &one.ht[..]));
                assert!(got.h.iter().zip(&one.h).all(|(a, b)| same_histogram(a, b)));
                assert!(got.st == one.st || (got.st.is_empty() && one.st.iter().all(|st| *st == 0)));
            }
        });
    }
}

#[test]
fn equal_ranks_go_by_position_and_windows_are_concatenated() {
    let labels = [Labels::from_pairs([("a", "b")])];
    let inputs =
        [Input { labels: &labels, rank: 5 }, Input { labels: &labels, rank: 5 }, Input { labels: &labels, rank: 1 }];
    let mut sources = Vec::new();
    assert_eq!(Plan::new(&inputs).next(&mut sources), Some(&labels[0]));
    assert_eq!(sources.iter().map(|at| at.source).collect::<Vec<_>>(), [2, 0, 1]);
    let late = SeriesView { t: &[10, 20], v: &[1.0, 2.0], st: &[7, 7], ..SeriesView::EMPTY };
    let early = SeriesView { t: &[1], v: &[0.5], ..SeriesView::EMPTY };
    let mut merged = Merged::default();
    merged.merge(&[late, SeriesView::EMPTY, early]);
    assert_eq!(
        (merged.view().t, merged.view().v, merged.view().st),
        (&[1, 10, 20][..], &[0.5, 1.0, 2.0][..], &[0, 7, 7][..])
    );
}
