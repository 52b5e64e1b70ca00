use super::*;

#[test]
fn a_number_is_read_and_passed() {
    let mut bytes = &[0xac, 0x02, 7][..];
    assert_eq!(uvarint(&mut bytes).unwrap(), 300);
    assert_eq!(bytes, [7]);
}

#[test]
fn a_truncated_number_is_an_error() {
    assert!(uvarint(&mut &[0x80, 0x80][..]).is_err());
    assert!(uvarint(&mut &[][..]).is_err());
}

#[test]
fn zigzag_alternates_between_signs() {
    assert_eq!([0, 1, 2, 3, 4].map(zigzag), [0, -1, 1, -2, 2]);
    assert_eq!(zigzag(u64::MAX), i64::MIN);
    assert_eq!(zigzag(u64::MAX - 1), i64::MAX);
}

#[test]
fn bytes_are_taken_from_the_front() {
    let mut bytes = &[1, 2, 3][..];
    assert_eq!(take(&mut bytes, 2).unwrap(), [1, 2]);
    assert_eq!(bytes, [3]);
}

#[test]
fn taking_too_many_bytes_takes_none() {
    let mut bytes = &[1, 2, 3][..];
    assert_eq!(take(&mut bytes, 4).unwrap_err().to_string(), "expected 4 bytes, but only 3 are left");
    assert_eq!(bytes.len(), 3);
}
