//! Reads request bodies and decompresses them, within limits that hold before memory is taken.

use std::io::Read;

use axum::body::Body;
use http_body_util::BodyExt;

use crate::error::ReceiveError;
use crate::inflight::Taken;

/// Reads a whole body into `out`. What is read counts against the requests in flight.
pub(super) async fn read(
    mut body: Body,
    limit: usize,
    taken: &mut Taken,
    out: &mut Vec<u8>,
) -> Result<(), ReceiveError> {
    out.clear();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReceiveError::BadRequest(format!("the body cannot be read: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if out.len() + data.len() > limit {
            return Err(ReceiveError::BodyTooLarge(format!("request body exceeds the {limit} bytes limit")));
        }
        taken.take(data.len())?;
        out.extend_from_slice(data);
    }
    Ok(())
}

/// No snappy block decompresses to more than this many times its size: three bytes copy at most 64.
const SNAPPY_MAX_RATIO: usize = 22;

/// Decompresses a snappy block into `out`, of which the result is a part. The length that the block declares is
/// checked before any memory is taken for it.
pub(super) fn snappy<'o>(
    block: &[u8],
    limit: usize,
    taken: &mut Taken,
    out: &'o mut Vec<u8>,
) -> Result<&'o [u8], ReceiveError> {
    let bad = |error: snap::Error| ReceiveError::BadRequest(format!("snappy: corrupt input: {error}"));
    let declared = snap::raw::decompress_len(block).map_err(bad)?;
    if declared > limit {
        return Err(ReceiveError::BadRequest(format!("decoded size exceeds the {limit} bytes limit")));
    }
    if declared > block.len() * SNAPPY_MAX_RATIO {
        let text = format!("snappy: corrupt input: {} bytes cannot decompress to {declared}", block.len());
        return Err(ReceiveError::BadRequest(text));
    }
    taken.take(declared)?;
    if out.len() < declared {
        out.resize(declared, 0);
    }
    let written = snap::raw::Decoder::new().decompress(block, &mut out[..declared]).map_err(bad)?;
    Ok(&out[..written])
}

/// Decompresses gzip into `out`, which grows with what is really there, up to the limit.
pub(super) fn gzip(compressed: &[u8], limit: usize, taken: &mut Taken, out: &mut Vec<u8>) -> Result<(), ReceiveError> {
    /// Bytes that are decompressed at a time.
    const STEP: usize = 64 << 10;
    out.clear();
    let mut decoder = flate2::read::MultiGzDecoder::new(compressed);
    loop {
        let before = out.len();
        taken.take(STEP)?;
        let step = decoder.by_ref().take(STEP as u64).read_to_end(out);
        step.map_err(|error| ReceiveError::BadRequest(format!("gzip: corrupt input: {error}")))?;
        if out.len() > limit {
            return Err(ReceiveError::BadRequest(format!("decoded size exceeds the {limit} bytes limit")));
        }
        if out.len() == before {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
