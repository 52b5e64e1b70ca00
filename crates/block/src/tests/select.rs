//! Selectors, label names and label values.

use pharos_model::{MatchOp, Matcher};

use super::*;
use crate::BlockError;

/// Five series with labels in common, and thirty without the label "rare", which keeps it out of the columns.
fn some_series() -> Vec<TestSeries> {
    let mut series = Vec::new();
    for (name, job, extra) in [
        ("up", "node", None),
        ("up", "api", None),
        ("requests", "api", Some(("code", "200"))),
        ("requests", "api", Some(("code", "500"))),
        ("load", "node", Some(("rare", "é"))),
    ] {
        let mut pairs = vec![("__name__", name), ("job", job)];
        pairs.extend(extra);
        series.push(TestSeries::floats(&pairs, vec![10, 20], vec![1.0, 2.0]));
    }
    series
        .extend((0..30).map(|i| TestSeries::floats(&[("__name__", "z"), ("i", &i.to_string())], vec![100], vec![0.0])));
    series
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

/// Opens a block of [`some_series`] and runs a test on it.
fn with_reader(test: impl AsyncFnOnce(BlockReader, Vec<TestSeries>)) {
    let mut series = some_series();
    let block = write(options(), &mut series);
    run(async { test(reader(&block).await, series).await });
}

#[test]
fn matchers_select_what_a_naive_scan_does() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let selectors = [
        vec![],
        vec![matcher(Equal, "__name__", "up")],
        vec![matcher(Equal, "__name__", "up"), matcher(Equal, "job", "api")],
        vec![matcher(Equal, "rare", "é")],
        vec![matcher(Regex, "rare", ".+")],
        vec![matcher(Equal, "rare", "")],
        vec![matcher(NotEqual, "rare", "é"), matcher(NotEqual, "job", "")],
        vec![matcher(NotRegex, "code", "5..")],
        vec![matcher(Regex, "code", "(200|)"), matcher(Regex, "__name__", "requests|load")],
        vec![matcher(Equal, "nothing", "x")],
        vec![matcher(NotEqual, "nothing", "x")],
        vec![matcher(Equal, "job", "nowhere")],
    ];
    with_reader(async |reader, series| {
        for matchers in selectors {
            let selection = reader.select(&matchers, TimeRange::ALL, 0).await.unwrap();
            let keep = |one: &&TestSeries| matchers.iter().all(|m| m.matches(one.labels.get(&m.name).unwrap_or("")));
            let expected: Vec<Labels> = series.iter().filter(keep).map(|one| one.labels.clone()).collect();
            assert_eq!(selection.labels(), expected, "{matchers:?}");
        }
    });
}

#[test]
fn a_range_selects_series_with_samples_in_it() {
    with_reader(async |reader, _| {
        assert_eq!(reader.select(&[], TimeRange::new(50, 200), 0).await.unwrap().len(), 30);
        assert_eq!(reader.select(&[], TimeRange::new(20, 20), 0).await.unwrap().len(), 5);
        assert!(reader.select(&[], TimeRange::new(101, 200), 0).await.unwrap().is_empty());
    });
}

#[test]
fn a_selection_of_too_many_series_is_an_error() {
    with_reader(async |reader, _| {
        let error = reader.select(&[], TimeRange::ALL, 34).await.err();
        assert!(matches!(error, Some(BlockError::TooManySeries(34))));
        assert_eq!(reader.select(&[], TimeRange::ALL, 35).await.unwrap().len(), 35);
    });
}

#[test]
fn hashes_are_those_of_the_series() {
    with_reader(async |reader, _| {
        let selection = reader.select(&[matcher(MatchOp::Equal, "job", "node")], TimeRange::ALL, 0).await.unwrap();
        assert_eq!(selection.len(), 2);
        for (at, labels) in selection.labels().iter().enumerate() {
            assert_eq!(selection.hash(at), series_hash(&TenantId::default(), labels.as_bytes()));
        }
    });
}

#[test]
fn a_filtered_selection_keeps_labels_and_samples_together() {
    with_reader(async |reader, series| {
        let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
        let filtered = selection.filter(|labels, _| labels.metric_name() == "up");
        assert_eq!(filtered.len(), 2);
        let mut batch = SeriesBatch::default();
        filtered.fetch(0..2, TimeRange::ALL, &mut batch).await.unwrap();
        let expected: Vec<_> = series.into_iter().filter(|one| one.labels.metric_name() == "up").collect();
        assert_samples(&expected, &batch, TimeRange::ALL);
    });
}

#[test]
fn label_names_of_all_and_of_matching_series_are_sorted() {
    with_reader(async |reader, _| {
        let names = reader.label_names(&[], TimeRange::ALL).await.unwrap();
        assert_eq!(names, ["__name__", "code", "i", "job", "rare"]);
        let load = [matcher(MatchOp::Equal, "__name__", "load")];
        assert_eq!(reader.label_names(&load, TimeRange::ALL).await.unwrap(), ["__name__", "job", "rare"]);
    });
}

#[test]
fn label_values_are_found_in_columns_and_in_the_map() {
    with_reader(async |reader, _| {
        assert_eq!(reader.label_values("code", &[], TimeRange::ALL).await.unwrap(), ["200", "500"]);
        assert_eq!(reader.label_values("rare", &[], TimeRange::ALL).await.unwrap(), ["é"]);
        assert_eq!(reader.label_values("job", &[], TimeRange::ALL).await.unwrap(), ["api", "node"]);
        let load = [matcher(MatchOp::Equal, "__name__", "load")];
        assert_eq!(reader.label_values("job", &load, TimeRange::ALL).await.unwrap(), ["node"]);
        assert!(reader.label_values("nothing", &[], TimeRange::ALL).await.unwrap().is_empty());
    });
}

#[test]
fn label_values_outside_of_the_range_are_not_found() {
    with_reader(async |reader, _| {
        assert!(reader.label_values("job", &[], TimeRange::new(50, 200)).await.unwrap().is_empty());
        assert_eq!(reader.label_values("__name__", &[], TimeRange::new(50, 200)).await.unwrap(), ["z"]);
    });
}
