//! Histograms and exemplars are read in whole row groups, once.

use pharos_model::{SeriesBatch, TimeRange};

use super::*;
use crate::BlockSelection;
use crate::objects::testing::FaultyStore;

/// A series with histograms in several row groups, and with exemplars.
fn series(name: &str) -> TestSeries {
    let histogram = |at: i64| Arc::new(Histogram { count: at as f64, zero_count: at as f64, ..Histogram::default() });
    let exemplar = |t: i64| Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: 1.0, t };
    TestSeries {
        labels: Labels::from_pairs([("__name__", name)]),
        ht: (0..2000).collect(),
        h: (0..2000).map(histogram).collect(),
        exemplars: (0..3000).map(exemplar).collect(),
        ..TestSeries::default()
    }
}

async fn read_all_of(selection: &BlockSelection) -> (SeriesBatch, usize) {
    let mut batch = SeriesBatch::default();
    selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await.unwrap();
    let exemplars = selection.exemplars(0..selection.len(), TimeRange::ALL).await.unwrap();
    (batch, exemplars.len())
}

#[test]
fn row_groups_of_histograms_and_exemplars_are_fetched_together_and_cached() {
    let mut written = [series("a"), series("b"), series("c")];
    let block = write(options(), &mut written);
    run(async {
        let inner = Arc::new(InMemory::new());
        upload(inner.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let store = FaultyStore::failing_first(inner, 0);
        let reader = open(Arc::new(store.clone()), &block.meta).await;
        let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
        let opened = store.requests();
        let (batch, exemplars) = read_all_of(&selection).await;
        assert_eq!((batch.h.len(), exemplars), (6000, 9000));
        // Of each file the footer and all row groups; more requests only where they are large.
        let cold = store.requests() - opened;
        assert!(cold <= 4, "{cold} requests");
        let (again, exemplars) = read_all_of(&selection).await;
        assert_eq!((again.h, exemplars), (batch.h, 9000));
        assert_eq!(store.requests() - opened, cold, "nothing is fetched again");
    });
}

#[test]
fn only_row_groups_of_the_asked_series_are_fetched() {
    let mut written = [series("a"), series("b"), series("c")];
    let block = write(options(), &mut written);
    run(async {
        let reader = reader(&block).await;
        let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
        let mut batch = SeriesBatch::default();
        for (at, range) in [(2, TimeRange::new(5, 8)), (0, TimeRange::new(1998, 5000)), (1, TimeRange::new(4000, 5000))]
        {
            selection.fetch(at..at + 1, range, &mut batch).await.unwrap();
        }
        let counts = |at: usize| batch.view(at).h.iter().map(|h| h.count).collect::<Vec<_>>();
        assert_eq!(counts(0), [5.0, 6.0, 7.0, 8.0]);
        assert_eq!(counts(1), [1998.0, 1999.0]);
        assert!(counts(2).is_empty());
    });
}
