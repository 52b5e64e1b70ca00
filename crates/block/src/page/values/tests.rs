use std::borrow::Cow;

use super::super::header::PageKind;
use super::*;

fn integers_of(body: &[u8], encoding: ValueEncoding, width: IntWidth, count: usize) -> Result<Vec<i64>, String> {
    let mut out = Vec::new();
    integers(body, encoding, width, Some(&[10, -20, 30]), count, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn doubles_of(body: &[u8], encoding: ValueEncoding, count: usize) -> Result<Vec<f64>, String> {
    let mut out = Vec::new();
    doubles(body, encoding, count, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

fn plain_strings(texts: &[&[u8]]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text].concat()).collect()
}

#[test]
fn plain_integers_have_the_width_of_their_type() {
    let four = [(-1i32).to_le_bytes(), 7i32.to_le_bytes()].concat();
    assert_eq!(integers_of(&four, ValueEncoding::Plain, IntWidth::Four, 2), Ok(vec![-1, 7]));
    let eight = [i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes()].concat();
    assert_eq!(integers_of(&eight, ValueEncoding::Plain, IntWidth::Eight, 2), Ok(vec![i64::MIN, i64::MAX]));
}

#[test]
fn too_few_plain_integers_are_an_error() {
    assert!(integers_of(&[0; 7], ValueEncoding::Plain, IntWidth::Eight, 1).is_err());
    assert!(integers_of(&[0; 7], ValueEncoding::Plain, IntWidth::Four, 2).is_err());
}

#[test]
fn dictionary_codes_are_looked_up() {
    // Two bits: codes 2, 0, 1 in a packed run.
    let body = [2, 3, 0b01_00_10, 0];
    assert_eq!(integers_of(&body, ValueEncoding::Dictionary, IntWidth::Eight, 3), Ok(vec![30, 10, -20]));
}

#[test]
fn a_code_beyond_the_dictionary_is_an_error() {
    let body = [2, 2, 3];
    assert_eq!(
        integers_of(&body, ValueEncoding::Dictionary, IntWidth::Eight, 1),
        Err("code 3 exceeds the dictionary of 3 values".into())
    );
}

#[test]
fn codes_without_a_dictionary_are_an_error() {
    let mut out = Vec::new();
    let read = integers(&[2, 2, 0], ValueEncoding::Dictionary, IntWidth::Eight, None, 1, &mut out);
    assert!(read.unwrap_err().to_string().contains("dictionary"));
}

#[test]
fn no_codes_need_no_bytes() {
    let mut out = Vec::new();
    dictionary_codes(&[], 0, &mut out).unwrap();
    assert!(out.is_empty());
    assert!(dictionary_codes(&[], 1, &mut out).is_err());
}

#[test]
fn integers_are_not_split_into_streams() {
    assert!(integers_of(&[0; 8], ValueEncoding::ByteStreamSplit, IntWidth::Eight, 1).is_err());
}

#[test]
fn doubles_keep_their_bits_in_both_encodings() {
    let values = [1.5, -0.0, f64::INFINITY, 5e-324];
    let plain: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let split: Vec<u8> = (0..8).flat_map(|k| values.iter().map(move |v| v.to_le_bytes()[k])).collect();
    for (body, encoding) in [(plain, ValueEncoding::Plain), (split, ValueEncoding::ByteStreamSplit)] {
        let found = doubles_of(&body, encoding, 4).unwrap();
        assert!(found.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits()), "{encoding:?}: {found:?}");
        assert!(doubles_of(&body[..31], encoding, 4).is_err());
    }
}

#[test]
fn doubles_have_no_dictionary() {
    assert!(doubles_of(&[0; 8], ValueEncoding::Dictionary, 1).is_err());
    assert!(doubles_of(&[0; 8], ValueEncoding::DeltaBinaryPacked, 1).is_err());
}

#[test]
fn strings_are_read_with_their_lengths() {
    let body = plain_strings(&[b"job", b"", "π".as_bytes()]);
    let found: Vec<String> = strings(&body, 3).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["job", "", "π"]);
}

#[test]
fn a_string_that_is_not_utf8_is_an_error() {
    assert_eq!(strings(&plain_strings(&[&[0xff]]), 1).unwrap_err().to_string(), "string is not UTF-8");
}

#[test]
fn more_strings_than_bytes_are_an_error() {
    assert!(strings(&[0; 7], 2).is_err());
    assert!(strings(&[0; 8], usize::MAX).is_err());
}

#[test]
fn a_truncated_string_is_an_error() {
    let body = plain_strings(&[b"job", b"instance"]);
    assert!(strings(&body[..body.len() - 1], 2).is_err());
}

#[test]
fn a_dictionary_page_holds_plain_integers() {
    let body: Vec<u8> = [5i64, -5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let page = RawPage {
        kind: PageKind::Dictionary,
        num_values: 2,
        encoding: ValueEncoding::Dictionary,
        body: Cow::Borrowed(&body),
    };
    assert_eq!(integer_dictionary(&page, IntWidth::Eight).unwrap(), [5, -5]);
}
