//! The write-ahead log: numbered segment files in one directory.
//!
//! * A segment is self-contained: it declares every tenant and series that it mentions, and samples refer to their series by
//!   the number of the declaration. The oldest segments can therefore be deleted as soon as no sample in memory can have
//!   come from them. The log needs no checkpoints (INV-SEGMENT-ALONE).
//! * One thread writes and fsyncs everything that appends have queued since the previous round (group commit).
//! * Queued records stay queued until they are durable. After a failed write or fsync the segment is truncated to its
//!   durable length, and the same bytes are written again (INV-LOG-ORDER).
//! * Every round but the first of a segment begins with a record that says so: what precedes it was durable. A bad record
//!   is therefore damage if such a record follows it, and may be a torn write otherwise (INV-TORN-TAIL).
//! * A log that may lack acknowledged samples carries a marker (`incomplete`) until its owner has told everyone who relies on
//!   those samples.

mod commit;
mod damage;
pub(crate) mod incomplete;
pub(crate) mod lock;
mod log;
pub(crate) mod record;
pub mod repair;
pub(crate) mod replay;
pub(crate) mod segment;

pub use commit::Commit;
pub(crate) use log::{Log, LogConfig, Ticket};
pub use repair::{RepairReport, repair};
pub use replay::ReplayProgress;
