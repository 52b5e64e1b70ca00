use super::*;

fn digest(seed: u64) -> ShardDigest {
    let mut digest = ShardDigest::default();
    digest.add(seed, 1, 2);
    digest
}

fn digests(interval_ms: i64, entries: &[(u32, i64, u64)]) -> TimeDigests {
    let mut digests = TimeDigests::new(interval_ms);
    entries.iter().for_each(|(shard, interval, seed)| digests.set(*shard, *interval, digest(*seed)));
    digests
}

#[test]
fn intervals_with_equal_digests_match() {
    let ours = digests(100, &[(1, 0, 7), (1, 1, 8), (2, 0, 9)]);
    let theirs = digests(100, &[(1, 0, 7), (1, 1, 80), (3, 0, 9)]);
    let matching = ours.matching(&theirs);
    assert!(matching.contains(1, 0) && matching.contains(1, 99));
    assert!(!matching.contains(1, 100), "another digest");
    assert!(!matching.contains(2, 0), "no digest on the other side");
    assert!(!matching.contains(3, 0), "no digest on this side");
}

#[test]
fn negative_timestamps_belong_to_the_interval_below() {
    let matching = digests(100, &[(1, -1, 7)]).matching(&digests(100, &[(1, -1, 7)]));
    assert!(matching.contains(1, -1) && matching.contains(1, -100));
    assert!(!matching.contains(1, 0) && !matching.contains(1, -101));
}

#[test]
fn intervals_of_another_width_never_match() {
    let matching = digests(100, &[(1, 0, 7)]).matching(&digests(200, &[(1, 0, 7)]));
    assert!(!matching.contains(1, 0));
}

#[test]
fn no_digests_match_nothing() {
    assert!(!Intervals::default().contains(0, 0));
}

#[test]
fn an_interval_is_at_least_a_millisecond() {
    let matching = digests(0, &[(1, 5, 7)]).matching(&digests(1, &[(1, 5, 7)]));
    assert!(matching.contains(1, 5));
}

#[test]
fn digests_are_listed_by_shard_and_interval() {
    let listed: Vec<_> = digests(100, &[(2, 0, 1), (1, 5, 1), (1, -5, 1)]).iter().map(|(s, i, _)| (s, i)).collect();
    assert_eq!(listed, [(1, -5), (1, 5), (2, 0)]);
}
