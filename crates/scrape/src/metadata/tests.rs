use pharos_model::MetricType;

use super::*;

/// Runs a scrape in which each family has this help text; returns the families that are to be sent.
fn scrape(store: &mut MetadataStore, help: &str, families: &[&str]) -> Vec<String> {
    store.begin();
    for family in families {
        store.set(family, MetadataField::Kind(MetricType::Counter));
        store.set(family, MetadataField::Help(help));
    }
    let mut out = Vec::new();
    store.commit(&mut out);
    let mut names: Vec<String> = out.into_iter().map(|(family, _)| family).collect();
    names.sort();
    names
}

#[test]
fn new_metadata_is_sent_once() {
    let mut store = MetadataStore::default();
    assert_eq!(scrape(&mut store, "x", &["a", "b"]), ["a", "b"]);
    assert!(scrape(&mut store, "x", &["a", "b"]).is_empty());
}

#[test]
fn changed_metadata_is_sent_again() {
    let mut store = MetadataStore::default();
    scrape(&mut store, "x", &["a", "b"]);
    assert_eq!(scrape(&mut store, "y", &["a"]), ["a"]);
    assert_eq!(store.list()["a"].help, "y");
}

#[test]
fn a_family_that_vanished_is_kept_for_ten_scrapes() {
    let mut store = MetadataStore::default();
    scrape(&mut store, "x", &["a", "b"]);
    for _ in 0..RETAINED_SCRAPES {
        scrape(&mut store, "x", &["a"]);
        assert!(store.list().contains_key("b"));
    }
    scrape(&mut store, "x", &["a"]);
    assert_eq!(store.list().into_keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn lost_metadata_is_sent_again() {
    let mut store = MetadataStore::default();
    scrape(&mut store, "x", &["a", "b"]);
    store.resend();
    assert_eq!(scrape(&mut store, "x", &["a"]), ["a", "b"], "families of earlier scrapes too");
}

#[test]
fn a_family_has_all_its_fields() {
    let mut store = MetadataStore::default();
    store.begin();
    store.set("a_seconds", MetadataField::Kind(MetricType::Gauge));
    store.set("a_seconds", MetadataField::Unit("seconds"));
    store.set("a_seconds", MetadataField::Help("text"));
    let metadata = &store.list()["a_seconds"];
    assert_eq!(metadata.kind, MetricType::Gauge);
    assert_eq!(metadata.unit, "seconds");
    assert_eq!(metadata.help, "text");
}
