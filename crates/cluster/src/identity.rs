//! The identity of a cluster as calls between nodes carry it.

use pharos_transport::KnownCluster;

use crate::state::{ClusterState, IDENTITY_PROTOCOL};

impl ClusterState {
    /// What calls between nodes need to know about the cluster; none before the bootstrap.
    pub(crate) fn known_cluster(&self) -> Option<KnownCluster> {
        self.settings.as_ref().map(|settings| KnownCluster {
            cluster: settings.cluster.clone(),
            former: self.former.clone(),
            has_older_members: self.supports(IDENTITY_PROTOCOL).is_err(),
        })
    }

    /// Fails if a node of another cluster may not take this state as its view. It may if the state is of the same cluster, or
    /// of one in which an export of the node's cluster was restored. `cluster` is empty for a node without a cluster.
    pub(crate) fn check_taken_by(&self, cluster: &str) -> Result<(), String> {
        let theirs = self.settings.as_ref().map_or("", |settings| settings.cluster.as_str());
        if [cluster, theirs].contains(&"") || cluster == theirs || self.former.iter().any(|former| former == cluster) {
            return Ok(());
        }
        Err(format!("this node belongs to cluster {cluster}, the state to cluster {theirs}"))
    }
}
