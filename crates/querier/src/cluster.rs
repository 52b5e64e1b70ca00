//! Reads in a cluster: recent samples of each shard from one in-sync replica, blocks of each time range from one store.
//!
//! [`route`] decides, purely and from a view, which node reads what. [`dispatch`] sends the reads, and sends them to other
//! nodes when one fails or is slow. [`cluster_query`] merges the responses of a query. [`fragments`] evaluates parts of a
//! query where the samples are. [`small`] remembers which queries are worth few requests. [`timing`] measures it all for
//! `analyze`. A query keeps the view that it began with, which [`view_proof`] proves to be current; nodes answer under that
//! view or refuse.
//!
//! None of this runs on the only node that holds samples: [`Cluster::alone`] gives its roles to the fan-out directly.

mod cluster_query;
mod dispatch;
mod failover;
mod failure;
mod fragments;
mod health;
mod node;
mod nodes;
mod route;
mod small;
mod timing;
mod view_proof;

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;

pub(crate) use cluster_query::{ClusterQuery, DEFAULT_TIMEOUT};
pub(crate) use fragments::Evaluation;
pub use nodes::ClusterParts;
pub(crate) use nodes::{Cluster, read_view};
pub use timing::{NodeTiming, QueryTiming};
pub(crate) use view_proof::ViewProof;
