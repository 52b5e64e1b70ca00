//! The newest samples in memory with their write-ahead log: series index, out-of-order window, replay, window cutting.
//!
//! [`Head`] is the whole of it. A batch is appended to memory and to the log's queue under the lock of its tenant, so
//! memory and log always agree on the order; its [`Commit`] resolves when the log is fsynced. Readers hold a series only
//! while they decode it. Windows are cut, flushed and dropped by the caller (see [`Head::cut`]).
//! There is no async runtime: the log has one thread, everything else runs on the caller's.

mod append;
mod chunk;
mod config;
mod cut;
mod digest;
mod drop;
mod error;
mod exemplars;
mod export;
pub mod fs;
mod head;
mod index;
mod metrics;
mod read;
mod restore;
mod select;
mod series;
mod slices;
mod tenant;
pub mod wal;
mod window;

pub use append::Only;
pub use config::{HeadConfig, SettingsByTenant, TenantLimits, TenantSettings};
pub use cut::{CutSeries, WindowCut};
pub use digest::{HeldDigest, WindowDigest};
pub use error::HeadError;
pub use exemplars::SeriesExemplars;
pub use export::Export;
pub use head::Head;
pub use read::{HeadStats, LabelCount};
pub use select::HeadFilter;
pub use slices::{HeldSlices, SameSlices};
pub use wal::{Commit, ReplayProgress};
pub use window::{ShardWindow, WindowInfo};
