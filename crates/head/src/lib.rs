//! The newest samples in memory with their write-ahead log: series index, out-of-order window, replay, window cutting.
//!
//! [`Head`] is the entry point. A batch is appended to memory and to the log's queue under the lock of its tenant, so memory
//! and log always agree on the order. The [`Commit`] of a batch resolves once the log is fsynced. Readers lock a series only
//! while they decode it.
//!
//! The caller decides when a window leaves memory: it cuts the window ([`Head::cut`]), commits a block of the cut, marks
//! the cut as flushed ([`Head::mark_flushed`]) and evicts it later ([`Head::evict_flushed`]).
//!
//! No async runtime is involved. The log has one thread; everything else runs on the threads of the callers.

#![forbid(unsafe_code)]

mod append;
mod chunk;
mod config;
mod contents;
mod control;
mod cut;
mod digest;
mod error;
mod eviction;
mod exemplars;
mod export;
mod families;
pub mod fs;
mod head;
mod index;
mod metrics;
mod read;
mod restore;
mod retract;
mod select;
mod series;
mod shard_stats;
mod tenant;
mod tenants;
mod time_digests;
mod trim;
pub mod wal;
mod window;

pub use append::{AppendError, AppendOutcome, AppendTargets};
pub use config::{HeadConfig, SettingsByTenant, TenantLimits, TenantSettings};
pub use cut::{CutSeries, WindowCut};
pub use digest::{HeldDigest, WindowDigest};
pub use error::HeadError;
pub use exemplars::SeriesExemplars;
pub use export::Export;
pub use head::Head;
pub use read::{HeadStats, LabelCount};
pub use shard_stats::{LabelValues, ShardStats};
pub use time_digests::{Intervals, TimeDigests};
pub use wal::{Commit, ReplayProgress};
pub use window::{ShardWindow, WindowInfo};
