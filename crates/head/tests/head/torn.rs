//! Damaged logs: torn tails are truncated, other damage is an error that names its place, and a repair fixes it.

use pharos_head::{Head, HeadError};
use pharos_model::{Matcher, TimeRange};
use proptest::prelude::*;

use crate::support::*;

/// The length of a record that says what is durable. One precedes each round of writes but the first of a segment.
const DURABLE_BYTES: usize = 18;

/// A segment with eleven rounds of one sample each, as a crash leaves it behind, and its length before the last round.
fn log_with_eleven_records() -> (MemFs, usize) {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..10 {
        append(&head, &[(1, i * 1000, i as f64)]);
    }
    let before = fs.files()[0].1.len();
    append(&head, &[(2, 10_000, 1.0)]);
    head.set_complete().unwrap();
    crash(&fs, head);
    (fs, before)
}

/// Ends the head without closing its log.
fn crash(fs: &MemFs, head: pharos_head::Head) {
    let files = fs.files();
    drop(head);
    files.iter().for_each(|(path, bytes)| fs.set_file(path, bytes));
}

fn with_replicas() -> pharos_head::HeadConfig {
    pharos_head::HeadConfig { has_replicas: true, ..config() }
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_the_last_record() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for len in before..whole.len() {
        let fs = MemFs::default();
        fs.set_file(&path, &whole[..len]);
        let head = open(&fs);
        assert_eq!(read_all(&head).len(), 10, "torn at {len} of {}", whole.len());
        let left = fs.files()[0].1.len();
        assert!(left == before || left == before + DURABLE_BYTES, "the file is truncated");
        assert_eq!(head.is_incomplete(), len > left, "whatever is truncated may have been acknowledged");
        append(&head, &[(2, 10_000, 2.0)]);
        drop(head);
        assert_eq!(read_all(&open(&fs)).len(), 11);
    }
}

#[test]
fn a_header_torn_at_any_byte_is_an_empty_segment() {
    let (fs, _) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for len in 0..20 {
        let fs = MemFs::default();
        fs.set_file(&path, &whole[..len]);
        assert!(read_all(&open(&fs)).is_empty());
    }
}

#[test]
fn a_flipped_bit_in_the_last_record_loses_only_that_record_and_is_admitted() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for at in before..whole.len() {
        let fs = MemFs::default();
        fs.set_file(&path, &flipped(&whole, at));
        let head = open(&fs);
        assert_eq!(read_all(&head).len(), 10, "flipped at {at}");
        assert!(head.is_incomplete());
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn a_flipped_bit_before_the_last_round_of_the_last_segment_is_damage() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for at in 0..before {
        let fs = MemFs::default();
        fs.set_file(&path, &flipped(&whole, at));
        let error = try_open(&fs, config()).err().unwrap();
        let names_it =
            matches!(&error, HeadError::Corrupt { file, offset, .. } if *file == path && *offset <= at as u64);
        assert!(names_it, "flipped at {at}: {error}");
        assert_eq!(fs.files()[0].1, flipped(&whole, at), "nothing is changed");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_log_that_was_closed_is_damage() {
    let fs = MemFs::default();
    let head = open(&fs);
    (0..3).for_each(|i| drop(append(&head, &[(1, i * 1000, i as f64)])));
    drop(head);
    let (path, whole) = fs.files().remove(0);
    for at in 0..whole.len() - DURABLE_BYTES {
        fs.set_file(&path, &flipped(&whole, at));
        assert!(matches!(try_open(&fs, config()), Err(HeadError::Corrupt { .. })), "flipped at {at}");
    }
}

#[test]
fn a_head_with_replicas_opens_what_is_left_of_a_damaged_log_and_knows_that_it_is_incomplete() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for at in 0..before {
        let fs = MemFs::default();
        fs.set_file(&path, &flipped(&whole, at));
        let head = try_open(&fs, with_replicas()).unwrap();
        assert!(head.is_incomplete() && read_all(&head).len() < 10);
        append(&head, &[(3, 10_000, 1.0)]);
        let left = read_all(&head);
        drop(head);
        let head = try_open(&fs, config()).unwrap();
        assert!(head.is_incomplete(), "until it is told otherwise");
        assert_eq!(read_all(&head), left);
    }
}

#[test]
fn a_head_with_replicas_opens_when_an_earlier_segment_is_damaged() {
    let fs = log_with_segments();
    let (path, bytes) = fs.files().remove(1);
    fs.set_file(&path, &flipped(&bytes, bytes.len() / 2));
    assert!(matches!(try_open(&fs, config()), Err(HeadError::Corrupt { .. })));
    let head = try_open(&fs, with_replicas()).unwrap();
    let found = read_all(&head).len();
    assert!(head.is_incomplete() && found > 1000 && found < 2000, "{found} samples");
}

#[test]
fn deletions_that_a_damaged_log_has_lost_are_applied_again() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 1.0), (2, 0, 2.0)]);
    let before = fs.files()[0].1.len();
    let delete = |head: &Head| {
        let matchers = [Matcher::equal("instance", "1")];
        head.delete(&tenant(), &matchers, TimeRange::new(0, 10), 5).unwrap().wait().unwrap();
    };
    delete(&head);
    for i in 1..1000 {
        append(&head, &[(3, i * 1000, 0.1 * i as f64)]);
    }
    head.set_complete().unwrap();
    drop(head);
    assert!(fs.files().len() > 1, "a later segment names the deletion");
    let (path, bytes) = fs.files().remove(0);
    fs.set_file(&path, &flipped(&bytes, before + 5));
    let head = try_open(&fs, with_replicas()).unwrap();
    assert_eq!(head.last_deletion(&tenant()), 0);
    let held = |head: &Head| read_all(head).iter().filter(|((_, t), _)| *t == 0).count();
    assert_eq!(held(&head), 2);
    delete(&head);
    drop(head);
    let head = try_open(&fs, with_replicas()).unwrap();
    assert_eq!((head.last_deletion(&tenant()), held(&head)), (5, 1));
}

#[test]
fn a_crash_that_tears_nothing_leaves_the_log_complete() {
    let (fs, _) = log_with_eleven_records();
    let head = open(&fs);
    assert_eq!(read_all(&head).len(), 11);
    assert!(!head.is_incomplete());
}

fn log_with_segments() -> MemFs {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..1000 {
        append(&head, &[(1, i * 1000, 0.1 * i as f64), (2, i * 1000, 1.0)]);
    }
    head.set_complete().unwrap();
    drop(head);
    assert!(fs.files().len() > 3);
    fs
}

#[test]
fn damage_in_an_earlier_segment_is_an_error_that_names_it() {
    let fs = log_with_segments();
    let (path, mut bytes) = fs.files().remove(1);
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    fs.set_file(&path, &bytes);
    let error = try_open(&fs, config()).err().unwrap();
    assert!(matches!(&error, HeadError::Corrupt { file, offset, .. } if *file == path && *offset > 20), "{error}");
    let message = error.to_string();
    assert!(message.contains("00000002.wal at offset"), "{message}");
    assert!(message.contains("pharos tool wal repair /wal"), "{message}");
}

#[test]
fn a_failed_open_leaves_the_log_unlocked_and_unchanged() {
    let fs = log_with_segments();
    let (path, mut bytes) = fs.files().remove(1);
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    fs.set_file(&path, &bytes);
    let before = fs.files();
    for _ in 0..2 {
        assert!(matches!(try_open(&fs, config()), Err(HeadError::Corrupt { .. })));
    }
    assert_eq!(fs.files(), before);
}

#[test]
fn a_segment_of_another_version_is_an_error_even_at_the_end_of_the_log() {
    let (fs, _) = log_with_eleven_records();
    let (path, mut bytes) = fs.files().remove(0);
    bytes[8..12].copy_from_slice(&99u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    fs.set_file(&path, &bytes);
    let error = try_open(&fs, config()).err().unwrap();
    assert!(matches!(&error, HeadError::Version { .. }), "{error}");
    assert!(error.to_string().contains("version is 99"), "{error}");
}

#[test]
fn a_segment_under_the_name_of_another_is_an_error() {
    let fs = log_with_segments();
    let (_, first) = fs.files().remove(0);
    fs.set_file(std::path::Path::new("/wal/00000002.wal"), &first);
    assert!(matches!(try_open(&fs, config()), Err(HeadError::Corrupt { offset: 0, .. })));
}

#[test]
fn a_record_that_names_an_undeclared_series_is_an_error() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    // The header, then a sample whose series was declared before it.
    let last = &whole[before..];
    fs.set_file(&path, &[&whole[..20], last].concat());
    let error = try_open(&fs, config()).err().unwrap();
    assert!(error.to_string().contains("does not declare"), "{error}");
}

#[test]
fn files_that_are_not_segments_are_ignored() {
    let (fs, _) = log_with_eleven_records();
    for name in ["1.wal", "0000000x.wal", "notes.txt", "00000009.wal.old"] {
        fs.set_file(&std::path::Path::new("/wal").join(name), b"garbage");
    }
    assert_eq!(read_all(&open(&fs)).len(), 11);
}

/// Segment files in a folder on disk, where a repair works.
struct Folder(tempfile::TempDir);

impl Folder {
    fn of(fs: &MemFs) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        fs.files().iter().for_each(|(path, bytes)| std::fs::write(folder.file(path), bytes).unwrap());
        folder
    }

    fn file(&self, path: &std::path::Path) -> std::path::PathBuf {
        self.0.path().join(path.file_name().unwrap())
    }

    /// Cuts off the last bytes of a segment.
    fn shorten(&self, path: &std::path::Path, bytes: usize) {
        let file = self.file(path);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - bytes]).unwrap();
    }

    fn remove(&self, path: &std::path::Path) {
        std::fs::remove_file(self.file(path)).unwrap();
    }

    fn repair(&self) -> pharos_head::wal::RepairReport {
        pharos_head::wal::repair(self.0.path()).unwrap()
    }

    fn is_marked_incomplete(&self) -> bool {
        self.0.path().join("incomplete").exists()
    }

    /// Opens a head on a copy of the files.
    fn open(&self) -> pharos_head::Head {
        let fs = MemFs::default();
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some() {
                let copy = std::path::Path::new("/wal").join(path.file_name().unwrap());
                fs.set_file(&copy, &std::fs::read(&path).unwrap());
            }
        }
        open(&fs)
    }
}

#[test]
fn a_repair_of_a_sound_log_changes_nothing() {
    let fs = log_with_segments();
    let folder = Folder::of(&fs);
    let report = folder.repair();
    assert_eq!(report.intact, fs.files().len());
    assert!(report.truncated.is_empty() && report.missing.is_empty());
    assert!(!folder.is_marked_incomplete());
    assert_eq!(read_all(&folder.open()), read_all(&open(&fs)));
}

#[test]
fn a_repair_truncates_damaged_segments_and_replaces_missing_ones() {
    let fs = log_with_segments();
    let files = fs.files();
    let folder = Folder::of(&fs);
    folder.shorten(&files[1].0, 3);
    folder.remove(&files[2].0);
    let report = folder.repair();
    assert_eq!(report.intact, files.len() - 2);
    assert_eq!(report.truncated.len(), 1);
    assert_eq!(report.missing, [3]);
    let truncated = &report.truncated[0];
    assert!(truncated.file.ends_with("00000002.wal"));
    assert_eq!(truncated.offset + truncated.lost_bytes, files[1].1.len() as u64 - 3);
    let found = read_all(&folder.open()).len();
    assert!(found > 1000 && found < 2000, "{found} samples");
}

#[test]
fn a_repaired_log_needs_no_second_repair() {
    let fs = log_with_segments();
    let files = fs.files();
    let folder = Folder::of(&fs);
    folder.shorten(&files[1].0, 3);
    folder.remove(&files[2].0);
    folder.repair();
    let again = folder.repair();
    assert_eq!(again.intact, files.len());
    assert!(again.truncated.is_empty() && again.missing.is_empty());
}

#[test]
fn a_repair_that_truncates_marks_the_log_as_incomplete() {
    let fs = log_with_segments();
    let folder = Folder::of(&fs);
    folder.shorten(&fs.files()[1].0, 3);
    folder.repair();
    assert!(folder.is_marked_incomplete());
    folder.repair();
    assert!(folder.is_marked_incomplete(), "what was lost stays lost");
}

#[test]
fn a_repair_that_replaces_a_segment_marks_the_log_as_incomplete() {
    let fs = log_with_segments();
    let folder = Folder::of(&fs);
    folder.remove(&fs.files()[1].0);
    folder.repair();
    assert!(folder.is_marked_incomplete());
}

#[test]
fn a_repair_refuses_segments_of_another_version() {
    let fs = log_with_segments();
    let (path, mut bytes) = fs.files().remove(0);
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    fs.set_file(&path, &bytes);
    let folder = Folder::of(&fs);
    let refused = pharos_head::wal::repair(folder.0.path());
    assert!(matches!(refused, Err(HeadError::Version { .. })));
}

#[test]
fn a_head_knows_that_its_log_is_marked_as_incomplete() {
    let fs = log_with_segments();
    assert!(!open(&fs).is_incomplete());
    fs.set_file(std::path::Path::new("/wal/incomplete"), b"");
    assert!(open(&fs).is_incomplete());
}

#[test]
fn a_missing_segment_is_an_error() {
    let fs = log_with_segments();
    fs.remove_file(&fs.files()[1].0);
    assert!(matches!(try_open(&fs, config()), Err(HeadError::MissingSegment { segment: 2, .. })));
}

fn record(payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

proptest! {
    #[test]
    fn hostile_records_with_good_checksums_never_panic(
        payloads in proptest::collection::vec((1u8..12, proptest::collection::vec(any::<u8>(), 0..40)), 1..6),
        mutate in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let (fs, before) = log_with_eleven_records();
        let (path, whole) = fs.files().remove(0);
        let mut bytes = whole[..before].to_vec();
        // A real record's payload, damaged, under a good checksum.
        let mut damaged = whole[before + DURABLE_BYTES + 8..].to_vec();
        for (at, value) in mutate {
            let at = at.index(damaged.len());
            damaged[at] = value;
        }
        bytes.extend(record(&damaged));
        for (kind, rest) in payloads {
            bytes.extend(record(&[&[kind][..], &rest].concat()));
        }
        let fs = MemFs::default();
        fs.set_file(&path, &bytes);
        let _ = try_open(&fs, config());
    }
}
