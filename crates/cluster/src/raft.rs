//! The replicated log: openraft with its log, vote and snapshots on disk ([`disk`]), its state machine over the cluster's
//! state ([`machine`]) and its messages over gRPC ([`network`], [`service`]).

pub(crate) mod disk;
pub(crate) mod log_store;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod service;
pub(crate) mod types;

#[cfg(test)]
mod store_tests;
