//! Deletions and their numbers: their order among appends, cuts and copies, also after a torn log.

use pharos_head::{AppendError, AppendTargets, Head};
use pharos_model::{Exemplar, Labels, Matcher, TimeRange};

use crate::support::*;

fn delete(head: &Head, series: u32, number: u64) {
    let matchers = [Matcher::equal("instance", series.to_string())];
    head.delete(&tenant(), &matchers, TimeRange::new(0, 5000), number).unwrap().wait().unwrap();
}

fn series(head: &Head) -> Vec<Labels> {
    read_all(head).into_keys().map(|(labels, _)| labels).collect()
}

#[test]
fn a_deletion_that_was_applied_is_not_applied_again() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    delete(&head, 1, 7);
    append(&head, &[(1, 1000, 2.0)]);
    for number in [7, 3] {
        delete(&head, 1, number);
    }
    assert_eq!(series(&head), [labels(1)]);
    delete(&head, 1, 8);
    assert!(series(&head).is_empty());
}

#[test]
fn a_write_belongs_after_one_deletion() {
    let head = open(&MemFs::default());
    let (batch, all) = (batch(&[(1, 1000, 1.0)]), all_shards());
    let append = |deletions| {
        let targets = AppendTargets { taken: &all, counted: &all, deletions: Some(deletions) };
        head.append_shards(&tenant(), &batch, targets).map(|outcome| outcome.counted.samples)
    };
    assert!(matches!(append(7), Err(AppendError::Deletions { expected: 7, applied: 0 })));
    delete(&head, 1, 7);
    assert!(matches!(append(0), Err(AppendError::Deletions { expected: 0, applied: 7 })));
    assert!(series(&head).is_empty(), "nothing of a refused batch is appended");
    assert_eq!(append(7).unwrap(), 1);
    let copied = head.append_copy(&tenant(), &batch, 3).map(|_| ());
    assert!(matches!(copied, Err(AppendError::Deletions { expected: 3, applied: 7 })));
}

#[test]
fn cuts_and_digests_name_the_deletions_that_they_have_seen() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (2, 1000, 1.0)]);
    delete(&head, 1, 7);
    let cut = head.cut(&tenant(), 0, &all_shards());
    let digest = head.digest(&tenant(), 0, &all_shards());
    delete(&head, 2, 9);
    assert_eq!(cut.deletions(), 7);
    assert_eq!(digest.deletions, 7);
    assert_eq!(head.cut(&tenant(), 0, &all_shards()).deletions(), 9);
}

#[test]
fn exemplars_of_deleted_series_are_deleted_and_stay_so_after_a_restart() {
    let fs = MemFs::default();
    let head = open(&fs);
    for series in [1, 2] {
        let mut batch = batch(&[(series, 1000, 1.0)]);
        batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(series).as_bytes()));
        for t in [1000, 9000] {
            let trace = Labels::from_pairs([("trace_id", &*format!("{series}-{t}"))]);
            batch.exemplars.push(Exemplar { labels: trace, value: 1.0, t });
        }
        batch.finish_series();
        head.append(&tenant(), &batch).unwrap().1.wait().unwrap();
    }
    let times = |head: &Head, series: u32| -> Vec<i64> {
        let matchers = vec![vec![Matcher::equal("instance", series.to_string())]];
        let found = head.exemplars(&tenant(), &matchers, TimeRange::ALL, None);
        found.iter().flat_map(|of| of.exemplars.iter().map(|e| e.t)).collect()
    };
    delete(&head, 1, 7);
    drop(head);
    let head = open(&fs);
    assert_eq!(times(&head, 1), [9000], "the other one is of another time");
    assert_eq!(times(&head, 2), [1000, 9000]);
    // The order within a series holds for what is left.
    delete(&head, 2, 8);
    assert_eq!(times(&head, 2), [9000]);
}

#[test]
fn a_log_torn_before_a_deletion_does_not_know_its_number() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 1000, 1.0)]);
    // The deletion is the first record of its tenant in a new segment, so a declaration precedes it.
    drop(head);
    let head = open(&fs);
    delete(&head, 1, 7);
    drop(head);
    let (path, whole) = fs.files().pop().unwrap();
    let mut tears = 0;
    for len in 0..whole.len() {
        let torn = MemFs::default();
        fs.files().into_iter().for_each(|(path, bytes)| torn.set_file(&path, &bytes));
        torn.set_file(&path, &whole[..len]);
        let head = open(&torn);
        let is_deleted = series(&head).is_empty();
        assert_eq!(head.last_deletion(&tenant()) == 7, is_deleted, "torn at {len} of {}", whole.len());
        tears += u32::from(!is_deleted);
    }
    assert!(tears > 20, "the log was torn before the deletion");
}
