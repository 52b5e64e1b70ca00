//! Object stores: built from settings, with one decorator a concern.

pub mod config;
pub mod counting;
pub mod retry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod conformance;

pub use config::ObjectStoreConfig;
pub use counting::{Counting, StoreMetrics};
pub use retry::{RetryPolicy, Retrying};
