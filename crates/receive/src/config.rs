//! The settings of a receiver.

use serde::Deserialize;

/// The enabled protocols and their limits. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiveConfig {
    /// Whether to serve remote write on `/api/v1/write` and `/api/v1/push` (default: true).
    pub remote_write: bool,
    /// Whether to serve OTLP on `/api/v1/otlp/v1/metrics` (default: true).
    pub otlp: bool,
    /// The limit on a body as it is sent, usually compressed (default: 32 MiB).
    pub max_body_bytes: usize,
    /// The limit on a decompressed body (default: 32 MiB, as in Prometheus).
    pub max_decompressed_bytes: usize,
    /// The limit on the memory of one decoded request (default: 256 MiB).
    pub max_decoded_bytes: usize,
    /// The value of `Retry-After` with status 429 and 503, seconds (default: 5).
    pub retry_after_seconds: u32,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        ReceiveConfig {
            remote_write: true,
            otlp: true,
            max_body_bytes: 32 << 20,
            max_decompressed_bytes: 32 << 20,
            max_decoded_bytes: 256 << 20,
            retry_after_seconds: 5,
        }
    }
}

/// The upper bound of every limit on a single request: positions in a batch have 32 bits.
const MAX_SIZE: usize = 1 << 30;

impl ReceiveConfig {
    /// The settings with limits that a batch can handle: at most 1 GiB for one request.
    pub(super) fn bounded(mut self) -> Self {
        for size in [&mut self.max_body_bytes, &mut self.max_decompressed_bytes, &mut self.max_decoded_bytes] {
            *size = (*size).min(MAX_SIZE);
        }
        self
    }
}
