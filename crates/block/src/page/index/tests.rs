use super::*;

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzagged = ((value << 1) ^ (value >> 63)) as u64;
    while zigzagged >= 0x80 {
        out.push(zigzagged as u8 | 0x80);
        zigzagged >>= 7;
    }
    out.push(zigzagged as u8);
}

/// An offset index in Thrift's compact protocol; pages are offset, size and first row.
fn index(pages: &[(i64, i64, i64)]) -> Vec<u8> {
    let mut out = vec![0x19];
    match pages.len() {
        few @ 0..15 => out.push((few as u8) << 4 | 12),
        many => out.extend([0xfc, many as u8]),
    }
    for (offset, size, first_row) in pages {
        out.push(0x16);
        put_varint(&mut out, *offset);
        out.push(0x15);
        put_varint(&mut out, *size);
        out.push(0x16);
        put_varint(&mut out, *first_row);
        out.push(0);
    }
    out.push(0);
    out
}

fn error_of(pages: &[(i64, i64, i64)]) -> String {
    offset_index(&index(pages), 100, 1000).unwrap_err().to_string()
}

#[test]
fn pages_are_located() {
    let pages = offset_index(&index(&[(4, 10, 0), (14, 20, 50)]), 100, 1000).unwrap();
    let first = PageLocation { offset: 4, size: 10, first_row: 0, crc: None };
    assert_eq!(pages, [first, PageLocation { offset: 14, size: 20, first_row: 50, crc: None }]);
}

#[test]
fn an_index_may_have_any_number_of_pages() {
    for n in [0, 1, 14, 15, 90] {
        let pages: Vec<_> = (0..n).map(|at| (at * 10, 10, at)).collect();
        assert_eq!(offset_index(&index(&pages), 100, 1000).unwrap().len(), n as usize);
    }
}

#[test]
fn pages_out_of_order_are_an_error() {
    for pages in [
        [(4, 10, 0), (14, 10, 0)],
        [(4, 10, 0), (13, 10, 50)],
        [(14, 10, 0), (4, 10, 50)],
        [(4, 10, 1), (14, 10, 50)],
        [(4, 10, 0), (14, 10, 100)],
    ] {
        assert_eq!(error_of(&pages), "offset index is out of order", "{pages:?}");
    }
}

#[test]
fn pages_beyond_the_end_are_an_error() {
    assert!(error_of(&[(991, 10, 0)]).contains("ends beyond 1000"));
    assert!(error_of(&[(i64::MAX, 10, 0)]).contains("ends beyond 1000"));
}

#[test]
fn a_page_beyond_the_size_limit_is_an_error() {
    let size = super::super::MAX_PAGE_BYTES as i64 + 1;
    assert!(offset_index(&index(&[(0, size, 0)]), 100, u64::MAX).is_err());
}

#[test]
fn negative_numbers_are_an_error() {
    for page in [(-1, 10, 0), (4, -1, 0), (4, 10, -1)] {
        assert!(error_of(&[page]).contains("impossible page"), "{page:?}");
    }
}

#[test]
fn more_pages_than_bytes_are_an_error() {
    let bytes = [0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f];
    assert!(offset_index(&bytes, 100, 1000).unwrap_err().to_string().contains("claims"));
}

#[test]
fn truncated_bytes_are_an_error() {
    let bytes = index(&[(4, 10, 0), (14, 20, 50)]);
    for len in 0..bytes.len() {
        assert!(offset_index(&bytes[..len], 100, 1000).is_err(), "{len} bytes");
    }
}

#[test]
fn a_struct_is_checked_to_its_end() {
    assert!(check_struct(&index(&[(4, 10, 0)])).is_ok());
    assert!(check_struct(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f]).is_err());
    assert!(check_struct(&[]).is_err());
}
