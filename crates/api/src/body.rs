//! Reads the bodies of requests, whose bytes are drawn from the account of memory as they arrive.

use axum::body::Body;
use http_body_util::BodyExt;
use pharos_model::Hold;

use crate::error::ApiError;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// The client sends more or fails, or there is no room for the body.
pub(crate) async fn read(mut body: Body, limit: usize, hold: &Hold) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_data(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if out.len() + data.len() > limit {
            return Err(ApiError::bad_data("length limit exceeded"));
        }
        hold.draw(data.len() as u64)?;
        out.extend_from_slice(data);
    }
    Ok(out)
}
