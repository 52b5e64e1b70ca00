//! The vocabulary that every crate shares: labels, matchers, samples, native histograms, batches of both directions,
//! time ranges, the series hash and the clock. No I/O and no async.

pub mod batch;
pub mod budget;
pub mod clock;
pub mod duration;
pub mod fragment;
mod go_regex;
pub mod hash;
pub mod histogram;
pub mod labels;
pub mod matcher;
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
pub use go_regex::{GoRegex, RegexError};
pub use hash::{SeriesHash, series_hash};
pub use histogram::{CounterReset, Histogram, Span};
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use merge::MergedSet;
pub use sample::{Exemplar, Metadata, MetricType, STALE_NAN, Sample, is_stale_nan};
pub use series_set::{SelectError, SelectRequest, SeriesSet};
pub use shards::{BlockDigest, ShardDigest, ShardSet};
pub use tenant::TenantId;
pub use time::TimeRange;
pub use write::{RejectReason, WriteBatch, WriteError, WriteOutcome};

/// The label that carries a metric's name.
pub const METRIC_NAME: &str = "__name__";
