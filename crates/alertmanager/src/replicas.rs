//! What the engine asks of the other replicas, if there are any. [`Cluster`] is a set of replicas that call each other; a
//! [`Carrier`] carries the calls.

mod carrier;
mod claims;
pub mod cluster;
pub mod http;
mod members;
pub mod nodes;
mod wire;

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::notification_log::Entry;
use crate::silences::Silence;

pub use carrier::Carrier;
pub use cluster::{Cluster, ClusterSettings};

/// A change that replicas share.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A silence was created, changed or expired.
    Silence(Silence),
    /// An integration was told about a group.
    Notified(Entry),
}

/// A live replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub address: String,
}

/// The state of the replicas as this one sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The name of this one; none if it is alone by configuration.
    pub name: Option<String>,
    /// Whether it knows what the others know.
    pub is_settled: bool,
    /// The live ones by name, this one included.
    pub live: Vec<ReplicaInfo>,
    /// How many are missed.
    pub failed: usize,
    /// The position of this one among the live ones.
    pub position: usize,
}

/// The other replicas.
pub trait Replicas: Send + Sync {
    /// Shares changes with all live replicas. Completes once each of them has them, or is given up.
    fn share(&self, changes: Vec<Change>) -> BoxFuture<'_, ()>;

    /// Completes once this replica knows what the others know.
    fn settled(&self) -> BoxFuture<'_, ()>;

    /// How long this replica leaves a notification to those before it.
    fn turn(&self) -> Duration;

    /// Completes once no other live replica is sending the notification with this key. From then on the others wait for this
    /// one, until [`Replicas::release`] or `until`.
    fn claim<'a>(&'a self, key: &'a str, until: Timestamp) -> BoxFuture<'a, ()>;

    /// Ends a claim.
    fn release<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()>;

    /// The state of the replicas.
    fn status(&self) -> ReplicaStatus;
}

/// No other replicas.
pub struct Alone;

impl Replicas for Alone {
    fn share(&self, _: Vec<Change>) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn turn(&self) -> Duration {
        Duration::ZERO
    }

    fn claim<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn release<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn status(&self) -> ReplicaStatus {
        ReplicaStatus { is_settled: true, ..ReplicaStatus::default() }
    }
}
