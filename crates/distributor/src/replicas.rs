//! The ingesters that samples are sent to: one may be in this process, the others are behind the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pharos_cluster::View;
use pharos_transport::append::{Replica, ReplicaError};

/// Makes a replica of an address.
pub type Connect = dyn Fn(&str) -> Result<Arc<dyn Replica>, String> + Send + Sync;

/// A replica and the address that it was made of.
type Remote = (String, Arc<dyn Replica>);

/// Finds replicas by their identity.
pub struct Replicas {
    local: Option<(String, Arc<dyn Replica>)>,
    connect: Box<Connect>,
    /// By identity.
    remote: Mutex<HashMap<String, Remote>>,
}

impl Replicas {
    /// The ingester of this process with its identity, if there is one, and the way to others.
    pub fn new(local: Option<(String, Arc<dyn Replica>)>, connect: Box<Connect>) -> Self {
        Replicas { local, connect, remote: Mutex::default() }
    }

    /// Whether a node is in this process.
    pub(super) fn is_local(&self, node: &str) -> bool {
        self.local.as_ref().is_some_and(|(identity, _)| identity == node)
    }

    /// The replica of that identity.
    pub(super) fn get(&self, view: &View, node: &str) -> Result<Arc<dyn Replica>, ReplicaError> {
        if let Some((_, replica)) = self.local.as_ref().filter(|(identity, _)| identity == node) {
            return Ok(replica.clone());
        }
        let unknown = || ReplicaError::Unreachable(format!("{node} is no member"));
        let address = &view.members.get(node).ok_or_else(unknown)?.address;
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, replica)) = remote.get(node).filter(|(known, _)| known == address) {
            return Ok(replica.clone());
        }
        let replica = (self.connect)(address).map_err(ReplicaError::Unreachable)?;
        remote.retain(|node, _| view.members.contains_key(node));
        remote.insert(node.to_string(), (address.clone(), replica.clone()));
        Ok(replica)
    }
}
