use super::*;

/// Runs a scrape of these lines; returns the series that were marked stale.
fn scrape(cache: &mut SeriesCache, lines: &[&str]) -> Vec<String> {
    cache.begin();
    for line in lines {
        let id = cache.find(line.as_bytes()).unwrap_or_else(|| {
            // What follows `#` is another way to write the same series.
            let series = line.split('#').next().unwrap().as_bytes();
            cache.insert(line.as_bytes(), series, xxh3_64(series))
        });
        cache.see(id);
        cache.track(id, false);
    }
    let mut stale = Vec::new();
    cache.commit(|canonical, _, _| stale.push(String::from_utf8(canonical.to_vec()).unwrap()));
    stale.sort();
    stale
}

fn fail(cache: &mut SeriesCache, lines: &[&str]) -> Vec<String> {
    cache.begin();
    for line in lines {
        let id = cache.find(line.as_bytes()).unwrap_or_else(|| cache.insert(line.as_bytes(), line.as_bytes(), 7));
        cache.see(id);
        cache.track(id, false);
    }
    let mut stale = Vec::new();
    cache.fail(|canonical, _, _| stale.push(String::from_utf8(canonical.to_vec()).unwrap()));
    stale.sort();
    stale
}

#[test]
fn a_series_that_vanishes_is_stale_once() {
    let mut cache = SeriesCache::default();
    assert!(scrape(&mut cache, &["a", "b", "c"]).is_empty());
    assert_eq!(scrape(&mut cache, &["a", "c"]), ["b"]);
    assert!(scrape(&mut cache, &["a", "c"]).is_empty());
    assert_eq!(cache.len(), 2);
    assert!(scrape(&mut cache, &["b", "a", "c"]).is_empty());
    assert_eq!(scrape(&mut cache, &[]), ["a", "b", "c"]);
}

#[test]
fn another_spelling_of_a_series_is_the_same_series() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["a#1", "b"]);
    assert!(scrape(&mut cache, &["a#2", "b"]).is_empty());
    assert_eq!(cache.len(), 2);
}

#[test]
fn a_failed_scrape_marks_all_series_of_the_last_good_one() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["a", "b"]);
    assert_eq!(fail(&mut cache, &["a", "new"]), ["a", "b"]);
    assert_eq!(cache.len(), 2, "lines of a failed scrape are not kept");
    assert!(fail(&mut cache, &["a"]).is_empty());
    assert!(scrape(&mut cache, &["a"]).is_empty());
    assert_eq!(scrape(&mut cache, &[]), ["a"]);
}

#[test]
fn the_expected_line_follows_the_order_and_finds_back() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["a", "b", "c", "d"]);
    cache.begin();
    assert_eq!(cache.expected(), b"a");
    cache.see(cache.find(b"a").unwrap());
    assert_eq!(cache.expected(), b"b");
    // `b` is missing: after `c`, `d` is expected.
    cache.see(cache.find(b"c").unwrap());
    assert_eq!(cache.expected(), b"d");
    assert!(cache.see(cache.find(b"c").unwrap()), "seen twice");
    cache.see(cache.find(b"d").unwrap());
    assert_eq!(cache.expected(), b"");
}

#[test]
fn series_of_a_predecessor_are_stale_unless_they_are_there() {
    let mut old = SeriesCache::default();
    scrape(&mut old, &["a", "b"]);
    let mut new = SeriesCache::default();
    new.inherit(old.tracked_series());
    assert_eq!(scrape(&mut new, &["b", "c"]), ["a"]);
    assert!(scrape(&mut new, &["b", "c"]).is_empty());
}
