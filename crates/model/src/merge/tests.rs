use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<String, BTreeMap<i64, f64>>;

struct FixedSet {
    labels: Vec<Labels>,
    samples: Vec<(Vec<i64>, Vec<f64>)>,
}

fn set_of(model: &Model) -> Arc<dyn SeriesSet> {
    Arc::new(FixedSet {
        labels: model.keys().map(|name| Labels::from_pairs([("__name__", name)])).collect(),
        samples: model.values().map(|s| (s.keys().copied().collect(), s.values().copied().collect())).collect(),
    })
}

impl SeriesSet for FixedSet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for (t, v) in &self.samples[series] {
            let read = range.positions(t);
            out.push(SeriesView { t: &t[read.clone()], v: &v[read], ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

fn read(set: &dyn SeriesSet, part: Range<usize>, range: TimeRange) -> Model {
    let mut out = SeriesBatch::default();
    set.fetch(part.clone(), range, &mut out).unwrap();
    assert_eq!(out.len(), part.len());
    let mut model = Model::new();
    for (i, at) in part.enumerate() {
        let view = out.view(i);
        assert!(view.t.windows(2).all(|w| w[0] < w[1]));
        let samples = view.t.iter().copied().zip(view.v.iter().copied()).collect();
        model.insert(set.labels()[at].metric_name().to_string(), samples);
    }
    model
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let samples = proptest::collection::btree_map(0i64..40, -100.0f64..100.0, 1..20);
    proptest::collection::vec(proptest::collection::btree_map("[a-f]", samples, 0..5), 0..4)
}

proptest! {
    #[test]
    fn a_union_equals_the_union_of_maps(models in models(), from in 0i64..40, len in 0i64..40) {
        let range = TimeRange::new(from, from + len);
        let mut expected = Model::new();
        for model in &models {
            for (name, samples) in model {
                let into = expected.entry(name.clone()).or_default();
                into.extend(samples.iter().filter(|(t, _)| range.contains(**t)).map(|(t, v)| (*t, *v)));
            }
        }
        let set = MergedSet::merge(models.iter().map(set_of).collect());
        let all = set.labels().len();
        prop_assert_eq!(&read(&*set, 0..all, range), &expected);
        let mut in_parts = read(&*set, 0..all / 2, range);
        in_parts.extend(read(&*set, all / 2..all, range));
        prop_assert_eq!(in_parts, expected);
    }
}

#[test]
fn histograms_and_start_timestamps_are_merged_too() {
    struct One(i64, i64);
    impl SeriesSet for One {
        fn labels(&self) -> &[Labels] {
            static LABELS: std::sync::LazyLock<Vec<Labels>> =
                std::sync::LazyLock::new(|| vec![Labels::from_pairs([("a", "b")])]);
            &LABELS
        }
        fn fetch(&self, _: Range<usize>, _: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
            let histogram = Arc::new(Histogram { count: self.0 as f64, ..Histogram::default() });
            let st: &[i64] = if self.1 == 0 { &[] } else { &[self.1] };
            out.push(SeriesView { t: &[self.0], v: &[1.0], st, ht: &[self.0 + 1], h: &[histogram], hst: st });
            Ok(())
        }
    }
    let set = MergedSet::merge(vec![Arc::new(One(10, 0)), Arc::new(One(5, 3))]);
    let mut out = SeriesBatch::default();
    set.fetch(0..1, TimeRange::ALL, &mut out).unwrap();
    let view = out.view(0);
    assert_eq!(view.t, [5, 10]);
    assert_eq!(view.st, [3, 0]);
    assert_eq!(view.ht, [6, 11]);
    assert_eq!(view.hst, [3, 0]);
    assert_eq!(view.h.iter().map(|h| h.count).collect::<Vec<_>>(), [5.0, 10.0]);
}

/// A set with one series for each name, which has a sample of `value` at each of the times.
fn set_with(names: &[&str], times: &[i64], value: f64) -> Arc<dyn SeriesSet> {
    let samples: BTreeMap<i64, f64> = times.iter().map(|&t| (t, value)).collect();
    set_of(&names.iter().map(|name| (name.to_string(), samples.clone())).collect())
}

fn merged(sets: Vec<Arc<dyn SeriesSet>>) -> Model {
    let set = MergedSet::merge(sets);
    read(&*set, 0..set.labels().len(), TimeRange::ALL)
}

#[test]
fn the_later_source_wins_at_equal_timestamps() {
    let merged = merged(vec![set_with(&["a"], &[1, 2], 1.0), set_with(&["a"], &[2, 3], 2.0)]);
    assert_eq!(merged["a"], BTreeMap::from([(1, 1.0), (2, 2.0), (3, 2.0)]));
}

#[test]
fn series_of_either_source_are_in_the_union() {
    let merged = merged(vec![set_with(&["b", "c"], &[1], 1.0), set_with(&["a", "c"], &[2], 2.0)]);
    assert_eq!(merged.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(merged["c"].len(), 2);
}

#[test]
fn no_source_is_the_empty_set() {
    assert!(MergedSet::merge(Vec::new()).labels().is_empty());
    assert!(MergedSet::merge(vec![Arc::new(EmptySet), Arc::new(EmptySet)]).labels().is_empty());
}

#[test]
fn a_single_source_is_itself() {
    let only = set_with(&["a"], &[1], 1.0);
    let merged = MergedSet::merge(vec![Arc::new(EmptySet), only.clone()]);
    assert!(Arc::ptr_eq(&merged, &only));
}

#[test]
fn an_error_of_a_source_is_that_of_the_union() {
    struct Broken(Vec<Labels>);
    impl SeriesSet for Broken {
        fn labels(&self) -> &[Labels] {
            &self.0
        }
        fn fetch(&self, _: Range<usize>, _: TimeRange, _: &mut SeriesBatch) -> Result<(), SelectError> {
            Err(SelectError::Storage("broken".into()))
        }
    }
    let broken = Arc::new(Broken(vec![Labels::from_pairs([("__name__", "b")])]));
    let set = MergedSet::merge(vec![set_with(&["a", "b"], &[1], 1.0), broken]);
    assert!(set.fetch(0..1, TimeRange::ALL, &mut SeriesBatch::default()).is_ok(), "only b is broken");
    let error = set.fetch(0..2, TimeRange::ALL, &mut SeriesBatch::default()).unwrap_err();
    assert_eq!(error.to_string(), "broken");
}
