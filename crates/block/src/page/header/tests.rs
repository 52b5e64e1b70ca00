use super::*;

/// Encodes an integer field of Thrift's compact protocol. `delta` is its distance from the previous field's number.
fn int(delta: u8, value: i64) -> Vec<u8> {
    let mut out = vec![delta << 4 | 5];
    let mut zigzagged = ((value << 1) ^ (value >> 63)) as u64;
    while zigzagged >= 0x80 {
        out.push(zigzagged as u8 | 0x80);
        zigzagged >>= 7;
    }
    out.push(zigzagged as u8);
    out
}

struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    num_values: i64,
    encoding: i64,
}

const DATA: Header = Header { kind: 0, uncompressed: 4, compressed: 4, num_values: 1, encoding: 0 };

impl Header {
    fn encode(&self) -> Vec<u8> {
        // Field 5 describes a data page, field 7 a dictionary page.
        let delta = if self.kind == 2 { 4 } else { 2 };
        let inner = [int(1, self.num_values), int(1, self.encoding), vec![0]].concat();
        [int(1, self.kind), int(1, self.uncompressed), int(1, self.compressed), vec![delta << 4 | 12], inner, vec![0]]
            .concat()
    }

    fn page(&self, body: &[u8]) -> Vec<u8> {
        [self.encode(), body.to_vec()].concat()
    }
}

fn error_of(page: &[u8]) -> String {
    parse_page(page, false).unwrap_err().to_string()
}

#[test]
fn a_plain_data_page_is_parsed() {
    let bytes = DATA.page(b"body and more");
    let page = parse_page(&bytes, false).unwrap();
    assert_eq!(page.kind, PageKind::Data);
    assert_eq!(page.num_values, 1);
    assert_eq!(page.encoding, ValueEncoding::Plain);
    assert_eq!(&page.body[..], b"body");
}

#[test]
fn a_dictionary_page_is_parsed() {
    let bytes = Header { kind: 2, ..DATA }.page(b"body");
    assert_eq!(parse_page(&bytes, false).unwrap().kind, PageKind::Dictionary);
}

#[test]
fn a_compressed_body_is_decompressed() {
    let body = zstd::bulk::compress(&[7u8; 1000], 1).unwrap();
    let header = Header { uncompressed: 1000, compressed: body.len() as i64, ..DATA };
    assert_eq!(&parse_page(&header.page(&body), true).unwrap().body[..], [7u8; 1000]);
}

#[test]
fn an_empty_body_may_have_a_compressed_form() {
    let header = Header { uncompressed: 0, compressed: 4, ..DATA };
    assert!(parse_page(&header.page(b"junk"), true).unwrap().body.is_empty());
}

#[test]
fn a_body_that_is_not_the_claimed_size_is_an_error() {
    let body = zstd::bulk::compress(&[7u8; 1000], 1).unwrap();
    let header = Header { uncompressed: 1001, compressed: body.len() as i64, ..DATA };
    assert!(parse_page(&header.page(&body), true).unwrap_err().to_string().contains("instead of 1001"));
    let header = Header { uncompressed: 999, ..header };
    assert!(parse_page(&header.page(&body), true).unwrap_err().to_string().contains("zstd"));
    assert!(error_of(&Header { uncompressed: 5, ..DATA }.page(b"body")).contains("instead of 5"));
}

#[test]
fn encodings_are_numbered_as_in_parquet() {
    for (number, encoding) in [
        (0, ValueEncoding::Plain),
        (2, ValueEncoding::Dictionary),
        (8, ValueEncoding::Dictionary),
        (5, ValueEncoding::DeltaBinaryPacked),
        (9, ValueEncoding::ByteStreamSplit),
    ] {
        assert_eq!(parse_page(&Header { encoding: number, ..DATA }.page(b"body"), false).unwrap().encoding, encoding);
    }
    assert!(error_of(&Header { encoding: 6, ..DATA }.page(b"body")).contains("encoding"));
}

#[test]
fn other_kinds_of_pages_are_errors() {
    for kind in [-1, 1, 3] {
        assert!(error_of(&Header { kind, ..DATA }.page(b"body")).contains("page type"));
    }
}

#[test]
fn sizes_out_of_range_are_errors() {
    let most = MAX_PAGE_BYTES as i64 + 1;
    for header in [
        Header { num_values: MAX_PAGE_VALUES as i64 + 1, ..DATA },
        Header { num_values: -1, ..DATA },
        Header { uncompressed: most, ..DATA },
        Header { compressed: most, ..DATA },
        Header { compressed: -4, ..DATA },
    ] {
        assert!(error_of(&header.page(b"body")).contains("is not between"));
    }
}

#[test]
fn a_truncated_page_is_an_error() {
    let bytes = DATA.page(b"body");
    for len in 0..bytes.len() {
        assert!(parse_page(&bytes[..len], false).is_err(), "{len} bytes");
        assert!(page_length(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn the_length_of_a_page_includes_its_header() {
    let bytes = DATA.page(b"body");
    assert_eq!(page_length(&[&bytes[..], b"the next page"].concat()).unwrap(), bytes.len());
}

#[test]
fn missing_fields_are_errors() {
    assert!(parse_page(&[0], false).is_err());
    assert!(page_length(&[0]).is_err());
}

#[test]
fn unknown_fields_are_skipped() {
    // A boolean, a byte, a double, a string and a list of two integers, in fields 9 to 13.
    let unknown =
        [&[0x41][..], &[0x13, 7], &[0x17, 0, 0, 0, 0, 0, 0, 0, 0], &[0x18, 2, b'h', b'i'], &[0x19, 0x25, 2, 4]];
    let mut header = DATA.encode();
    header.pop();
    let bytes = [header, unknown.concat(), vec![0], b"body".to_vec()].concat();
    assert_eq!(&parse_page(&bytes, false).unwrap().body[..], b"body");
}

#[test]
fn a_list_that_claims_more_than_there_is_is_an_error() {
    let mut bytes = &[0xf5, 0xff, 0xff, 0xff, 0x7f][..];
    assert_eq!(skip(&mut bytes, 9, 0).unwrap_err().to_string(), "a list in metadata is truncated");
}

#[test]
fn metadata_nested_too_deeply_is_an_error() {
    // A struct in a struct in a struct.
    let nested = [0x1c; 100];
    assert_eq!(skip(&mut &nested[..], 12, 0).unwrap_err().to_string(), "metadata is nested too deeply");
}

#[test]
fn a_field_of_an_unknown_type_is_an_error() {
    assert!(skip(&mut &[0][..], 13, 0).is_err());
}
