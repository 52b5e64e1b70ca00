//! Settings of the receivers.

use serde::Deserialize;

/// What may be sent and how much of it. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiveConfig {
    /// Answer remote write on `/api/v1/write` and `/api/v1/push` (default: true).
    pub remote_write: bool,
    /// Answer OTLP on `/api/v1/otlp/v1/metrics` (default: true).
    pub otlp: bool,
    /// Largest body as it is sent, usually compressed (default: 32 MiB).
    pub max_body_bytes: usize,
    /// Largest body after decompression (default: 32 MiB, as in Prometheus).
    pub max_decompressed_bytes: usize,
    /// Most memory that one decoded request may take (default: 256 MiB).
    pub max_decoded_bytes: usize,
    /// Most bytes of all requests that are being received and written; more is refused with 429 (default: 512 MiB).
    pub max_inflight_bytes: usize,
    /// What `Retry-After` says on 429 and 503, seconds (default: 5).
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
            max_inflight_bytes: 512 << 20,
            retry_after_seconds: 5,
        }
    }
}

/// Most that any single size may be set to: positions in a batch are 32 bits wide.
const MAX_SIZE: usize = 1 << 30;

impl ReceiveConfig {
    /// The settings with sizes no larger than can be handled (1 GiB for one request).
    pub(super) fn bounded(mut self) -> Self {
        for size in [&mut self.max_body_bytes, &mut self.max_decompressed_bytes, &mut self.max_decoded_bytes] {
            *size = (*size).min(MAX_SIZE);
        }
        self
    }
}
