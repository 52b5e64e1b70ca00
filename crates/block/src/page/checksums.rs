//! Checksums of pages, since the Parquet library writes none: CRC-32 of each page with its header, in the order of the
//! file, in the footer under [`CHECKSUMS_KEY`]. The checksum of the footer itself is in the catalogue, so every byte that is
//! read is checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::header::page_length;
use super::{PageError, bad};

/// The footer key under which the checksums are.
pub(crate) const CHECKSUMS_KEY: &str = "pharos.crc32";

/// The checksums of the pages in `bytes`, which are column chunks without a gap.
pub(crate) fn checksums_of(mut bytes: &[u8], out: &mut Vec<u32>) -> Result<(), PageError> {
    while !bytes.is_empty() {
        let (page, rest) = bytes.split_at(page_length(bytes)?);
        out.push(crc32fast::hash(page));
        bytes = rest;
    }
    Ok(())
}

/// The text of the footer.
pub(crate) fn encode(sums: &[u32]) -> String {
    BASE64.encode(sums.iter().flat_map(|sum| sum.to_le_bytes()).collect::<Vec<u8>>())
}

/// Reads the text of the footer, of a file with so many pages.
pub(crate) fn decode(text: &str, pages: usize) -> Result<Vec<u32>, PageError> {
    let bytes = BASE64.decode(text).map_err(|e| PageError(format!("checksums: {e}")))?;
    let (sums, rest) = bytes.as_chunks::<4>();
    if sums.len() != pages || !rest.is_empty() {
        return bad(format!("{} bytes of checksums for {pages} pages", bytes.len()));
    }
    Ok(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect())
}

/// Whether bytes have a checksum, where one is known. Fuzzing looks behind checksums, so there all do.
#[inline]
pub(crate) fn matches(bytes: &[u8], sum: Option<u32>) -> bool {
    cfg!(fuzzing) || sum.is_none_or(|sum| crc32fast::hash(bytes) == sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_round_trip_and_their_number_is_that_of_the_pages() {
        let sums = [0, 1, u32::MAX];
        assert_eq!(decode(&encode(&sums), 3).unwrap(), sums);
        assert!(decode(&encode(&sums), 2).is_err());
        assert!(decode("AAA=", 0).is_err() && decode("?", 1).is_err());
        assert!(matches(b"x", Some(crc32fast::hash(b"x"))) && matches(b"x", None) && !matches(b"x", Some(1)));
    }
}
