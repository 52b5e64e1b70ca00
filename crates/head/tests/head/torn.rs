//! Damaged logs: torn tails are cut, damage elsewhere is an error that names its place, and repair mends it.

use pharos_head::HeadError;
use proptest::prelude::*;

use crate::support::*;

/// One segment with ten samples, each in a record of its own, and then a last one.
fn log_with_eleven_records() -> (MemFs, usize) {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..10 {
        append(&head, &[(1, i * 1000, i as f64)]);
    }
    let before = fs.files()[0].1.len();
    append(&head, &[(2, 10_000, 1.0)]);
    drop(head);
    (fs, before)
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
        assert_eq!(fs.files()[0].1.len(), before, "truncated for good");
        append(&head, &[(2, 10_000, 2.0)]);
        drop(head);
        assert_eq!(read_all(&open(&fs)).len(), 11);
    }
    for len in 0..20 {
        let fs = MemFs::default();
        fs.set_file(&path, &whole[..len]);
        assert!(read_all(&open(&fs)).is_empty());
    }
}

#[test]
fn a_flipped_bit_in_the_last_segment_ends_it_there() {
    let (fs, before) = log_with_eleven_records();
    let (path, whole) = fs.files().remove(0);
    for at in before..whole.len() {
        let fs = MemFs::default();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs.set_file(&path, &bytes);
        assert_eq!(read_all(&open(&fs)).len(), 10, "flipped at {at}");
    }
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
    assert!(try_open(&fs, config()).is_err(), "and stays one; the directory is not left locked");
}

#[test]
fn repair_keeps_what_can_be_read() {
    let fs = log_with_segments();
    let files = fs.files();
    let dir = tempfile::tempdir().unwrap();
    for (i, (path, bytes)) in files.iter().enumerate() {
        let bytes = if i == 1 { &bytes[..bytes.len() - 3] } else { bytes };
        if i != 2 {
            std::fs::write(dir.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    let report = pharos_head::wal::repair(dir.path()).unwrap();
    assert_eq!((report.intact, report.truncated.len(), report.missing.as_slice()), (files.len() - 2, 1, &[3][..]));
    let again = pharos_head::wal::repair(dir.path()).unwrap();
    assert_eq!((again.intact, again.truncated.len()), (files.len(), 0));
    let repaired = MemFs::default();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            repaired.set_file(
                &std::path::Path::new("/wal").join(path.file_name().unwrap()),
                &std::fs::read(&path).unwrap(),
            );
        }
    }
    let found = read_all(&open(&repaired)).len();
    assert!(found > 1000 && found < 2000, "{found}");
}

#[test]
fn a_repair_that_cuts_marks_the_log() {
    let fs = log_with_segments();
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &std::path::Path| dir.path().join(path.file_name().unwrap());
    for (path, bytes) in fs.files() {
        std::fs::write(file(&path), bytes).unwrap();
    }
    let marker = dir.path().join("incomplete");
    pharos_head::wal::repair(dir.path()).unwrap();
    assert!(!marker.exists(), "nothing was cut");
    let (path, bytes) = fs.files().remove(1);
    std::fs::write(file(&path), &bytes[..bytes.len() - 3]).unwrap();
    pharos_head::wal::repair(dir.path()).unwrap();
    assert!(marker.exists());
    pharos_head::wal::repair(dir.path()).unwrap();
    assert!(marker.exists(), "what was cut stays lost");
    std::fs::remove_file(&marker).unwrap();
    std::fs::remove_file(file(&path)).unwrap();
    pharos_head::wal::repair(dir.path()).unwrap();
    assert!(marker.exists(), "a segment is missing");
    // The head that finds the marker knows.
    let marked = log_with_segments();
    assert!(!open(&marked).is_incomplete());
    marked.set_file(std::path::Path::new("/wal/incomplete"), b"");
    assert!(open(&marked).is_incomplete());
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
        payloads in proptest::collection::vec((1u8..8, proptest::collection::vec(any::<u8>(), 0..40)), 1..6),
        mutate in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let (fs, before) = log_with_eleven_records();
        let (path, whole) = fs.files().remove(0);
        let mut bytes = whole[..before].to_vec();
        // A real record's payload, damaged, under a good checksum.
        let mut damaged = whole[before + 8..].to_vec();
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
