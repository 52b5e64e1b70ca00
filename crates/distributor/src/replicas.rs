//! The replicas that a distributor sends to. One may be in this process, the others are reached over the network.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_transport::append::{Replica, ReplicaError};

/// Connects to the replica at an address.
pub type Connect = dyn Fn(&str) -> Result<Arc<dyn Replica>, String> + Send + Sync;

/// A replica with its address.
type Remote = (String, Arc<dyn Replica>);

/// Connections to replicas, by identity.
pub struct Replicas {
    local: Option<(String, Arc<dyn Replica>)>,
    connect: Box<Connect>,
    remote: Mutex<HashMap<String, Remote>>,
}

impl Replicas {
    /// `local` is the identity and replica of this process, if it has one.
    pub fn new(local: Option<(String, Arc<dyn Replica>)>, connect: Box<Connect>) -> Self {
        Replicas { local, connect, remote: Mutex::default() }
    }

    /// Whether a node is the replica of this process.
    pub(super) fn is_local(&self, node: &str) -> bool {
        self.local.as_ref().is_some_and(|(identity, _)| identity == node)
    }

    /// The replica with this identity. Reconnects when its address in the view has changed.
    pub(super) fn get(&self, view: &View, node: &str) -> Result<Arc<dyn Replica>, ReplicaError> {
        if let Some((_, replica)) = self.local.as_ref().filter(|(identity, _)| identity == node) {
            return Ok(replica.clone());
        }
        let unknown = || ReplicaError::Unreachable(format!("{node} is not a member"));
        let address = &view.members.get(node).ok_or_else(unknown)?.address;
        let mut remote = self.remote.lock();
        if let Some((_, replica)) = remote.get(node).filter(|(known, _)| known == address) {
            return Ok(replica.clone());
        }
        let replica = (self.connect)(address).map_err(ReplicaError::Unreachable)?;
        remote.retain(|node, _| view.members.contains_key(node));
        remote.insert(node.to_string(), (address.clone(), replica.clone()));
        Ok(replica)
    }
}

#[cfg(test)]
mod tests;
