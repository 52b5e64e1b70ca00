//! Pushes over HTTP: remote write 1.0 and 2.0, and OTLP.
//!
//! A request is read within limits, decoded into a batch whose memory is reused, and appended. The response follows once
//! its samples are durable. Handlers decode, call and encode. Decoders reject malformed series and histograms; the head
//! rejects samples that are too old or out of order.

#[doc(hidden)]
pub mod bench;
mod body;
mod buffers;
mod config;
mod decode;
mod error;
mod histogram;
mod inflight;
mod metrics;
mod otlp;
mod receiver;
mod remote_write;
mod series_labels;
#[cfg(test)]
mod testing;
mod wire;
mod write_v1;
mod write_v2;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

pub use config::ReceiveConfig;
pub use receiver::Receiver;

/// The routes of the protocols that are enabled.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let mut router = Router::new();
    if receiver.config.remote_write {
        router =
            router.route("/api/v1/write", post(remote_write::handle)).route("/api/v1/push", post(remote_write::handle));
    }
    if receiver.config.otlp {
        router = router.route("/api/v1/otlp/v1/metrics", post(otlp::handle));
    }
    router.with_state(receiver)
}
