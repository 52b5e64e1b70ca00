use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The series of a host that have this name.
fn named(number: u64, name: &str) -> Vec<Series> {
    host(number).into_iter().filter(|series| series.label("__name__") == name).collect()
}

#[test]
fn every_host_has_the_same_number_of_series() {
    let count = host(0).len();
    assert!((400..600).contains(&count), "{count} series");
    for number in [1, 255, 256, 70_000] {
        assert_eq!(host(number).len(), count, "host {number}");
    }
}

#[test]
fn no_two_series_have_the_same_labels() {
    let all: Vec<_> = (0..20).flat_map(host).collect();
    let distinct: BTreeSet<_> = all.iter().map(|series| &series.labels).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn labels_are_sorted_and_complete() {
    for series in host(3) {
        assert!(series.labels.is_sorted(), "{:?}", series.labels);
        for name in ["__name__", "cluster", "instance", "job", "zone"] {
            assert!(!series.label(name).is_empty(), "{name} is missing in {:?}", series.labels);
        }
    }
}

#[test]
fn an_instance_spells_the_number_of_its_host() {
    assert_eq!(host(0)[0].label("instance"), "10.0.0.0:9100");
    assert_eq!(host(258)[0].label("instance"), "10.0.1.2:9100");
    assert_eq!(host(65_536)[0].label("instance"), "10.1.0.0:9100");
}

#[test]
fn an_absent_label_is_empty() {
    assert_eq!(host(0)[0].label("nothing"), "");
}

#[test]
fn values_depend_on_series_and_step_alone() {
    for (one, other) in host(5).iter().zip(host(5)) {
        for step in [0, 1, 1000] {
            assert_eq!(one.value(step).to_bits(), other.value(step).to_bits());
        }
    }
}

#[test]
fn counters_never_decrease() {
    for series in host(9) {
        let name = series.label("__name__");
        if name.ends_with("_total") || name.ends_with("_bucket") || name.ends_with("_count") || name.ends_with("_sum") {
            let values: Vec<_> = (0..500).map(|step| series.value(step)).collect();
            assert!(values.is_sorted(), "{:?}", series.labels);
        }
    }
}

#[test]
fn busy_counters_increase() {
    for series in named(2, "http_requests_total") {
        assert!(series.value(100) > series.value(0), "{:?}", series.labels);
    }
}

#[test]
fn histogram_buckets_are_cumulative() {
    let mut handlers: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for bucket in named(4, "http_request_duration_seconds_bucket") {
        handlers.entry(bucket.label("handler").to_string()).or_default().push(bucket);
    }
    assert_eq!(handlers.len(), 8);
    let bound = |series: &Series| series.label("le").parse::<f64>().unwrap();
    for buckets in handlers.values_mut() {
        buckets.sort_by(|one, other| bound(one).total_cmp(&bound(other)));
        for step in 0..50 {
            assert!(buckets.iter().map(|bucket| bucket.value(step)).is_sorted(), "step {step}: {buckets:?}");
        }
    }
}

#[test]
fn the_count_of_a_histogram_is_its_last_bucket() {
    let buckets = named(4, "http_request_duration_seconds_bucket");
    for count in named(4, "http_request_duration_seconds_count") {
        let same = |bucket: &&Series| bucket.label("handler") == count.label("handler") && bucket.label("le") == "+Inf";
        let last = buckets.iter().find(same).unwrap();
        assert_eq!(last.value(17), count.value(17));
    }
}

#[test]
fn byte_gauges_are_whole_pages() {
    for step in 0..20 {
        let value = named(1, "container_memory_working_set_bytes")[0].value(step);
        assert_eq!(value % 4096.0, 0.0, "{value}");
        assert!(value > 0.0);
    }
}

#[test]
fn gauges_vary() {
    for name in ["node_load1", "node_memory_MemAvailable_bytes"] {
        let series = &named(1, name)[0];
        let distinct: BTreeSet<_> = (0..20).map(|step| series.value(step).to_bits()).collect();
        assert!(distinct.len() > 10, "{name} has {} values", distinct.len());
    }
}
