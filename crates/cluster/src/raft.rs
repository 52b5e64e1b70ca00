//! The replicated log: openraft with its log, vote and snapshots on disk ([`disk`]), a state machine over the cluster state
//! ([`machine`]), and messages over gRPC ([`network`] sends, [`service`] receives).

pub(crate) mod disk;
pub(crate) mod log_store;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod service;
pub(crate) mod types;

#[cfg(test)]
mod store_tests;
