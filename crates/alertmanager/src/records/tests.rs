use proptest::prelude::*;

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn silence(id: &str, pattern: &str) -> Silence {
    Silence {
        id: id.to_string(),
        matcher_sets: vec![vec![
            Matcher::new(MatchOp::Equal, "alertname", "Down").unwrap(),
            Matcher::new(MatchOp::NotRegex, "instance", pattern).unwrap(),
        ]],
        starts_at: time(100),
        ends_at: time(200),
        updated_at: time(150),
        created_by: "ops".into(),
        comment: "planned work".into(),
        annotations: BTreeMap::from([("ticket".to_string(), "42".to_string())]),
        expires_at: time(300),
    }
}

fn entry(firing: Vec<u64>, data: BTreeMap<String, String>) -> Entry {
    let integration = IntegrationKey { receiver: "team".into(), name: "webhook".into(), index: 3 };
    Entry {
        group_key: "{}:{a=\"b\"}".into(),
        integration,
        timestamp: time(7),
        firing,
        resolved: vec![1, u64::MAX],
        data,
        expires_at: time(8),
    }
}

proptest! {
    #[test]
    fn silences_are_read_as_they_were_written(id in "[a-f0-9-]{1,36}", pattern in "[a-z.*|]{0,12}") {
        prop_assume!(Matcher::new(MatchOp::NotRegex, "instance", &pattern).is_ok());
        let (one, two) = (silence(&id, &pattern), silence("other", "x"));
        let bytes = [one.encode(), two.encode()].concat();
        prop_assert_eq!(decode_all::<Silence>(&bytes), (vec![one, two], bytes.len()));
    }

    #[test]
    fn entries_are_read_as_they_were_written(
        firing in prop::collection::vec(any::<u64>(), 0..20),
        data in prop::collection::btree_map("[a-z]{1,5}", any::<String>(), 0..4),
    ) {
        let entry = entry(firing, data);
        let bytes = entry.encode();
        prop_assert_eq!(decode_all::<Entry>(&bytes), (vec![entry], bytes.len()));
    }

    #[test]
    fn no_bytes_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_all::<Silence>(&bytes).1 <= bytes.len());
        prop_assert!(decode_all::<Entry>(&bytes).1 <= bytes.len());
    }
}

#[test]
fn a_torn_record_ends_what_is_read() {
    let whole = entry(vec![5], BTreeMap::new()).encode();
    let bytes = [whole.as_slice(), &whole[..whole.len() - 1]].concat();
    let (records, used) = decode_all::<Entry>(&bytes);
    assert_eq!((records.len(), used), (1, whole.len()));
}

#[test]
fn a_record_that_is_not_valid_does_not_hide_those_behind_it() {
    let mut bad = silence("bad", "x");
    bad.matcher_sets[0][1] = Matcher::new(MatchOp::Equal, "instance", "(").unwrap();
    let mut record = StoredSilence::from(&bad);
    record.silence.as_mut().unwrap().matcher_sets[0].matchers[1].kind = 1;
    let good = silence("good", "y");
    let bytes = [record.encode_length_delimited_to_vec(), good.encode()].concat();
    assert_eq!(decode_all::<Silence>(&bytes), (vec![good], bytes.len()));
}

#[test]
fn a_silence_of_an_old_alertmanager_has_one_set_and_its_first_comment() {
    let mut record = StoredSilence::from(&silence("old", "x"));
    let inner = record.silence.as_mut().unwrap();
    inner.matchers = inner.matcher_sets.remove(0).matchers;
    inner.comments = vec![CommentRecord { author: "me".into(), comment: "why".into() }];
    let (records, _) = decode_all::<Silence>(&record.encode_length_delimited_to_vec());
    assert_eq!((records[0].created_by.as_str(), records[0].comment.as_str()), ("me", "why"));
    assert_eq!(records[0].matcher_sets, silence("old", "x").matcher_sets);
}
