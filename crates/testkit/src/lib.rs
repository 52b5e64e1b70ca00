//! Fakes that the tests of several crates share. A dev-dependency only.
//!
//! | fake | stands for |
//! |---|---|
//! | [`FakeNetwork`] | the connections between nodes; addresses can be cut off |
//! | [`MemorySeries`] | a set of series with their samples |
//! | [`MemorySource`] | a role that holds samples; records what it is asked and fails on demand |
//! | [`ManualClock`] | the time |
//! | [`Rng`] | chance, the same for the same seed |
//!
//! The crates below this one, `model` and `transport`, cannot use it in their unit tests: their types would exist twice,
//! once with and once without `cfg(test)`.

#![forbid(unsafe_code)]

mod network;
mod rng;
mod series;
mod source;

pub use network::FakeNetwork;
pub use pharos_model::clock::ManualClock;
pub use rng::Rng;
pub use series::{FloatSeries, MemorySeries, floats_of};
pub use source::MemorySource;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, SystemClock};

/// A budget for one query: a minute, and any amount of memory.
pub fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(Arc::new(SystemClock::new()), Duration::from_secs(60), u64::MAX))
}

/// Makes blocking calls from an asynchronous test, on a thread that may block, as the engine does.
///
/// # Panics
/// The work panics, for example because an assertion in it fails.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
