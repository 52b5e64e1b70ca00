use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn draft(matchers: &str, starts: i64, ends: i64) -> Silence {
    Silence {
        id: String::new(),
        matcher_sets: vec![Syntax::Both.matchers(matchers, "test").unwrap()],
        starts_at: time(starts),
        ends_at: time(ends),
        updated_at: time(0),
        created_by: "ops".into(),
        comment: String::new(),
        annotations: BTreeMap::new(),
        expires_at: time(0),
    }
}

fn silences() -> Silences {
    Silences::new(HOUR, SilenceLimits::default(), Syntax::Both)
}

/// Sets a draft and returns the id of what results.
fn set(silences: &mut Silences, draft: Silence, now: i64, new_id: &str) -> Result<String, SilenceError> {
    let changed = silences.set(draft, time(now), || Ok(new_id.to_string()))?;
    Ok(changed.last().unwrap().id.clone())
}

fn muting(silences: &Silences, labels: &[(&str, &str)], memory: &mut SilenceMemory, now: i64) -> Vec<String> {
    let ids = silences.muting(labels.iter().copied(), memory, time(now));
    ids.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_silence_does_not_start_in_the_past() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 5, 200), 100, "one").unwrap();
    let silence = silences.get("one").unwrap();
    assert_eq!((silence.starts_at, silence.updated_at, silence.expires_at), (time(100), time(100), time(3800)));
}

#[test]
fn the_end_of_an_active_silence_can_be_moved() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 0, 200), 100, "one").unwrap();
    let longer = Silence { id: "one".into(), ..draft("a=b", 100, 300) };
    assert_eq!(set(&mut silences, longer, 150, "two"), Ok("one".into()));
    assert_eq!((silences.len(), silences.get("one").unwrap().ends_at), (1, time(300)));
}

#[test]
fn a_change_of_the_past_makes_another_silence() {
    for change in [draft("a=c", 100, 200), draft("a=b", 120, 200)] {
        let mut silences = silences();
        set(&mut silences, draft("a=b", 0, 200), 100, "one").unwrap();
        let change = Silence { id: "one".into(), ..change };
        assert_eq!(set(&mut silences, change, 150, "two"), Ok("two".into()));
        assert_eq!(silences.get("one").unwrap().ends_at, time(150));
        assert_eq!(silences.get("two").unwrap().starts_at, time(150));
    }
}

#[test]
fn a_pending_silence_can_be_moved_in_the_future() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 200, 300), 100, "one").unwrap();
    let later = Silence { id: "one".into(), ..draft("a=b", 250, 300) };
    assert_eq!(set(&mut silences, later, 150, "two"), Ok("one".into()));
    let now = Silence { id: "one".into(), ..draft("a=b", 100, 300) };
    assert_eq!(set(&mut silences, now, 150, "two"), Ok("two".into()));
}

#[test]
fn an_expired_silence_is_created_again() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 0, 200), 100, "one").unwrap();
    assert!(silences.expire("one", time(120)).unwrap().is_some());
    assert!(silences.expire("one", time(130)).unwrap().is_none());
    let again = Silence { id: "one".into(), ..draft("a=b", 100, 200) };
    assert_eq!(set(&mut silences, again, 150, "two"), Ok("two".into()));
    assert_eq!(silences.expire("three", time(1)).unwrap_err(), SilenceError::NotFound);
}

#[test]
fn a_pending_silence_expires_without_having_applied() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 200, 300), 100, "one").unwrap();
    let silence = silences.expire("one", time(120)).unwrap().unwrap();
    assert_eq!((silence.starts_at, silence.ends_at), (time(120), time(120)));
}

#[test]
fn drafts_that_make_no_sense_are_refused() {
    let mut silences = silences();
    let mut refuse = |draft: Silence| set(&mut silences, draft, 1, "x").unwrap_err().to_string();
    assert_eq!(refuse(draft("", 1, 2)), "invalid silence: matcher set 0 is empty");
    assert_eq!(
        refuse(draft("a=~\".*\",b=\"\"", 1, 2)),
        "invalid silence: matcher set 0: at least one matcher must not match the empty string"
    );
    assert_eq!(refuse(draft("a=b", 3, 2)), "invalid silence: end time must not be before start time");
    assert_eq!(refuse(Silence { id: "nobody".into(), ..draft("a=b", 1, 2) }), "silence not found");
    let mut classic = Silences::new(HOUR, SilenceLimits::default(), Syntax::Classic);
    assert_eq!(
        set(&mut classic, draft("\"a b\"=c", 1, 2), 1, "x").unwrap_err().to_string(),
        "invalid silence: invalid label matcher 0 in set 0: invalid label name \"a b\""
    );
}

#[test]
fn limits_leave_everything_as_it_was() {
    let limits = SilenceLimits { max_silences: 1, max_bytes: 60 };
    let mut silences = Silences::new(HOUR, limits, Syntax::Both);
    let large = draft(&format!("a={}", "x".repeat(100)), 1, 200);
    assert!(matches!(set(&mut silences, large, 1, "x").unwrap_err(), SilenceError::TooLarge { limit: 60, .. }));
    set(&mut silences, draft("a=b", 1, 200), 1, "one").unwrap();
    let change = Silence { id: "one".into(), ..draft("a=c", 1, 200) };
    let error = set(&mut silences, change, 2, "two").unwrap_err();
    assert_eq!(error.to_string(), "exceeded maximum number of silences: 1 (limit: 1)");
    assert_eq!(silences.get("one").unwrap().ends_at, time(200));
}

#[test]
fn the_active_silences_of_an_alert_are_found() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 0, 200), 100, "one").unwrap();
    set(&mut silences, draft("a=~\"b|c\"", 150, 300), 100, "two").unwrap();
    set(&mut silences, draft("a!=b,x=y", 0, 300), 100, "three").unwrap();
    let (mut b, mut c) = (SilenceMemory::default(), SilenceMemory::default());
    assert_eq!(muting(&silences, &[("a", "b")], &mut b, 100), ["one"]);
    assert_eq!(muting(&silences, &[("a", "b")], &mut b, 160), ["one", "two"]);
    assert_eq!(muting(&silences, &[("a", "b")], &mut b, 250), ["two"]);
    assert_eq!(muting(&silences, &[("a", "c"), ("x", "y")], &mut c, 160), ["three", "two"]);
}

#[test]
fn a_memory_learns_of_silences_that_are_added() {
    let mut silences = silences();
    let mut memory = SilenceMemory::default();
    assert!(muting(&silences, &[("a", "b")], &mut memory, 1).is_empty());
    set(&mut silences, draft("a=b", 0, 200), 1, "one").unwrap();
    assert_eq!(muting(&silences, &[("a", "b")], &mut memory, 1), ["one"]);
    silences.expire("one", time(2)).unwrap();
    assert!(muting(&silences, &[("a", "b")], &mut memory, 2).is_empty());
}

#[test]
fn silences_past_the_retention_are_forgotten() {
    let mut silences = silences();
    set(&mut silences, draft("a=b", 0, 200), 100, "one").unwrap();
    set(&mut silences, draft("b=~\".+\"", 0, 900), 100, "two").unwrap();
    assert_eq!(silences.collect_garbage(time(3800)), 1);
    assert!(silences.get("one").is_none() && silences.get("two").is_some());
    let mut memory = SilenceMemory::default();
    assert_eq!(muting(&silences, &[("a", "b"), ("b", "c")], &mut memory, 500), ["two"]);
}

#[test]
fn the_version_that_was_changed_last_wins() {
    let version = |changed: i64, ends: i64| Silence {
        id: "one".into(),
        updated_at: time(changed),
        expires_at: time(5000),
        ..draft("a=b", 0, ends)
    };
    let mut silences = silences();
    assert!(silences.merge(version(10, 100), time(10)));
    assert!(!silences.merge(version(9, 200), time(10)) && !silences.merge(version(10, 200), time(10)));
    assert!(silences.merge(version(11, 300), time(11)));
    assert_eq!(silences.get("one").unwrap().ends_at, time(300));
    assert!(!silences.merge(Silence { id: "two".into(), ..version(1, 2) }, time(6000)));
}
