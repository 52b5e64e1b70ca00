use super::*;

fn row(hash: u64) -> SeriesRow {
    SeriesRow { hash, rows: 1, histograms: 0, exemplars: 0, first_t: 0, last_t: 0 }
}

fn table(series: &[&[(&str, &str)]]) -> SeriesTable {
    let mut table = SeriesTable::default();
    for (hash, pairs) in (0u64..).zip(series) {
        table.push(&Labels::from_pairs(pairs.iter().copied()), None, row(hash));
    }
    table
}

fn promoted(table: &SeriesTable) -> Vec<String> {
    let name = |code: u32| String::from_utf8_lossy(table.names.texts[code as usize].data()).into_owned();
    table.promoted().into_iter().map(name).collect()
}

#[test]
fn the_metric_name_and_common_labels_become_columns() {
    let mut series: Vec<Vec<(&str, &str)>> = vec![vec![("__name__", "m"), ("job", "a")]; 20];
    series[0].push(("rare", "x"));
    series.iter_mut().step_by(3).for_each(|pairs| pairs.push(("zone", "b")));
    let table = table(&series.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(promoted(&table), ["__name__", "job", "zone"]);
}

#[test]
fn the_metric_name_comes_first_however_rare_it_is() {
    let mut series: Vec<Vec<(&str, &str)>> = vec![vec![("job", "a")]; 20];
    series[0].push(("__name__", "m"));
    let table = table(&series.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(promoted(&table), ["__name__", "job"]);
}

#[test]
fn no_more_labels_become_columns_than_the_limit() {
    let names: Vec<String> = (10..60).map(|i| format!("l{i}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(promoted(&table(&[&pairs])).len(), MAX_PROMOTED);
}

#[test]
fn labels_that_clash_with_columns_do_not_become_columns() {
    assert_eq!(promoted(&table(&[&[("HASH", "x"), ("hash", "y"), ("job", "a")]])), ["job"]);
}

#[test]
fn labels_that_differ_in_case_only_do_not_both_become_columns() {
    assert_eq!(promoted(&table(&[&[("Job", "a"), ("job", "b")]])).len(), 1);
}

#[test]
fn the_filter_holds_every_label_pair() {
    let filter = table(&[&[("job", "a")], &[("job", "b"), ("zone", "c")]]).filter();
    for (name, value) in [("job", "a"), ("job", "b"), ("zone", "c")] {
        assert!(filter.may_contain(name, value));
    }
    assert!(!filter.may_contain("zone", "a"));
}

#[test]
fn shards_are_distinct_and_ascend() {
    let shards = table(&[&[("a", "1")], &[("a", "2")], &[("a", "3")]]).shards(2);
    assert!(!shards.is_empty());
    assert!(shards.is_sorted_by(|a, b| a < b));
}

#[test]
fn equal_metadata_of_neighbours_is_kept_once() {
    let mut table = SeriesTable::default();
    let metadata = Metadata { help: "help".into(), ..Metadata::default() };
    for i in 0..3 {
        table.push(&Labels::from_pairs([("i", i.to_string())]), Some(&metadata), row(i));
    }
    table.push(&Labels::from_pairs([("i", "3")]), None, row(3));
    assert_eq!(table.metadata.len(), 1);
    assert_eq!(table.metadata_of, [0, 0, 0, u32::MAX]);
}
