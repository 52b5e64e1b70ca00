use pharos_model::write::SampleIndex;

use super::*;

fn float(at: u32, reason: RejectReason) -> RefusedSample {
    RefusedSample { sample: SampleIndex { is_histogram: false, at }, reason }
}

/// An outcome with this many accepted floats and one that is too old.
fn counted(samples: u64) -> WriteOutcome {
    let mut outcome = WriteOutcome { samples, ..WriteOutcome::default() };
    outcome.reject(RejectReason::TooOld, || "too old".into());
    outcome
}

#[test]
fn a_sample_that_is_rejected_in_the_end_is_not_counted_as_accepted() {
    let mut outcome = counted(3);
    let messages = BTreeMap::from([(RejectReason::MaxSeries, "too many".to_string())]);
    correct(&mut outcome, Correction::Rejected(float(0, RejectReason::MaxSeries)), &messages);
    assert_eq!(outcome.samples, 2);
    assert_eq!(outcome.rejected[&RejectReason::MaxSeries].first, "too many");
    assert_eq!(outcome.rejected[&RejectReason::TooOld].count, 1);
}

#[test]
fn a_sample_that_is_accepted_in_the_end_is_not_counted_as_rejected() {
    let mut outcome = counted(3);
    correct(&mut outcome, Correction::Accepted(float(0, RejectReason::TooOld)), &BTreeMap::new());
    assert_eq!(outcome.samples, 4);
    assert!(outcome.rejected.is_empty());
}

#[test]
fn rejections_of_a_replica_that_was_made_to_agree_do_not_count() {
    let mut outcome = Outcome::default();
    let refused = Some(Default::default());
    outcome.absorb(Appended { outcome: WriteOutcome { samples: 3, ..WriteOutcome::default() }, ..Appended::default() });
    outcome.absorb(Appended { uncounted: counted(0).rejected, refused, ..Appended::default() });
    assert!(outcome.finish(&Progress::new([])).rejected.is_empty());
}

#[test]
fn rejections_of_a_replica_of_an_older_version_count() {
    let mut outcome = Outcome::default();
    outcome.absorb(Appended { uncounted: counted(0).rejected, ..Appended::default() });
    assert_eq!(outcome.finish(&Progress::new([])).rejected[&RejectReason::TooOld].count, 1);
}
