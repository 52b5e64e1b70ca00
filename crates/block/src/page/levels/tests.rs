use proptest::prelude::*;

use super::*;

fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn repeated(value: u32, count: u64, width: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, count << 1);
    out.extend(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    out
}

fn packed(values: &[u32], width: u32) -> Vec<u8> {
    let groups = values.len().div_ceil(8);
    let mut out = Vec::new();
    put_uvarint(&mut out, (groups as u64) << 1 | 1);
    let start = out.len();
    out.resize(start + groups * width as usize, 0);
    for (at, value) in values.iter().enumerate() {
        for bit in (0..width as usize).filter(|bit| value >> bit & 1 == 1) {
            let position = at * width as usize + bit;
            out[start + position / 8] |= 1 << (position % 8);
        }
    }
    out
}

fn decoded(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>, String> {
    let mut out = Vec::new();
    decode_all(bytes, width, count, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// Levels with their length, as they are in a page.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn lists(rep: &[u32], def: &[u32], max_def: u32) -> Result<Lists, String> {
    let body =
        [with_length(&packed(rep, 1)), with_length(&packed(def, max_def.ilog2() + 1)), b"rest".to_vec()].concat();
    let mut rest = &body[..];
    let lists = Lists::read(&mut rest, rep.len(), max_def).map_err(|e| e.to_string())?;
    assert_eq!(rest, b"rest");
    Ok(lists)
}

#[test]
fn repeated_and_packed_runs_follow_each_other() {
    let bytes = [repeated(5, 3, 3), packed(&[1, 2, 3, 4, 5, 6, 7, 0], 3), repeated(2, 2, 3)].concat();
    assert_eq!(decoded(&bytes, 3, 13), Ok(vec![5, 5, 5, 1, 2, 3, 4, 5, 6, 7, 0, 2, 2]));
}

#[test]
fn the_last_run_may_be_longer_than_needed() {
    assert_eq!(decoded(&repeated(1, 100, 1), 1, 3), Ok(vec![1, 1, 1]));
    assert_eq!(decoded(&packed(&[1, 0, 1, 1, 0, 0, 0, 0], 1), 1, 3), Ok(vec![1, 0, 1]));
}

#[test]
fn a_width_of_zero_takes_no_bytes() {
    assert_eq!(decoded(&repeated(0, 4, 0), 0, 4), Ok(vec![0; 4]));
    assert_eq!(decoded(&packed(&[0; 8], 0), 0, 8), Ok(vec![0; 8]));
}

#[test]
fn no_values_need_no_bytes() {
    assert_eq!(decoded(&[], 5, 0), Ok(vec![]));
}

#[test]
fn a_run_of_no_values_is_an_error() {
    assert_eq!(decoded(&repeated(1, 0, 1), 1, 3), Err("a run of 0 values".into()));
}

#[test]
fn a_run_beyond_the_limit_is_an_error() {
    assert!(decoded(&repeated(1, MAX_PAGE_VALUES as u64 + 1, 1), 1, 3).is_err());
    let mut huge = Vec::new();
    put_uvarint(&mut huge, u64::MAX);
    assert!(decoded(&huge, 32, 3).is_err());
}

#[test]
fn a_truncated_run_is_an_error() {
    assert!(decoded(&repeated(300, 4, 9)[..2], 9, 4).is_err());
    let whole = packed(&[1; 16], 7);
    assert_eq!(decoded(&whole[..whole.len() - 1], 7, 16), Err("bit-packed run is truncated".into()));
}

#[test]
fn runs_that_end_too_early_are_an_error() {
    assert!(decoded(&repeated(1, 3, 1), 1, 4).is_err());
}

#[test]
fn values_wider_than_32_bits_are_an_error() {
    assert!(decoded(&[2, 0, 0, 0, 0, 0], 33, 1).is_err());
}

#[test]
fn levels_describe_lists_of_any_length() {
    // [a, b], [], [c]
    let lists = lists(&[0, 1, 0, 0], &[1, 1, 0, 1], 1).unwrap();
    let shape: Vec<_> = lists.rows.iter().map(|list| (list.values, list.len)).collect();
    assert_eq!(shape, [(0, 2), (2, 0), (2, 1)]);
    assert_eq!(lists.values, 3);
}

#[test]
fn nulls_are_located_within_their_list() {
    // [a, null, b], [null], []
    let lists = lists(&[0, 1, 1, 0, 0], &[2, 1, 2, 1, 0], 2).unwrap();
    let lengths: Vec<_> = lists.rows.iter().map(|list| (list.len, list.null_count)).collect();
    assert_eq!(lengths, [(3, 1), (1, 1), (0, 0)]);
    assert_eq!(lists.nulls, [1, 0]);
    assert_eq!(lists.values, 2);
}

#[test]
fn a_page_that_starts_within_a_list_is_an_error() {
    assert_eq!(lists(&[1, 0], &[1, 1], 1).unwrap_err(), "a page starts within a list");
}

#[test]
fn an_empty_list_with_elements_is_an_error() {
    assert_eq!(lists(&[0, 1], &[0, 1], 1).unwrap_err(), "an empty list has elements");
}

#[test]
fn a_page_without_lists_is_read() {
    let body = [with_length(&[]), with_length(&[])].concat();
    assert!(Lists::read(&mut &body[..], 0, 1).unwrap().rows.is_empty());
}

#[test]
fn truncated_levels_are_an_error() {
    let body = [with_length(&packed(&[0, 1], 1)), with_length(&packed(&[1, 1], 1))].concat();
    for len in 0..body.len() {
        assert!(Lists::read(&mut &body[..len], 2, 1).is_err(), "{len} bytes");
    }
}

#[test]
fn presence_is_omitted_when_all_rows_have_a_value() {
    let all = with_length(&repeated(1, 5, 1));
    assert_eq!(presence(&mut &all[..], 5).unwrap(), None);
}

#[test]
fn presence_tells_which_rows_have_a_value() {
    let some = with_length(&packed(&[1, 0, 1], 1));
    assert_eq!(presence(&mut &some[..], 3).unwrap(), Some(vec![true, false, true]));
}

proptest! {
    #[test]
    fn packed_values_round_trip(width in 1u32..=32, values in proptest::collection::vec(any::<u32>(), 1..100)) {
        let values: Vec<u32> = values.iter().map(|v| (u64::from(*v) & ((1 << width) - 1)) as u32).collect();
        prop_assert_eq!(decoded(&packed(&values, width), width, values.len()), Ok(values));
    }

    #[test]
    fn any_lists_round_trip(model in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..5), 1..30)) {
        let mut rep = Vec::new();
        let mut def = Vec::new();
        for list in &model {
            rep.push(0);
            rep.extend((1..list.len()).map(|_| 1));
            def.extend(list.iter().map(|has_value| if *has_value { 2 } else { 1 }));
            if list.is_empty() {
                def.push(0);
            }
        }
        let lists = lists(&rep, &def, 2).unwrap();
        prop_assert_eq!(lists.rows.len(), model.len());
        for (row, list) in lists.rows.iter().zip(&model) {
            prop_assert_eq!(row.len as usize, list.len());
            let nulls = &lists.nulls[row.nulls as usize..(row.nulls + row.null_count) as usize];
            let expected: Vec<u32> = (0u32..).zip(list).filter(|(_, has_value)| !**has_value).map(|(at, _)| at).collect();
            prop_assert_eq!(nulls, &expected[..]);
        }
        prop_assert_eq!(lists.values, model.iter().flatten().filter(|has_value| **has_value).count());
    }
}
