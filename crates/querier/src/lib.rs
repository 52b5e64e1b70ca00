//! Answers queries over whatever holds samples: the sources of this process, or the nodes of a cluster.
//!
//! [`fanout`] merges the sources of one process and hides whether a cluster answers instead; [`cluster`] routes each shard
//! and each time range to one node and fails over. Before that, [`admission`] grants queries the right to run: [`queue`] is
//! fair among tenants, [`registry`] lists the queries in flight and cancels them, [`limits`] says what they may cost.
//! This crate knows nothing of HTTP.

#![forbid(unsafe_code)]

pub mod admission;
mod clip;
pub mod cluster;
pub mod fanout;
pub mod features;
pub mod limits;
pub mod metrics;
pub mod queue;
pub mod registry;
pub mod stale;

pub use admission::{Admission, AdmissionError, IsKnown};
pub use cluster::{ClusterParts, NodeTiming, QueryTiming};
pub use fanout::{Fanout, TenantQuerier};
pub use features::{FeatureDisabled, QueryFeatures};
pub use limits::{LimitsByTenant, QueryLimits};
pub use metrics::{DispatchMetrics, QueryMetrics};
pub use stale::{StaleReads, StaleView};
