use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn segment(number: u32, payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = header(number).to_vec();
    for payload in payloads {
        let start = begin_record(&mut bytes);
        bytes.extend_from_slice(payload);
        end_record(&mut bytes, start);
    }
    bytes
}

fn open(bytes: &[u8], number: u32) -> Result<SegmentReader, ReadError> {
    SegmentReader::new(Box::new(Cursor::new(bytes.to_vec())), bytes.len() as u64, number)
}

/// The payloads that can be read, and the error that ends them, if any.
fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
    let mut payloads = Vec::new();
    let mut reader = match open(bytes, 1) {
        Ok(reader) => reader,
        Err(error) => return (payloads, Some(error.to_string())),
    };
    loop {
        match reader.next() {
            Ok(Some(payload)) => payloads.push(payload.to_vec()),
            Ok(None) => return (payloads, None),
            Err(error) => return (payloads, Some(error.to_string())),
        }
    }
}

fn error_of(bytes: &[u8]) -> String {
    read(bytes).1.unwrap()
}

#[test]
fn segment_names_are_numbers_of_eight_digits_or_more() {
    assert_eq!(file_name(7), "00000007.wal");
    assert_eq!(file_name(u32::MAX), "4294967295.wal");
    for number in [0, 7, 99_999_999, 100_000_000, u32::MAX] {
        assert_eq!(parse_file_name(&file_name(number)), Some(number));
    }
}

#[test]
fn other_names_are_not_segments() {
    for name in ["", "7.wal", "0000000a.wal", "00000001", "00000001.wal.tmp", "+0000001.wal", "99999999999.wal", "lock"]
    {
        assert_eq!(parse_file_name(name), None, "{name:?}");
    }
}

#[test]
fn records_are_read_in_order_with_their_offsets() {
    let bytes = segment(1, &[b"one", b"three"]);
    let mut reader = open(&bytes, 1).unwrap();
    assert_eq!(reader.offset(), 20);
    assert_eq!(reader.next().unwrap(), Some(&b"one"[..]));
    assert_eq!(reader.offset(), 20 + 8 + 3);
    assert_eq!(reader.next().unwrap(), Some(&b"three"[..]));
    assert_eq!(reader.offset(), bytes.len() as u64);
    assert_eq!(reader.next().unwrap(), None);
}

#[test]
fn a_segment_without_records_is_empty() {
    assert_eq!(read(&segment(1, &[])), (vec![], None));
}

#[test]
fn a_header_of_another_segment_is_damaged() {
    assert_eq!(open(&segment(2, &[]), 1).err().unwrap().to_string(), "header is damaged");
}

#[test]
fn a_truncated_header_is_an_error() {
    assert_eq!(error_of(&header(1)[..19]), "header is truncated after 19 bytes");
}

#[test]
fn a_header_of_another_version_names_it() {
    for version in [1, 4] {
        assert!(matches!(open(&header_of(version, 1), 1), Err(ReadError::Version(found)) if found == version));
    }
}

#[test]
fn a_segment_of_version_2_is_read() {
    let mut bytes = segment(1, &[b"payload"]);
    bytes[..20].copy_from_slice(&header_of(2, 1));
    assert_eq!(read(&bytes), (vec![b"payload".to_vec()], None));
}

#[test]
fn a_record_longer_than_any_that_is_written_now_is_read() {
    let long = vec![7u8; MAX_RECORD_BYTES + (33 << 20)];
    let (payloads, error) = read(&segment(1, &[&long]));
    assert_eq!(error, None);
    assert_eq!(payloads[0].len(), long.len());
}

#[test]
fn a_damaged_header_is_not_taken_for_another_version() {
    let mut bytes = header(1);
    bytes[8] = 4;
    assert!(matches!(open(&bytes, 1), Err(ReadError::Bad(_))));
}

#[test]
fn a_record_truncated_within_its_length_is_an_error() {
    let bytes = segment(1, &[b"payload"]);
    assert_eq!(error_of(&bytes[..23]), "record is truncated within its length");
}

#[test]
fn a_record_truncated_within_its_payload_is_an_error() {
    let bytes = segment(1, &[b"payload"]);
    assert_eq!(error_of(&bytes[..bytes.len() - 1]), "record of 7 bytes is truncated");
}

#[test]
fn an_empty_record_is_an_error() {
    assert_eq!(error_of(&segment(1, &[b""])), "record length of 0 bytes is out of range");
}

#[test]
fn a_length_beyond_the_limit_is_an_error_whatever_the_file_holds() {
    let mut bytes = segment(1, &[b"payload"]);
    bytes[20..24].copy_from_slice(&(MAX_READ_BYTES as u32 + 1).to_le_bytes());
    assert!(error_of(&bytes).contains("is out of range"));
}

#[test]
fn a_flipped_bit_in_a_payload_is_a_wrong_checksum() {
    let mut bytes = segment(1, &[b"one", b"two"]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(read(&bytes), (vec![b"one".to_vec()], Some("record has a wrong checksum".into())));
}

#[test]
fn records_longer_than_the_read_ahead_are_read() {
    let long = vec![7u8; 3 << 20];
    let (payloads, error) = read(&segment(1, &[b"first", &long, b"last"]));
    assert_eq!(error, None);
    assert_eq!(payloads.iter().map(Vec::len).collect::<Vec<_>>(), [5, 3 << 20, 4]);
}

#[test]
fn a_file_shorter_than_listed_ends_like_a_truncated_one() {
    let bytes = segment(1, &[b"payload"]);
    let shorter = Cursor::new(bytes[..bytes.len() - 2].to_vec());
    let mut reader = SegmentReader::new(Box::new(shorter), bytes.len() as u64, 1).unwrap();
    assert!(matches!(reader.next(), Err(ReadError::Bad(_))));
}

#[test]
fn a_failing_file_is_an_io_error() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    assert!(matches!(SegmentReader::new(Box::new(Failing), 100, 1), Err(ReadError::Io(_))));
}

proptest! {
    #[test]
    fn any_records_round_trip(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 0..20)) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read(&segment(1, &slices)), (payloads, None));
    }

    #[test]
    fn damage_never_changes_the_records_before_it(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..10),
        at in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut bytes = segment(1, &slices);
        let at = 20 + at.index(bytes.len() - 20);
        bytes[at] ^= flip;
        let (found, error) = read(&bytes);
        prop_assert!(error.is_some());
        prop_assert!(payloads.starts_with(&found));
    }
}
