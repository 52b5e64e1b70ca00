use futures::FutureExt;
use pharos_model::{Exemplar, MetricType};
use pharos_testkit::{FloatSeries, MemorySeries, MemorySource, budget, floats_of};

use super::*;

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)])
}

/// A source of one series that has a sample of the same value every ten milliseconds of a range.
fn source(range: TimeRange, value: f64) -> MemorySource {
    let times = (0..100).map(|i| i * 10).filter(|t| range.contains(*t));
    MemorySource::new(MemorySeries::new().floats(labels("m"), times.map(|t| (t, value))))
}

fn querier(head: &Arc<MemorySource>, store: &Arc<MemorySource>) -> TenantQuerier {
    let fanout = Fanout::new(vec![head.clone(), store.clone()]);
    // Without a cluster there is no view to prove.
    fanout.of_tenant(TenantId::default()).now_or_never().unwrap().unwrap()
}

fn read_all(querier: &TenantQuerier, range: TimeRange, budget: &Arc<Budget>) -> Result<Vec<FloatSeries>, SelectError> {
    let set = querier.select(&SelectRequest { matchers: Vec::new(), range, max_series: 0 }, budget)?;
    floats_of(&*set, range)
}

fn read(querier: &TenantQuerier, range: TimeRange) -> Vec<(i64, f64)> {
    read_all(querier, range, &budget()).unwrap().remove(0).1
}

/// A head that is complete from 500 on and a store that has everything before 700.
fn overlapping() -> (Arc<MemorySource>, Arc<MemorySource>) {
    let head = source(TimeRange::new(200, 990), 1.0).complete_from(500);
    let store = source(TimeRange::new(0, 700), 2.0);
    (Arc::new(head), Arc::new(store))
}

/// A head that has everything, and a store that is unavailable.
fn complete_head() -> (Arc<MemorySource>, Arc<MemorySource>) {
    let head = Arc::new(source(TimeRange::new(0, 990), 1.0).complete_from(i64::MIN));
    let store = Arc::new(source(TimeRange::new(0, 990), 2.0));
    store.fail(Some(SelectError::Storage("bucket unavailable".into())));
    (head, store)
}

#[test]
fn the_store_is_read_only_for_the_time_before_the_head_is_complete() {
    let (head, store) = overlapping();
    read(&querier(&head, &store), TimeRange::new(100, 900));
    assert_eq!(head.asked(), [TimeRange::new(100, 900)]);
    assert_eq!(store.asked(), [TimeRange::new(100, 499)]);
}

#[test]
fn the_head_has_the_higher_authority_and_nothing_is_missed_at_the_seam() {
    let (head, store) = overlapping();
    let samples = read(&querier(&head, &store), TimeRange::new(100, 900));
    let expected: Vec<(i64, f64)> = (10..=90).map(|i| (i * 10, if i < 20 { 2.0 } else { 1.0 })).collect();
    assert_eq!(samples, expected);
}

#[test]
fn time_before_the_head_is_read_from_both() {
    let (head, store) = overlapping();
    let querier = querier(&head, &store);
    assert_eq!(read(&querier, TimeRange::new(0, 400)).len(), 41);
    assert_eq!(store.asked(), [TimeRange::new(0, 400)]);
}

#[test]
fn an_endless_range_is_read_from_the_store_up_to_where_the_head_is_complete() {
    let (head, store) = overlapping();
    querier(&head, &store).label_names(&[], TimeRange::ALL).unwrap();
    assert_eq!(store.asked(), [TimeRange::new(i64::MIN, 499)]);
}

#[test]
fn a_source_that_is_not_needed_may_be_unavailable() {
    let (head, store) = complete_head();
    let querier = querier(&head, &store);
    let range = TimeRange::new(0, 900);
    assert_eq!(read(&querier, range).len(), 91);
    assert_eq!(querier.series(&[Vec::new()], range, 0).unwrap(), [labels("m")]);
    assert_eq!(querier.label_names(&[], TimeRange::ALL).unwrap(), ["__name__"]);
    assert_eq!(querier.label_values("__name__", &[], range).unwrap(), ["m"]);
    assert!(store.asked().is_empty());
}

#[test]
fn exemplars_need_every_source() {
    let (head, store) = complete_head();
    assert!(querier(&head, &store).exemplars(&[Vec::new()], TimeRange::new(0, 900)).is_err());
}

#[test]
fn a_query_without_a_deadline_needs_every_source() {
    let (head, store) = complete_head();
    let unlimited = Arc::new(Budget::unlimited());
    assert!(read_all(&querier(&head, &store), TimeRange::new(0, 900), &unlimited).is_err());
}

#[test]
fn an_unavailable_source_that_is_needed_fails_the_read() {
    let (head, store) = overlapping();
    head.fail(Some(SelectError::Storage("head unavailable".into())));
    let error = read_all(&querier(&head, &store), TimeRange::new(0, 900), &budget()).unwrap_err();
    assert!(error.to_string().contains("head unavailable"), "{error}");
}

#[test]
fn series_and_names_of_all_sources_are_merged() {
    let range = TimeRange::new(0, 9);
    let head = MemorySource::new(MemorySeries::new().floats(labels("b"), [(1, 1.0)]).floats(labels("c"), [(1, 1.0)]));
    let store = MemorySource::new(MemorySeries::new().floats(labels("a"), [(1, 1.0)]).floats(labels("b"), [(1, 1.0)]));
    let querier = querier(&Arc::new(head), &Arc::new(store));
    let all = [Vec::new()];
    assert_eq!(querier.series(&all, range, 0).unwrap(), [labels("a"), labels("b"), labels("c")]);
    assert_eq!(querier.series(&all, range, 2).unwrap(), [labels("a"), labels("b")]);
    assert_eq!(querier.label_values("__name__", &[], range).unwrap(), ["a", "b", "c"]);
}

#[test]
fn several_selectors_are_united() {
    let series = MemorySeries::new().floats(labels("a"), [(1, 1.0)]).floats(labels("b"), [(1, 1.0)]);
    let querier = querier(&Arc::new(MemorySource::new(series)), &Arc::new(MemorySource::new(MemorySeries::new())));
    let selectors = ["a", "b", "a"].map(|name| vec![Matcher::equal("__name__", name)]);
    let found = querier.series(&selectors, TimeRange::new(0, 9), 0).unwrap();
    assert_eq!(found, [labels("a"), labels("b")]);
}

#[test]
fn more_series_than_the_request_allows_are_an_error() {
    let series = MemorySeries::new().floats(labels("a"), [(1, 1.0)]).floats(labels("b"), [(1, 1.0)]);
    let querier = querier(&Arc::new(MemorySource::new(series)), &Arc::new(MemorySource::new(MemorySeries::new())));
    let request = SelectRequest { matchers: Vec::new(), range: TimeRange::new(0, 9), max_series: 1 };
    assert!(matches!(querier.select(&request, &budget()).err(), Some(SelectError::Series { limit: 1 })));
}

#[test]
fn a_spent_budget_ends_a_read_of_names() {
    let (head, store) = overlapping();
    let spent = budget();
    spent.cancel();
    let error = querier(&head, &store).within(spent).label_names(&[], TimeRange::ALL).unwrap_err();
    assert!(matches!(error, SelectError::Cancelled), "{error}");
}

#[test]
fn exemplars_of_one_series_are_joined_in_the_order_of_time() {
    let exemplar = |t| Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: 1.0, t };
    let source = |times: &[i64]| {
        let exemplars = times.iter().map(|t| exemplar(*t)).collect();
        let series = SeriesExemplars { labels: labels("m"), exemplars };
        Arc::new(MemorySource::new(MemorySeries::new()).with_exemplars([series]))
    };
    let found = querier(&source(&[5, 9]), &source(&[1, 5])).exemplars(&[Vec::new()], TimeRange::ALL).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].exemplars, [exemplar(1), exemplar(5), exemplar(9)]);
}

#[test]
fn equal_descriptions_of_a_family_are_one() {
    let metadata = |help: &str| Metadata { kind: MetricType::Counter, unit: String::new(), help: help.into() };
    let source = |help: &[&str]| {
        let empty = MemorySource::new(MemorySeries::new());
        Arc::new(help.iter().fold(empty, |source, help| source.with_metadata("m", metadata(help))))
    };
    let found = querier(&source(&["b"]), &source(&["a", "b"])).metadata().unwrap();
    assert_eq!(found, [("m".to_string(), metadata("a")), ("m".to_string(), metadata("b"))]);
}

#[test]
fn local_reads_have_no_warnings() {
    let (head, store) = overlapping();
    let querier = querier(&head, &store).partial(true);
    read(&querier, TimeRange::new(0, 900));
    assert!(querier.warnings().is_empty());
}
