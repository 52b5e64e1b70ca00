//! Pushes over HTTP: remote write 1.0 and 2.0, and OTLP.
//!
//! A request is read within limits, decoded into a batch whose memory is reused, and appended. The response follows once
//! its samples are durable. Handlers decode, call and encode. Decoders reject malformed series and histograms; the head
//! rejects samples that are too old or out of order.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod bench;
mod body;
mod buffers;
mod config;
mod decode;
mod error;
mod histogram;
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
use axum::http::StatusCode;
use axum::routing::post;

pub use config::ReceiveConfig;
pub use receiver::Receiver;

/// The routes of the protocols. Those of a protocol that is disabled say which flag enables it.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let disabled = |flag: &'static str| post(move || async move { (StatusCode::NOT_FOUND, flag) });
    let remote_write = || match receiver.config.remote_write {
        true => post(remote_write::handle),
        false => disabled("remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n"),
    };
    let otlp = match receiver.config.otlp {
        true => post(otlp::handle),
        false => disabled("otlp write receiver needs to be enabled with --web.enable-otlp-receiver\n"),
    };
    Router::new()
        .route("/api/v1/write", remote_write())
        .route("/api/v1/push", remote_write())
        .route("/api/v1/otlp/v1/metrics", otlp)
        .with_state(receiver)
}
