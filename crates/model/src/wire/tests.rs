use proptest::prelude::*;

use super::*;

#[test]
fn small_numbers_of_either_sign_take_one_byte() {
    for value in [0, 1, -1, 63, -64] {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out.len(), 1, "{value}");
    }
}

#[test]
fn zigzag_reaches_both_ends() {
    for value in [0, -1, 1, i64::MAX, i64::MIN] {
        assert_eq!(unzigzag(zigzag(value)), value);
    }
    assert_eq!(zigzag(i64::MIN), u64::MAX);
}

#[test]
fn text_and_bytes_round_trip() {
    let mut out = Vec::new();
    put_bytes(&mut out, "é".as_bytes());
    put_bytes(&mut out, &[0xff]);
    let mut reader = Reader::new(&out);
    assert_eq!(reader.text(), Ok("é"));
    assert_eq!(reader.clone().text(), Err(Malformed("text is not UTF-8")));
    assert_eq!(reader.prefixed(), Ok(&[0xff][..]));
    assert!(reader.is_empty());
}

#[test]
fn reading_past_the_end_is_an_error() {
    let mut reader = Reader::new(&[1, 2]);
    assert_eq!(reader.clone().take(3), Err(Malformed("length past the end")));
    assert!(reader.clone().f64().is_err());
    assert_eq!(reader.take(2), Ok(&[1, 2][..]));
    assert_eq!(reader.byte(), Err(Malformed("ends early")));
    assert_eq!(reader.rest(), [0u8; 0]);
}

#[test]
fn a_count_is_bounded_by_the_bytes_that_are_left() {
    let bytes = [2, 0, 0, 0, 0];
    assert_eq!(Reader::new(&bytes).count(2), Ok(2));
    assert_eq!(Reader::new(&bytes).count(3), Err(Malformed("count past the end")));
}

#[test]
fn numbers_of_more_than_32_bits_are_refused_where_they_must_fit() {
    let mut out = Vec::new();
    put_uvarint(&mut out, 1 << 32);
    assert_eq!(Reader::new(&out).u32(), Err(Malformed("number too large")));
    assert_eq!(Reader::new(&out).uvarint(), Ok(1 << 32));
}

proptest! {
    #[test]
    fn numbers_round_trip(value in any::<i64>()) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
        let mut reader = Reader::new(&bytes);
        let _ = reader.clone().prefixed();
        let _ = reader.clone().text();
        let _ = reader.clone().f64();
        let _ = reader.count(3);
    }
}
