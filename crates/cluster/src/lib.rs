//! What the cluster agrees on: its members, who holds which shard, which blocks exist, and where shards should go.
//!
//! [`state::ClusterState`] is pure: a command goes in, a changed state comes out. [`catalogue::Catalogue`] is its part about
//! blocks. Raft delivers the same commands in the same order to every node of the group. [`Meta`] is the handle of all
//! roles: a numbered [`View`] to read and watch, and [`Meta::propose`]. [`placement`] computes, purely, where shards should
//! be; the leader applies what it says.
//!
//! The path of a command: `propose` on any node, the leader's log, the disks of a majority, the state machine of every
//! node, and the feed, from which watchers in this process and followers elsewhere see it.

#![forbid(unsafe_code)]

mod backend;
mod barrier;
mod bootstrap;
pub mod catalogue;
mod clocks;
mod cluster_clock;
pub mod codec;
mod config;
mod error;
pub mod export;
mod export_task;
mod feed;
mod follow;
mod group;
mod heartbeat_task;
pub mod heartbeats;
mod identity;
mod leader;
mod meta;
pub mod placement;
mod proof;
mod raft;
mod remote;
mod rounds;
mod service;
mod slots;
pub mod state;
mod view;
mod voters;

pub use barrier::DeletionBarrier;
pub use catalogue::{
    BlockEntry, Catalogue, CatalogueCommand, CutId, Deletion, REMOVAL_DELAY_MS, Removal, RemovalReason, TenantCatalogue,
};
pub use clocks::MAX_CLOCK_OFFSET_MS;
pub use cluster_clock::ClusterClock;
pub use config::{BootstrapMode, MetaComponents, MetaConfig, Timing};
pub use error::MetaError;
pub use meta::{GroupStatus, Meta, Outcome};
pub use proof::{ProveView, Unproven};
pub use raft::types::raft_id;
pub use slots::{SlotOwner, Slots, VIEW_TIMEOUT};
pub use state::{
    Assignment, ClusterState, Command, DEFAULT_WEIGHT, HANDOFF_MS, Learner, Lease, Member, MemberState, PROTOCOL,
    Placement, Refusal, Response, Role, Settings, Shard,
};
pub use view::View;

#[cfg(test)]
mod cluster_tests;
