use pharos_model::{SeriesView, Span};
use proptest::prelude::*;

use super::*;

fn histogram(count: u8) -> Arc<Histogram> {
    Arc::new(Histogram {
        count: f64::from(count),
        sum: f64::from(count) * 1.5,
        zero_count: 1.0,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![f64::from(count) - 1.0, 0.0],
        ..Histogram::default()
    })
}

/// A series: its timestamps, whether it has start timestamps, and its histograms.
type Row = (Vec<i64>, bool, Vec<u8>, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let times = prop_oneof![
        Just(vec![10, 20, 30]),
        Just(vec![]),
        prop::collection::btree_set(-5i64..1000, 0..5).prop_map(|t| t.into_iter().collect()),
    ];
    prop::collection::vec((times, any::<bool>(), prop::collection::vec(2u8..9, 0..3), any::<bool>()), 0..12)
}

fn batch(rows: &[Row]) -> SeriesBatch {
    let mut batch = SeriesBatch::default();
    for (t, started, counts, h_started) in rows {
        let v: Vec<f64> = t.iter().map(|t| *t as f64 / 3.0).collect();
        let st: Vec<i64> = if *started { t.iter().map(|t| t - 1).collect() } else { Vec::new() };
        let ht: Vec<i64> = (0..counts.len() as i64).collect();
        let h: Vec<_> = counts.iter().map(|count| histogram(*count)).collect();
        let hst = if *h_started { ht.clone() } else { Vec::new() };
        batch.push(SeriesView { t, v: &v, st: &st, ht: &ht, h: &h, hst: &hst });
    }
    batch
}

fn shown(batch: &SeriesBatch) -> Vec<String> {
    (0..batch.len()).map(|at| format!("{:?}", batch.view(at))).collect()
}

proptest! {
    #[test]
    fn samples_round_trip(rows in rows(), from in 0usize..4) {
        let sent = batch(&rows);
        let from = from.min(sent.len());
        let bytes = write_batch(&sent, from..sent.len()).unwrap();
        let mut got = batch(&rows[..from]);
        prop_assert_eq!(read_batch(&bytes, &mut got).unwrap(), rows.len() - from);
        prop_assert_eq!(shown(&got), shown(&sent));
    }

    /// Corrupt bytes give an error or a batch whose rows can all be viewed.
    #[test]
    fn corrupt_bytes_never_panic(rows in rows(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), short in any::<bool>()) {
        let mut bytes = write_batch(&batch(&rows), 0..rows.len()).unwrap();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        if short {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut out = SeriesBatch::default();
        if read_batch(&bytes, &mut out).is_ok() {
            shown(&out);
        }
    }

    #[test]
    fn noise_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_batch(&bytes, &mut SeriesBatch::default()).is_err());
    }
}

#[test]
fn series_of_one_scrape_share_their_timestamps() {
    let row = |t: &[i64]| (t.to_vec(), false, Vec::new(), false);
    let times: Vec<i64> = (0..1000).collect();
    let same = batch(&vec![row(&times); 20]);
    let bytes = write_batch(&same, 0..20).unwrap();
    assert!(bytes.len() < 20 * 8_000 + 8_000 + 2_000, "{}", bytes.len());
    let mut got = SeriesBatch::default();
    read_batch(&bytes, &mut got).unwrap();
    assert_eq!((got.t.len(), got.v.len(), got.len()), (1000, 20_000, 20));
}
