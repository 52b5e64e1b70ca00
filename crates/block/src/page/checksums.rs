//! Checksums of pages, which the Parquet library does not write: CRC-32 of every page including its header, in file order, in
//! the footer under [`CHECKSUMS_KEY`]. The catalogue has the checksum of the footer itself, so every byte is verified when it
//! is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::header::page_length;
use super::{PageError, bad};

/// The footer key of the checksums.
pub(crate) const CHECKSUMS_KEY: &str = "pharos.crc32";

/// Appends the checksums of the pages in `bytes`, which are column chunks without gaps.
pub(crate) fn checksums_of(mut bytes: &[u8], out: &mut Vec<u32>) -> Result<(), PageError> {
    while !bytes.is_empty() {
        let (page, rest) = bytes.split_at(page_length(bytes)?);
        out.push(crc32fast::hash(page));
        bytes = rest;
    }
    Ok(())
}

/// Encodes checksums for the footer.
pub(crate) fn encode(checksums: &[u32]) -> String {
    BASE64.encode(checksums.iter().flat_map(|checksum| checksum.to_le_bytes()).collect::<Vec<u8>>())
}

/// Decodes the checksums of a file with `pages` pages.
pub(crate) fn decode(text: &str, pages: usize) -> Result<Vec<u32>, PageError> {
    let bytes = BASE64.decode(text).map_err(|e| PageError(format!("checksums: {e}")))?;
    let (checksums, rest) = bytes.as_chunks::<4>();
    if checksums.len() != pages || !rest.is_empty() {
        return bad(format!("{} bytes of checksums for {pages} pages", bytes.len()));
    }
    Ok(checksums.iter().map(|checksum| u32::from_le_bytes(*checksum)).collect())
}

/// Whether bytes match their checksum, if it is known. Always true when fuzzing, to reach what checksums protect.
#[inline]
pub(crate) fn matches(bytes: &[u8], checksum: Option<u32>) -> bool {
    cfg!(fuzzing) || checksum.is_none_or(|checksum| crc32fast::hash(bytes) == checksum)
}

#[cfg(test)]
mod tests;
