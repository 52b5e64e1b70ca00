//! Tests of the protobuf reader.

use proptest::prelude::*;

use super::*;

#[test]
fn lengths_past_the_end_and_endless_numbers_are_refused() {
    let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(Reader::new(&long).varint(), Ok(u64::MAX));
    assert_eq!(Reader::new(&long).bytes(), Err(WireError::Truncated { needed: u64::MAX, left: 0 }));
    assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(WireError::Varint));
    assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(WireError::Varint));
    assert_eq!(Reader::new(&[0x80; 3]).varint(), Err(WireError::Truncated { needed: 4, left: 3 }));
    assert_eq!(Reader::new(&[5, 1, 2]).bytes(), Err(WireError::Truncated { needed: 5, left: 2 }));
    assert_eq!(Reader::new(&[1, 2, 3]).fixed64(), Err(WireError::Truncated { needed: 8, left: 3 }));
    assert_eq!(Reader::new(&[1, 2, 3]).skip(FIXED32), Err(WireError::Truncated { needed: 4, left: 3 }));
}

#[test]
fn groups_and_field_zero_are_refused() {
    assert_eq!(Reader::new(&[0x0b]).key(), Err(WireError::Tag(0x0b)));
    assert_eq!(Reader::new(&[0x02]).key(), Err(WireError::Tag(0x02)));
    assert_eq!(Reader::new(&[0x0a]).key(), Ok(Some((1, BYTES))));
    assert_eq!(Reader::new(&[]).key(), Ok(None));
    assert!(matches!(Reader::new(&[0]).double(3, VARINT), Err(WireError::WireType { field: 3, wire_type: VARINT })));
}

proptest! {
    #[test]
    fn varints_are_read_whatever_follows(value: u64, shift in 0u32..64, rest in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut bytes = Vec::new();
        pharos_model::labels::append_uvarint(&mut bytes, value >> shift);
        bytes.extend(&rest);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.varint(), Ok(value >> shift));
        prop_assert_eq!(reader.len(), rest.len());
    }

    #[test]
    fn any_bytes_are_read_to_their_end_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes);
        while let Ok(Some((_, wire_type))) = reader.key() {
            if reader.skip(wire_type).is_err() {
                break;
            }
        }
        prop_assert!(reader.len() <= bytes.len());
    }

    #[test]
    fn zigzag_is_its_definition(value: i64) {
        prop_assert_eq!(zigzag(((value << 1) ^ (value >> 63)) as u64), value);
    }
}
