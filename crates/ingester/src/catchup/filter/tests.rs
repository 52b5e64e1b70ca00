use pharos_model::{Exemplar, Labels, Sample, TenantId};

use super::*;

/// Series a and b with samples and exemplars at 1, 2 and 3.
fn batch() -> WriteBatch {
    let mut batch = WriteBatch::default();
    for name in ["a", "b"] {
        let labels = Labels::from_pairs([("__name__", name)]);
        batch.begin_series(&TenantId::default(), |out| out.extend_from_slice(labels.as_bytes()));
        for t in 1..4 {
            batch.samples.push(Sample { t, v: t as f64, st: 0 });
            batch.exemplars.push(Exemplar { labels: Labels::default(), value: 1.0, t });
        }
    }
    batch.finish_series();
    batch
}

fn deletion(name: &str, start: i64, end: i64) -> (Vec<Matcher>, TimeRange) {
    (vec![Matcher::equal("__name__", name)], TimeRange::new(start, end))
}

fn times(batch: &WriteBatch) -> Vec<(String, Vec<i64>, Vec<i64>)> {
    let of = |series| {
        let name = batch.display_labels(series).metric_name().to_string();
        let samples = batch.samples_of(series).iter().map(|s| s.t).collect();
        (name, samples, batch.exemplars_of(series).iter().map(|e| e.t).collect())
    };
    batch.series().iter().map(of).collect()
}

fn expected(series: &[(&str, &[i64])]) -> Vec<(String, Vec<i64>, Vec<i64>)> {
    series.iter().map(|(name, times)| (name.to_string(), times.to_vec(), times.to_vec())).collect()
}

#[test]
fn without_deletions_everything_stays() {
    assert_eq!(times(&without_deleted(batch(), &[])), expected(&[("a", &[1, 2, 3]), ("b", &[1, 2, 3])]));
}

#[test]
fn deleted_samples_and_exemplars_are_omitted() {
    let deletions = [deletion("a", 2, 2), deletion("b", 3, 9), deletion("c", 0, 9)];
    assert_eq!(times(&without_deleted(batch(), &deletions)), expected(&[("a", &[1, 3]), ("b", &[1, 2])]));
}

#[test]
fn a_series_without_samples_is_omitted_and_metadata_stays() {
    let mut whole = batch();
    whole.metadata.push(("a".into(), Default::default()));
    let kept = without_deleted(whole, &[deletion("a", 1, 1), deletion("a", 2, 3)]);
    assert_eq!(times(&kept), expected(&[("b", &[1, 2, 3])]));
    assert_eq!(kept.metadata.len(), 1);
}
