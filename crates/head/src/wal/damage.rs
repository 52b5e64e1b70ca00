//! Tells damage from a torn write, by the durable records behind a bad one.

use std::io::{ErrorKind, Read, Result};

use super::record::{DURABLE_BYTES, put_durable};

/// How much of a file is searched at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Where a segment has a durable record behind `offset`, if anywhere. What precedes it was durable once, so that a bad record
/// at `offset` is not a torn write.
pub(crate) fn durable_behind(mut file: Box<dyn Read + Send>, offset: u64) -> Result<Option<u64>> {
    let mut piece = Vec::new();
    let mut record = Vec::new();
    // The offset of the piece in the file.
    let mut from = 0;
    loop {
        let kept = piece.len();
        piece.resize(kept + PIECE_BYTES, 0);
        let read = fill(&mut *file, &mut piece[kept..])?;
        piece.truncate(kept + read);
        for (at, bytes) in (from..).zip(piece.windows(DURABLE_BYTES)).skip_while(|(at, _)| *at <= offset) {
            // The offset in the record is its own, so that few places are worth a comparison.
            if bytes[DURABLE_BYTES - 8..] == at.to_le_bytes() {
                record.clear();
                put_durable(&mut record, at);
                if bytes == record {
                    return Ok(Some(at));
                }
            }
        }
        if read == 0 {
            return Ok(None);
        }
        let searched = (piece.len() + 1).saturating_sub(DURABLE_BYTES);
        piece.drain(..searched);
        from += searched as u64;
    }
}

/// Reads until the buffer is full or the file ends; returns how many bytes were read.
fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file_with_records_at(len: usize, offsets: &[usize]) -> Box<dyn Read + Send> {
        let mut bytes = vec![7; len];
        for &offset in offsets {
            let mut record = Vec::new();
            put_durable(&mut record, offset as u64);
            bytes[offset..offset + DURABLE_BYTES].copy_from_slice(&record);
        }
        Box::new(Cursor::new(bytes))
    }

    #[test]
    fn a_durable_record_is_found_wherever_it_is() {
        let len = 2 * PIECE_BYTES + 500;
        for at in [1, 99, PIECE_BYTES - DURABLE_BYTES, PIECE_BYTES - 3, PIECE_BYTES, len - DURABLE_BYTES] {
            let found = durable_behind(file_with_records_at(len, &[at]), 0).unwrap();
            assert_eq!(found, Some(at as u64));
        }
    }

    #[test]
    fn only_records_behind_the_offset_count() {
        assert_eq!(durable_behind(file_with_records_at(500, &[100]), 100).unwrap(), None);
        assert_eq!(durable_behind(file_with_records_at(500, &[100, 300]), 100).unwrap(), Some(300));
    }

    #[test]
    fn a_record_that_names_another_offset_does_not_count() {
        let mut bytes = vec![0; 300];
        let mut record = Vec::new();
        put_durable(&mut record, 101);
        bytes[100..100 + DURABLE_BYTES].copy_from_slice(&record);
        assert_eq!(durable_behind(Box::new(Cursor::new(bytes)), 0).unwrap(), None);
    }

    #[test]
    fn a_damaged_durable_record_does_not_count() {
        for at in 100..100 + DURABLE_BYTES {
            let mut bytes = Vec::new();
            file_with_records_at(300, &[100]).read_to_end(&mut bytes).unwrap();
            bytes[at] ^= 1;
            assert_eq!(durable_behind(Box::new(Cursor::new(bytes)), 0).unwrap(), None);
        }
    }
}
