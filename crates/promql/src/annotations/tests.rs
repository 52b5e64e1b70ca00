use super::*;

fn monotonicity(t: i64) -> Monotonicity {
    Monotonicity { t: (t, t), buckets: (1.0, 2.0), max_diff: 3.0, count: 1 }
}

#[test]
fn equal_texts_are_one_annotation_at_the_last_place() {
    let mut notes = Annotations::default();
    notes.warn("something", 3);
    notes.warn("something", 9);
    assert_eq!(notes.render("rate(\nx[5m])").0, ["PromQL warning: something (2:4)"]);
}

#[test]
fn occurrences_are_counted() {
    let mut notes = Annotations::default();
    notes.warn_counted("overlap", 0, 1);
    notes.warn_counted("overlap", 0, 2);
    assert_eq!(notes.render("x").0, ["PromQL warning: overlap (3 occurrences) (1:1)"]);
}

#[test]
fn one_occurrence_is_shown_without_a_count() {
    let mut notes = Annotations::default();
    notes.warn_counted("overlap", 0, 1);
    assert_eq!(notes.render("x").0, ["PromQL warning: overlap (1:1)"]);
}

#[test]
fn warnings_and_infos_are_apart() {
    let mut notes = Annotations::default();
    notes.warn("bad", 0);
    notes.info("odd", 0);
    let (warnings, infos) = notes.render("x");
    assert_eq!(warnings, ["PromQL warning: bad (1:1)"]);
    assert_eq!(infos, ["PromQL info: odd (1:1)"]);
}

#[test]
fn an_annotation_that_accumulates_stays_at_its_first_place() {
    let mut notes = Annotations::default();
    notes.forced_monotonicity("", 2, monotonicity(1000));
    notes.forced_monotonicity("", 5, monotonicity(0));
    let infos = notes.render("x").1;
    let end = "over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z (1:3)";
    assert!(infos[0].ends_with(end), "{infos:?}");
}

#[test]
fn annotations_without_a_place_are_shown_at_the_beginning() {
    let mut notes = Annotations::default();
    notes.warn("something", NOWHERE);
    assert_eq!(notes.moved(7).render("x\ny").0, ["PromQL warning: something (1:1)"]);
}

#[test]
fn moved_annotations_are_shown_further_on() {
    let mut notes = Annotations::default();
    notes.warn("something", 1);
    assert_eq!(notes.moved(2).render("abcdef").0, ["PromQL warning: something (1:4)"]);
}

#[test]
fn annotations_of_other_steps_merge_if_their_places_agree() {
    let of = |pos| {
        let mut notes = Annotations::default();
        notes.warn("something", pos);
        notes
    };
    assert!(of(1).merge(of(1)));
    assert!(!of(1).merge(of(2)));
    assert!(Annotations::default().merge(of(2)));
}

#[test]
fn annotations_survive_being_sent() {
    let mut notes = Annotations::default();
    notes.warn("plain", NOWHERE);
    notes.warn_counted("counted", 1, 2);
    notes.forced_monotonicity("x", 2, monotonicity(5));
    assert_eq!(Annotations::from_notes(&notes.to_notes()), notes);
}

#[test]
fn metrics_without_a_name_are_not_named() {
    assert_eq!(with_metric("text", ""), "text");
    assert_eq!(with_metric("text", "up"), "text for metric name \"up\"");
}

#[test]
fn times_are_shown_to_the_second() {
    assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
}
