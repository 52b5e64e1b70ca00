//! The cluster as operators see it: the API `/api/v1/cluster`, which every node serves, and its client `pharos cluster`.
//!
//! [`status`], [`health`] and [`drain`] are pure functions over the view of the cluster. [`api`] serves their results;
//! [`command`] requests them and prints them as [`text`].

pub mod api;
pub mod command;
pub mod drain;
pub mod health;
pub mod progress;
pub mod status;
mod text;

pub use api::{Access, ClusterApi};
