//! The write-ahead log: numbered segment files in one directory.
//!
//! * A segment stands for itself: each tenant and series is declared in every segment that mentions it, and samples name
//!   their series by the number of the declaration. So the oldest segments can be removed as soon as no sample
//!   in memory can have come from them, without rewriting anything: the log needs no checkpoints.
//! * One thread writes and fsyncs what all appends have queued since the last time (group commit).
//! * What is queued stays queued until it is durable, whatever fails: a failed write or fsync cuts the segment back to its
//!   durable length and writes the same bytes again.
//! * A log that may lack what was acknowledged is marked (`incomplete`) until its owner has told those who count on it.

mod commit;
pub(crate) mod incomplete;
mod log;
pub(crate) mod record;
pub mod repair;
pub(crate) mod replay;
pub(crate) mod segment;

pub use commit::Commit;
pub(crate) use log::{Log, LogConfig};
pub use repair::{RepairReport, repair};
pub use replay::ReplayProgress;
