//! The vocabulary that every crate shares: labels, matchers, samples, the batches that writes and reads consist of, time
//! ranges, shards, the series hash, budgets of queries, the account of memory and the clock.
//!
//! No I/O. The only futures are those of [`clock`], on which everything that waits depends.

#![forbid(unsafe_code)]

pub mod batch;
pub mod budget;
pub mod clock;
pub mod fragment;
pub mod hash;
pub mod labels;
pub mod limit;
pub mod matcher;
pub mod memory;
pub mod merge;
pub mod sample;
pub mod series_set;
pub mod shards;
pub mod tenant;
pub mod time;
pub mod wire;
pub mod write;

pub use batch::{SeriesBatch, SeriesView};
pub use budget::Budget;
pub use clock::{Clock, SystemClock};
pub use fragment::{Fragment, FragmentAnswer, FragmentError};
pub use hash::{SeriesHash, series_hash};
pub use labels::{Labels, LabelsBuilder};
pub use limit::Limit;
pub use matcher::{MatchOp, Matcher};
pub use memory::{Hold, MemoryAccount, MemoryFull, Purpose};
pub use merge::{MergedSet, Merger, Union};
pub use pharos_histogram::{CounterReset, Histogram, Span};
pub use sample::{Exemplar, Metadata, MetricType, STALE_NAN, Sample, is_stale_nan};
pub use series_set::{EmptySet, SelectError, SelectRequest, SeriesSet};
pub use shards::{BlockDigest, ShardDigest, ShardSet};
pub use tenant::TenantId;
pub use time::TimeRange;
pub use write::{RejectReason, WriteBatch, WriteError, WriteOutcome};

/// The label that carries a metric's name.
pub const METRIC_NAME: &str = "__name__";
