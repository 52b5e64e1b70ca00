use super::*;

/// Runs a good scrape of these lines; returns the series that get stale markers, sorted.
fn scrape(cache: &mut SeriesCache, lines: &[&str]) -> Vec<String> {
    cache.begin();
    for line in lines {
        let id = cache.find(line.as_bytes()).unwrap_or_else(|| {
            // Lines that only differ after `#` are spellings of one series.
            let series = line.split('#').next().unwrap().as_bytes();
            cache.insert(line.as_bytes(), series, xxh3_64(series))
        });
        cache.mark_seen(id);
        cache.track(id, false);
    }
    let mut stale = Vec::new();
    cache.commit(|canonical, _, _| stale.push(String::from_utf8(canonical.to_vec()).unwrap()));
    stale.sort();
    stale
}

/// Runs a failed scrape of these lines; returns the series that get stale markers, sorted.
fn fail(cache: &mut SeriesCache, lines: &[&str]) -> Vec<String> {
    cache.begin();
    for line in lines {
        let id = cache.find(line.as_bytes()).unwrap_or_else(|| cache.insert(line.as_bytes(), line.as_bytes(), 7));
        cache.mark_seen(id);
        cache.track(id, false);
    }
    let mut stale = Vec::new();
    cache.fail(|canonical, _, _| stale.push(String::from_utf8(canonical.to_vec()).unwrap()));
    stale.sort();
    stale
}

#[test]
fn a_series_that_vanishes_gets_one_stale_marker() {
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
    assert_eq!(cache.len(), 3, "lines of a failed scrape are kept until the next good one");
    assert!(fail(&mut cache, &["a"]).is_empty());
    assert!(scrape(&mut cache, &["a"]).is_empty());
    assert_eq!(cache.len(), 1);
    assert_eq!(scrape(&mut cache, &[]), ["a"]);
}

#[test]
fn many_lines_of_failed_scrapes_are_not_kept() {
    let mut cache = SeriesCache::default();
    for round in 0..10 {
        let keys: Vec<String> = (0..500).map(|n| format!("m{round}_{n}")).collect();
        fail(&mut cache, &keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(cache.len() <= MAX_UNCONFIRMED, "{}", cache.len());
    }
}

#[test]
fn the_expected_line_follows_the_order_of_the_last_scrape() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["a", "b", "c", "d"]);
    cache.begin();
    assert_eq!(cache.expected(), b"a");
    cache.mark_seen(cache.find(b"a").unwrap());
    assert_eq!(cache.expected(), b"b");
    // `b` is missing: `d` follows `c`.
    cache.mark_seen(cache.find(b"c").unwrap());
    assert_eq!(cache.expected(), b"d");
    assert!(cache.mark_seen(cache.find(b"c").unwrap()), "seen twice");
    cache.mark_seen(cache.find(b"d").unwrap());
    assert_eq!(cache.expected(), b"");
}

#[test]
fn series_of_a_predecessor_get_stale_markers_unless_they_are_scraped() {
    let mut old = SeriesCache::default();
    scrape(&mut old, &["a", "b"]);
    let mut new = SeriesCache::default();
    new.inherit(old.tracked_series());
    assert_eq!(scrape(&mut new, &["b", "c"]), ["a"]);
    assert!(scrape(&mut new, &["b", "c"]).is_empty());
}

#[test]
fn a_failed_scrape_marks_the_series_of_a_predecessor_too() {
    let mut old = SeriesCache::default();
    scrape(&mut old, &["a"]);
    let mut new = SeriesCache::default();
    new.inherit(old.tracked_series());
    assert_eq!(fail(&mut new, &[]), ["a"]);
    assert!(fail(&mut new, &[]).is_empty(), "once is enough");
}

#[test]
fn an_inherited_series_is_known_until_a_scrape_ends() {
    let mut old = SeriesCache::default();
    scrape(&mut old, &["a"]);
    let mut new = SeriesCache::default();
    new.inherit(old.tracked_series());
    assert!(new.inherits(xxh3_64(b"a")));
    assert!(!new.inherits(xxh3_64(b"b")));
    scrape(&mut new, &["a"]);
    assert!(!new.inherits(xxh3_64(b"a")));
}

#[test]
fn inherited_series_are_passed_on_to_the_next_successor() {
    let mut old = SeriesCache::default();
    scrape(&mut old, &["a"]);
    let mut new = SeriesCache::default();
    new.inherit(old.tracked_series());
    assert_eq!(new.tracked_series(), old.tracked_series());
}

#[test]
fn a_cache_is_new_until_its_first_scrape() {
    let mut cache = SeriesCache::default();
    assert!(cache.is_new());
    scrape(&mut cache, &[]);
    assert!(!cache.is_new());
}

#[test]
fn a_series_that_is_not_tracked_gets_no_stale_marker() {
    let mut cache = SeriesCache::default();
    cache.begin();
    let id = cache.insert(b"a", b"a", 1);
    cache.mark_seen(id);
    cache.commit(|_, _, _| panic!("nothing vanished"));
    assert!(scrape(&mut cache, &[]).is_empty());
}

#[test]
fn removed_lines_make_room_for_new_ones() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["a", "b"]);
    scrape(&mut cache, &["a"]);
    scrape(&mut cache, &["a", "c"]);
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.entries.len(), 2, "the entry of `b` is reused");
}

#[test]
fn a_dropped_series_has_no_labels() {
    let mut cache = SeriesCache::default();
    cache.begin();
    let dropped = cache.insert(b"a", b"", 0);
    let kept = cache.insert(b"b", b"b", 1);
    assert!(cache.get(dropped).unwrap().is_dropped());
    assert!(!cache.get(kept).unwrap().is_dropped());
}
