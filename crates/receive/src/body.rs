//! Reads and decompresses request bodies. Every limit is checked before memory is allocated.

use std::io::Read;

use axum::body::Body;
use http_body_util::BodyExt;
use pharos_model::Hold;

use crate::error::ReceiveError;

/// Reads a body into `out`. Its bytes count as in flight.
pub(super) async fn read(mut body: Body, limit: usize, hold: &Hold, out: &mut Vec<u8>) -> Result<(), ReceiveError> {
    out.clear();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ReceiveError::BadRequest(format!("could not read the request body: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if out.len() + data.len() > limit {
            return Err(ReceiveError::BodyTooLarge(format!(
                "request body exceeds the {limit} bytes limit (limits.max_request_size)"
            )));
        }
        hold.draw(data.len() as u64)?;
        out.extend_from_slice(data);
    }
    Ok(())
}

/// The upper bound on the compression ratio of snappy: three bytes copy at most 64.
const MAX_SNAPPY_RATIO: usize = 22;

/// Decompresses a snappy block into `out` and returns the part that it fills. The length that the block declares is checked
/// before any memory is allocated.
pub(super) fn snappy<'o>(
    block: &[u8],
    limit: usize,
    hold: &Hold,
    out: &'o mut Vec<u8>,
) -> Result<&'o [u8], ReceiveError> {
    let bad = |error: snap::Error| ReceiveError::BadRequest(format!("snappy: corrupt input: {error}"));
    let declared = snap::raw::decompress_len(block).map_err(bad)?;
    if declared > limit {
        return Err(ReceiveError::BadRequest(format!(
            "decoded size exceeds the {limit} bytes limit (limits.max_decompressed_request_size)"
        )));
    }
    if declared > block.len() * MAX_SNAPPY_RATIO {
        let text = format!("snappy: corrupt input: {} bytes cannot decompress to {declared}", block.len());
        return Err(ReceiveError::BadRequest(text));
    }
    hold.draw(declared as u64)?;
    if out.len() < declared {
        out.resize(declared, 0);
    }
    let written = snap::raw::Decoder::new().decompress(block, &mut out[..declared]).map_err(bad)?;
    Ok(&out[..written])
}

/// Decompresses gzip into `out`, which grows with the actual size up to the limit.
pub(super) fn gzip(compressed: &[u8], limit: usize, hold: &Hold, out: &mut Vec<u8>) -> Result<(), ReceiveError> {
    /// The number of bytes that are decompressed at a time.
    const STEP: usize = 64 << 10;
    out.clear();
    let mut decoder = flate2::read::MultiGzDecoder::new(compressed);
    loop {
        let before = out.len();
        hold.draw(STEP as u64)?;
        let step = decoder.by_ref().take(STEP as u64).read_to_end(out);
        step.map_err(|error| ReceiveError::BadRequest(format!("gzip: corrupt input: {error}")))?;
        if out.len() > limit {
            return Err(ReceiveError::BadRequest(format!(
                "decoded size exceeds the {limit} bytes limit (limits.max_decompressed_request_size)"
            )));
        }
        if out.len() == before {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
