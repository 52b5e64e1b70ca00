//! Tests of the protobuf reader.

use proptest::prelude::*;

use super::*;

#[test]
fn varints_have_at_most_64_bits() {
    let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(Reader::new(&long).varint(), Ok(u64::MAX));
    assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(WireError::Varint));
    assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(WireError::Varint));
}

#[test]
fn truncated_values_are_rejected() {
    assert_eq!(Reader::new(&[0x80; 3]).varint(), Err(WireError::Truncated { needed: 4, left: 3 }));
    let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(Reader::new(&long).bytes(), Err(WireError::Truncated { needed: u64::MAX, left: 0 }));
    assert_eq!(Reader::new(&[5, 1, 2]).bytes(), Err(WireError::Truncated { needed: 5, left: 2 }));
    assert_eq!(Reader::new(&[1, 2, 3]).fixed64(), Err(WireError::Truncated { needed: 8, left: 3 }));
    assert_eq!(Reader::new(&[1, 2, 3]).skip(FIXED32), Err(WireError::Truncated { needed: 4, left: 3 }));
}

#[test]
fn groups_and_field_zero_are_rejected() {
    assert_eq!(Reader::new(&[0x0b]).key(), Err(WireError::Tag(0x0b)));
    assert_eq!(Reader::new(&[0x02]).key(), Err(WireError::Tag(0x02)));
    assert_eq!(Reader::new(&[0x0a]).key(), Ok(Some((1, BYTES))));
    assert_eq!(Reader::new(&[]).key(), Ok(None));
}

#[test]
fn a_field_with_another_wire_type_is_rejected() {
    assert!(matches!(Reader::new(&[0]).double(3, VARINT), Err(WireError::WireType { field: 3, wire_type: VARINT })));
}

proptest! {
    #[test]
    fn varints_are_read_whatever_follows_them(value: u64, shift in 0u32..64, rest in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut bytes = Vec::new();
        pharos_model::labels::append_uvarint(&mut bytes, value >> shift);
        bytes.extend(&rest);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.varint(), Ok(value >> shift));
        prop_assert_eq!(reader.len(), rest.len());
    }

    #[test]
    fn any_bytes_are_read_to_their_end_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes);
        while let Ok(Some((_, wire_type))) = reader.key() {
            if reader.skip(wire_type).is_err() {
                break;
            }
        }
        prop_assert!(reader.len() <= bytes.len());
    }

    #[test]
    fn zigzag_inverts_its_definition(value: i64) {
        prop_assert_eq!(zigzag(((value << 1) ^ (value >> 63)) as u64), value);
    }
}

/// A label as remote write 1.0 encodes it.
fn label(name: &[u8], value: &[u8]) -> Vec<u8> {
    let field = |key: u8, bytes: &[u8]| [&[key, bytes.len() as u8], bytes].concat();
    field(0x0a, &[field(0x0a, name), field(0x12, value)].concat())
}

#[test]
fn a_plain_label_is_read_in_place() {
    let bytes = [label(b"job", b"node"), vec![7]].concat();
    let mut reader = Reader::new(&bytes);
    let label = reader.plain_label().unwrap();
    assert_eq!(label.name[1..=label.name_len], *b"job");
    assert_eq!(label.value[1..=label.value_len], *b"node");
    assert_eq!(reader.len(), 1);
}

#[test]
fn a_label_in_another_form_is_left_unread() {
    let long = label(b"job", &[b'x'; 127]);
    let value_first = [0x0a, 6, 0x12, 1, b'v', 0x0a, 1, b'n'];
    for bytes in [&long[..], &value_first, &label(b"a", b"b")[..5], b""] {
        let mut reader = Reader::new(bytes);
        assert!(reader.plain_label().is_none(), "{bytes:?}");
        assert_eq!(reader.len(), bytes.len());
    }
}

#[test]
fn numbers_may_be_packed_or_not() {
    let read = |bytes: &[u8]| {
        let mut numbers = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some((field, kind)) = reader.key().unwrap() {
            reader.numbers(field, kind, |number| numbers.push(number)).unwrap();
        }
        numbers
    };
    assert_eq!(read(&[0x0a, 3, 1, 2, 3]), [1, 2, 3]);
    assert_eq!(read(&[0x08, 1, 0x08, 2]), [1, 2]);
}
