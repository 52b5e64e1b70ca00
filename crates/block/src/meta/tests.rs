use pharos_model::{MatchOp, Matcher};

use super::*;
use crate::filter::fingerprint;

fn meta() -> BlockMeta {
    BlockMeta {
        version: 1,
        id: Ulid(42),
        tenant: TenantId::new("team-a").unwrap(),
        window_start: 0,
        window_end: 7_200_000,
        min_t: 5,
        max_t: 7_000_000,
        shards: vec![1, 3],
        shards_total: 4,
        sequence: 7,
        deletions_seen: 0,
        resolution: 0,
        sources: vec![Ulid(1), Ulid(2)],
        series: 2,
        samples: 100,
        histograms: 3,
        exemplars: 1,
        files: BTreeMap::from([(DATA.to_string(), FileMeta { bytes: 900, tail: 100, crc: Some(9) })]),
        filter: LabelFilter::build([fingerprint("job", "node")].into_iter()),
    }
}

fn changed(from: &str, to: &str) -> Result<BlockMeta, BlockError> {
    let text = String::from_utf8(meta().to_bytes()).unwrap();
    assert!(text.contains(from), "{text}");
    BlockMeta::from_bytes(text.replacen(from, to, 1).as_bytes())
}

#[test]
fn metadata_round_trips() {
    assert_eq!(BlockMeta::from_bytes(&meta().to_bytes()).unwrap(), meta());
}

#[test]
fn the_encoding_is_stable() {
    let text = String::from_utf8(meta().to_bytes()).unwrap();
    assert_eq!(
        text,
        r#"{"version":1,"id":"0000000000000000000000001A","tenant":"team-a","window_start":0,"window_end":7200000,"min_t":5,"max_t":7000000,"shards":[1,3],"shards_total":4,"sequence":7,"resolution":0,"sources":["00000000000000000000000001","00000000000000000000000002"],"series":2,"samples":100,"histograms":3,"exemplars":1,"files":{"data.parquet":{"bytes":900,"tail":100,"crc":9}},"filter":"#
            .to_string()
            + &format!("{:?}}}", BASE64.encode(meta().filter.as_bytes()))
    );
}

#[test]
fn files_sources_and_checksums_may_be_absent() {
    let text = String::from_utf8(meta().to_bytes()).unwrap();
    let without = text
        .replace(r#""sources":["00000000000000000000000001","00000000000000000000000002"],"#, "")
        .replace(r#""files":{"data.parquet":{"bytes":900,"tail":100,"crc":9}},"#, "");
    let read = BlockMeta::from_bytes(without.as_bytes()).unwrap();
    assert!(read.sources.is_empty() && read.files.is_empty());
    let older = changed(r#""bytes":900,"tail":100,"crc":9"#, r#""bytes":900"#).unwrap();
    assert_eq!(older.files[DATA], FileMeta { bytes: 900, tail: 0, crc: None });
}

#[test]
fn seen_deletions_are_written_only_if_there_were_any() {
    let seen = BlockMeta { deletions_seen: 9, ..meta() };
    assert_eq!(BlockMeta::from_bytes(&seen.to_bytes()).unwrap(), seen);
    assert!(String::from_utf8(seen.to_bytes()).unwrap().contains(r#""sequence":7,"deletions_seen":9,"#));
    assert!(!String::from_utf8(meta().to_bytes()).unwrap().contains("deletions_seen"));
}

#[test]
fn a_newer_version_is_refused() {
    let error = changed("\"version\":1", "\"version\":3").unwrap_err().to_string();
    assert!(error.contains("layout version 3 is unknown"), "{error}");
    assert!(changed("\"version\":1", "\"version\":0").is_err());
}

#[test]
fn an_empty_window_is_refused() {
    let error = changed("\"window_end\":7200000", "\"window_end\":0").unwrap_err().to_string();
    assert!(error.contains("window is empty"), "{error}");
}

#[test]
fn a_shard_out_of_range_is_refused() {
    let error = changed("\"shards_total\":4", "\"shards_total\":3").unwrap_err().to_string();
    assert!(error.contains("shard beyond the 3"), "{error}");
}

#[test]
fn names_that_are_not_valid_are_refused() {
    assert!(changed("\"tenant\":\"team-a\"", "\"tenant\":\"../x\"").is_err());
    assert!(changed("\"id\":\"0000000000000000000000001A\"", "\"id\":\"short\"").is_err());
    assert!(changed("\"sources\":[\"00000000000000000000000001\"", "\"sources\":[\"?\"").is_err());
}

#[test]
fn a_filter_that_is_not_base64_or_too_large_is_refused() {
    assert!(changed("\"filter\":\"", "\"filter\":\"?").is_err());
    let large = BASE64.encode(vec![0; crate::filter::MAX_FILTER_BYTES + 1]);
    let error = changed("\"filter\":\"", &format!("\"filter\":\"{large}")).unwrap_err().to_string();
    assert!(error.contains("base64") || error.contains("size limit") || error.contains("Invalid"), "{error}");
}

#[test]
fn unknown_fields_are_refused() {
    assert!(changed("{\"version\"", "{\"colour\":\"blue\",\"version\"").is_err());
}

#[test]
fn metadata_over_the_size_limit_is_refused() {
    let error = BlockMeta::from_bytes(&vec![b' '; MAX_META_BYTES + 1]).unwrap_err().to_string();
    assert!(error.contains("exceed the limit"), "{error}");
}

#[test]
fn text_that_is_not_json_is_refused() {
    assert!(BlockMeta::from_bytes(b"").is_err());
    assert!(BlockMeta::from_bytes(b"[1]").is_err());
}

/// Metadata of a block of a tenant, as this version writes it.
fn new_meta(tenant: &str) -> BlockMeta {
    let tenant = TenantId::new(tenant).unwrap();
    BlockMeta { version: BlockMeta::version_for(&tenant, true), tenant, ..meta() }
}

#[test]
fn the_folder_is_below_the_tenant() {
    assert_eq!(meta().folder().as_ref(), "team-a/blocks/0000000000000000000000001A");
}

#[test]
fn a_block_is_in_the_escaped_folder_of_its_tenant() {
    for (tenant, folder) in
        [("a*b", "a@5b"), ("Team", "@team"), ("pharos-owner.json", "pharos-owner@0json"), ("con", "@@mnxw4")]
    {
        assert_eq!(new_meta(tenant).folder().as_ref(), format!("{folder}/blocks/0000000000000000000000001A"));
    }
}

#[test]
fn a_block_of_an_earlier_version_is_where_that_version_put_it() {
    for (tenant, folder) in
        [("a*b", "a%2Ab"), ("Team", "Team"), ("pharos-owner.json", "pharos-owner.json"), ("con", "con")]
    {
        let block = BlockMeta { version: 1, ..new_meta(tenant) };
        assert_eq!(block.folder().as_ref(), format!("{folder}/blocks/0000000000000000000000001A"));
        assert_eq!(BlockMeta::from_bytes(&block.to_bytes()).unwrap().folder(), block.folder());
    }
}

#[test]
fn a_folder_that_needs_no_escapes_stays_readable_for_earlier_versions() {
    assert_eq!(new_meta("team-a").version, 1);
    assert_eq!(new_meta("Team").version, 2);
    assert_eq!(BlockMeta::version_for(&TenantId::new("Team").unwrap(), false), 1, "while older programs read it");
}

#[test]
fn the_size_of_a_block_is_that_of_its_files() {
    assert_eq!(meta().bytes(), 900);
    assert_eq!(BlockMeta { files: BTreeMap::new(), ..meta() }.bytes(), 0);
}

#[test]
fn a_block_matches_by_time_and_labels() {
    let job = |value| [Matcher::equal("job", value)];
    assert!(meta().may_match(&job("node"), TimeRange::ALL));
    assert!(meta().may_match(&job("node"), TimeRange::new(0, 5)));
    assert!(!meta().may_match(&job("node"), TimeRange::new(0, 4)));
    assert!(!meta().may_match(&job("node"), TimeRange::new(7_000_001, i64::MAX)));
    assert!(!meta().may_match(&job("api"), TimeRange::ALL));
    assert!(meta().may_match(&[Matcher::new(MatchOp::NotEqual, "job", "node").unwrap()], TimeRange::ALL));
}

#[test]
fn a_block_without_samples_matches_no_time() {
    let empty = BlockMeta { min_t: i64::MAX, max_t: i64::MIN, ..meta() };
    assert!(!empty.may_match(&[], TimeRange::ALL));
}
