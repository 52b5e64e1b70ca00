//! Brings a node into a Raft group: it is in one already, founds one alone or with others, or waits to be added to one.
//!
//! To found a group together, every node without a group asks its join addresses who they are. Once the expected number of
//! nodes see each other, the one with the smallest identity asks all of them for a pledge and founds the group only if it
//! gets every one. A node pledges to one candidate at a time, so two groups never share a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft::BasicNode;
use pharos_transport::meta_v1::DescribeAnswer;

use crate::config::BootstrapMode;
use crate::error::MetaError;
use crate::group::Group;
use crate::raft::types::raft_id;

/// Interval between two attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Returns when the node is in a group or is stopped.
pub(crate) async fn run(group: Arc<Group>) -> Result<(), MetaError> {
    let expected = match group.config.bootstrap {
        _ if group.is_initialized().await => return Ok(()),
        BootstrapMode::Alone => {
            let own = BasicNode { addr: group.config.address.clone() };
            return group.found(BTreeMap::from([(raft_id(&group.config.identity), own)])).await;
        }
        BootstrapMode::Expect(expected) => Some(expected.max(1)),
        BootstrapMode::Join => None,
    };
    let mut stop = group.stop.subscribe();
    while !group.is_initialized().await {
        if let Some(expected) = expected {
            let others = describe_others(&group).await;
            if let Some(founders) = founders(&group.config.identity, &group.config.address, &others, expected)
                && all_pledge(&group, &founders).await
            {
                tracing::info!(nodes = ?founders.keys(), "founding a cluster");
                let voters = founders.iter().map(|(id, addr)| (raft_id(id), BasicNode { addr: addr.clone() }));
                group.found(voters.collect()).await?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
    Ok(())
}

/// Describes the nodes at the join addresses that answer.
async fn describe_others(group: &Group) -> Vec<DescribeAnswer> {
    let mut asked = Vec::new();
    for address in &group.config.join {
        if *address != group.config.address {
            asked.push(group.remote.describe(address));
        }
    }
    join_all(asked).await.into_iter().flatten().collect()
}

/// The founders of the cluster, identity to address, if it is up to this node to found it.
fn founders(
    identity: &str,
    address: &str,
    others: &[DescribeAnswer],
    expected: usize,
) -> Option<BTreeMap<String, String>> {
    if others.iter().any(|node| node.initialized) {
        return None;
    }
    let mut nodes = BTreeMap::from([(identity.to_string(), address.to_string())]);
    nodes.extend(others.iter().map(|node| (node.node.clone(), node.address.clone())));
    let first = nodes.keys().next().is_some_and(|first| first == identity);
    (first && nodes.len() >= expected).then(|| nodes.into_iter().take(expected).collect())
}

async fn all_pledge(group: &Group, founders: &BTreeMap<String, String>) -> bool {
    let identity = &group.config.identity;
    if !group.pledge(identity).await {
        return false;
    }
    let mut asked = Vec::new();
    for (id, address) in founders {
        if id != identity {
            asked.push(group.remote.pledge(address, identity));
        }
    }
    join_all(asked).await.into_iter().all(|pledged| pledged.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, initialized: bool) -> DescribeAnswer {
        DescribeAnswer { node: id.into(), address: format!("{id}:1"), initialized, ..DescribeAnswer::default() }
    }

    /// The founders that node `own` computes, their identities joined.
    fn founded_by(own: &str, others: &[DescribeAnswer], expected: usize) -> Option<String> {
        founders(own, &format!("{own}:1"), others, expected).map(|nodes| nodes.into_keys().collect())
    }

    #[test]
    fn the_smallest_identity_founds_with_all_it_sees() {
        let others = [node("B", false), node("C", false)];
        assert_eq!(founded_by("A", &others, 3).as_deref(), Some("ABC"));
    }

    #[test]
    fn no_more_than_the_expected_number_found() {
        let others = [node("D", false), node("C", false), node("B", false)];
        assert_eq!(founded_by("A", &others, 3).as_deref(), Some("ABC"));
    }

    #[test]
    fn a_larger_identity_leaves_founding_to_the_smallest() {
        assert_eq!(founded_by("C", &[node("A", false), node("B", false)], 3), None);
    }

    #[test]
    fn too_few_nodes_found_nothing() {
        assert_eq!(founded_by("A", &[node("B", false)], 3), None);
    }

    #[test]
    fn a_node_under_two_addresses_counts_once() {
        assert_eq!(founded_by("A", &[node("B", false), node("B", false)], 3), None);
    }

    #[test]
    fn nobody_founds_beside_an_existing_cluster() {
        assert_eq!(founded_by("A", &[node("B", false), node("C", true)], 3), None);
    }

    #[test]
    fn a_node_that_expects_only_itself_founds_alone() {
        assert_eq!(founded_by("A", &[], 1).as_deref(), Some("A"));
    }
}
