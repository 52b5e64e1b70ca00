use super::*;

#[test]
fn checksums_round_trip() {
    let checksums = [0, 1, u32::MAX];
    assert_eq!(decode(&encode(&checksums), 3).unwrap(), checksums);
    assert!(decode(&encode(&[]), 0).unwrap().is_empty());
}

#[test]
fn another_number_of_checksums_than_of_pages_is_an_error() {
    let text = encode(&[0, 1, 2]);
    assert!(decode(&text, 2).is_err());
    assert!(decode(&text, 4).is_err());
}

#[test]
fn half_a_checksum_is_an_error() {
    assert!(decode("AAA=", 0).is_err());
    assert!(decode("AAAAAAA=", 1).is_err());
}

#[test]
fn text_that_is_not_base64_is_an_error() {
    assert!(decode("?", 1).is_err());
}

#[test]
fn bytes_match_their_checksum_only() {
    assert!(matches(b"x", Some(crc32fast::hash(b"x"))));
    assert!(!matches(b"x", Some(crc32fast::hash(b"y"))));
}

#[test]
fn bytes_without_a_checksum_match() {
    assert!(matches(b"x", None));
}

#[test]
fn bytes_that_are_not_pages_have_no_checksums() {
    assert!(checksums_of(b"\xff\xff\xff", &mut Vec::new()).is_err());
    assert!(checksums_of(b"", &mut Vec::new()).is_ok());
}
