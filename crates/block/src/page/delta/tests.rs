use proptest::prelude::*;

use super::*;

const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const PER_MINIBLOCK: usize = BLOCK / MINIBLOCKS;

fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_header(out: &mut Vec<u8>, block: u64, miniblocks: u64, total: u64, first: i64) {
    put_uvarint(out, block);
    put_uvarint(out, miniblocks);
    put_uvarint(out, total);
    put_varint(out, first);
}

fn pack(out: &mut Vec<u8>, width: u32, values: &[u64]) {
    let start = out.len();
    out.resize(start + PER_MINIBLOCK / 8 * width as usize, 0);
    for (at, value) in values.iter().enumerate() {
        for bit in (0..width as usize).filter(|bit| value >> bit & 1 == 1) {
            let position = at * width as usize + bit;
            out[start + position / 8] |= 1 << (position % 8);
        }
    }
}

/// A straightforward encoder that follows the specification.
fn encode(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_header(&mut out, BLOCK as u64, MINIBLOCKS as u64, values.len() as u64, values.first().copied().unwrap_or(0));
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    for block in deltas.chunks(BLOCK) {
        let min = block.iter().copied().min().unwrap();
        let above: Vec<u64> = block.iter().map(|delta| delta.wrapping_sub(min) as u64).collect();
        let widths: Vec<u32> = above
            .chunks(PER_MINIBLOCK)
            .map(|part| 64 - part.iter().fold(0, |bits, v| bits | v).leading_zeros())
            .collect();
        put_varint(&mut out, min);
        out.extend((0..MINIBLOCKS).map(|at| widths.get(at).copied().unwrap_or(0) as u8));
        for (part, width) in above.chunks(PER_MINIBLOCK).zip(widths) {
            pack(&mut out, width, part);
        }
    }
    out
}

fn decoded(bytes: &[u8], count: usize) -> Result<Vec<i64>, String> {
    let mut out = Vec::new();
    decode(bytes, count, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

#[test]
fn values_are_appended() {
    let mut out = vec![99];
    decode(&encode(&[1, 2, 4]), 3, &mut out).unwrap();
    assert_eq!(out, [99, 1, 2, 4]);
}

#[test]
fn no_values_and_one_value_need_no_block() {
    assert_eq!(decoded(&encode(&[]), 0), Ok(vec![]));
    assert_eq!(decoded(&encode(&[-7]), 1), Ok(vec![-7]));
}

#[test]
fn constant_deltas_take_no_bits() {
    let values: Vec<i64> = (0..1000).map(|i| i * 15_000).collect();
    let bytes = encode(&values);
    assert!(bytes.len() < 100, "{} bytes", bytes.len());
    assert_eq!(decoded(&bytes, 1000), Ok(values));
}

#[test]
fn deltas_of_all_widths_are_unpacked() {
    for width in 0..64 {
        let values: Vec<i64> = (0..40).map(|i| if i % 2 == 0 { 0 } else { 1i64 << width }).collect();
        assert_eq!(decoded(&encode(&values), 40), Ok(values), "deltas of {width} bits");
    }
}

#[test]
fn deltas_may_overflow() {
    let values = vec![i64::MIN, i64::MAX, 0, i64::MIN, -1, i64::MAX];
    assert_eq!(decoded(&encode(&values), 6), Ok(values));
}

#[test]
fn a_wrong_number_of_values_is_an_error() {
    assert_eq!(decoded(&encode(&[1, 2, 3]), 2), Err("3 packed values instead of 2".into()));
    assert!(decoded(&encode(&[1, 2, 3]), 4).is_err());
}

#[test]
fn impossible_blocks_are_errors() {
    for (block, miniblocks) in [(0, 0), (128, 0), (0, 4), (128, 3), (100, 4), (1 << 20, 4)] {
        let mut bytes = Vec::new();
        put_header(&mut bytes, block, miniblocks, 2, 0);
        assert!(decoded(&bytes, 2).is_err(), "{miniblocks} miniblocks in {block} values");
    }
}

#[test]
fn deltas_wider_than_a_number_are_an_error() {
    let mut bytes = Vec::new();
    put_header(&mut bytes, 128, 4, 2, 0);
    bytes.extend([0, 65, 0, 0, 0]);
    assert_eq!(decoded(&bytes, 2), Err("deltas of 65 bits".into()));
}

#[test]
fn truncated_bytes_are_an_error() {
    let values: Vec<i64> = (0..300).map(|i| i * i * 7919).collect();
    let bytes = encode(&values);
    for len in 0..bytes.len() {
        assert!(decoded(&bytes[..len], 300).is_err(), "{len} of {} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn any_values_round_trip(values in proptest::collection::vec(prop_oneof![any::<i64>(), -100i64..100], 0..400)) {
        prop_assert_eq!(decoded(&encode(&values), values.len()), Ok(values));
    }
}
