use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::notification_log::{Entry, IntegrationKey};

fn entry(second: i64) -> Entry {
    let time = Timestamp::from_second(second).unwrap();
    let integration = IntegrationKey { receiver: "team".into(), name: "webhook".into(), index: 0 };
    Entry {
        group_key: "{}:{}".into(),
        integration,
        timestamp: time,
        firing: vec![1],
        resolved: Vec::new(),
        data: BTreeMap::new(),
        expires_at: time,
    }
}

fn open(folder: &Path) -> (Journal, Vec<Entry>) {
    Journal::open(folder, "nflog").unwrap()
}

#[tokio::test]
async fn what_was_appended_is_read_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, records) = open(folder.path());
    assert_eq!(records, []);
    journal.append(entry(1).encode()).await.unwrap();
    journal.append(entry(2).encode()).await.unwrap();
    drop(journal);
    assert_eq!(open(folder.path()).1, [entry(1), entry(2)]);
}

#[tokio::test]
async fn a_snapshot_replaces_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(entry(1).encode()).await.unwrap();
    let size = journal.snapshot(Box::new(|| entry(9).encode())).await.unwrap();
    journal.append(entry(2).encode()).await.unwrap();
    assert_eq!(size, fs::metadata(folder.path().join("nflog")).unwrap().len());
    assert_eq!(open(folder.path()).1, [entry(9), entry(2)]);
}

#[tokio::test]
async fn a_torn_journal_is_cut_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    journal.append(entry(1).encode()).await.unwrap();
    drop(journal);
    let path = folder.path().join("nflog.journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(&entry(2).encode()[..5]);
    fs::write(&path, bytes).unwrap();
    let (journal, records) = open(folder.path());
    assert_eq!(records, [entry(1)]);
    journal.append(entry(3).encode()).await.unwrap();
    drop(journal);
    assert_eq!(open(folder.path()).1, [entry(1), entry(3)]);
}

#[tokio::test]
async fn a_folder_in_place_of_the_snapshot_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("nflog")).unwrap();
    let error = Journal::open::<Entry>(folder.path(), "nflog").err().unwrap();
    assert!(error.contains("/nflog: "), "{error}");
}
