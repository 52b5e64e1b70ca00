//! Who owns what and which blocks exist: the cluster's state machine, the group that agrees on it, and where shards go.
//!
//! [`state::ClusterState`] is pure: commands go in, a changed state comes out; [`catalogue::Catalogue`] is its part about
//! blocks. Raft brings the same commands to every node of the group in the same order, and [`Meta`] is the one handle for
//! all roles: a numbered [`View`] to read and to watch, and [`Meta::propose`]. [`placement`] says, purely, where shards
//! should be; the leader carries that out.
//!
//! A command on its way: `propose` (any node) → the leader's log → a majority's disks → the state machine of every node →
//! the feed, from which watchers here and followers elsewhere see it.

mod backend;
mod bootstrap;
pub mod catalogue;
pub mod codec;
mod config;
mod error;
pub mod export;
mod feed;
mod follow;
mod group;
mod heartbeat_task;
pub mod heartbeats;
mod leader;
mod meta;
pub mod placement;
mod raft;
mod reads;
mod remote;
mod service;
pub mod state;
mod view;
mod voters;

pub use catalogue::{BlockEntry, Catalogue, CatalogueCommand, CutId, Deletion, TenantCatalogue};
pub use config::{BootstrapMode, MetaComponents, MetaConfig, Timing};
pub use error::MetaError;
pub use meta::{GroupStatus, Meta, Outcome};
pub use raft::types::raft_id;
pub use state::{
    Assignment, ClusterState, Command, DEFAULT_WEIGHT, HANDOFF_MS, Learner, Lease, Member, MemberState, Placement,
    Refusal, Response, Role, Settings, Shard,
};
pub use view::View;

#[cfg(test)]
mod cluster_tests;
