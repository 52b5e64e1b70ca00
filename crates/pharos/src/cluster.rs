//! `/api/v1/cluster`: how the cluster is, and what an operator does to it; any node answers. And `pharos cluster`, which asks it.
//!
//! [`status`], [`health`] and [`drain`] are pure functions over meta's view, [`api`] answers with them, [`command`] asks and
//! shows ([`text`]).

pub mod api;
pub mod command;
pub mod drain;
pub mod health;
pub mod progress;
pub mod status;
mod text;

pub use api::{Access, ClusterApi};
