//! Who owns what and which blocks exist: the cluster's state machine and its durable log.
//!
//! [`state::ClusterState`] is pure: commands go in, a changed state comes out; [`catalogue::Catalogue`] is its part about
//! blocks. [`Meta`] runs it on a durable log ([`log`], redb) and publishes every state as a numbered [`View`].

pub mod catalogue;
pub mod log;
mod meta;
pub mod state;

pub use catalogue::{BlockEntry, Catalogue, CatalogueCommand, CutId, Deletion, TenantCatalogue};
pub use meta::{Meta, MetaError, Outcome, View};
pub use state::{
    ClusterState, Command, Learner, Lease, Member, MemberState, Placement, Refusal, Response, Role, Settings, Shard,
    TenantLimits,
};
