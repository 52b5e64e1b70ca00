//! How a node comes to its group: it has one already, founds one alone or with others, or waits to be taken into one.
//!
//! Founding together: every node without a group asks those that it was told to join. When as many as expected see each
//! other, the one with the smallest identity asks all of them for their promise, and founds the group with them only if it
//! has every one. A node promises to one candidate at a time, so two groups with a node in common never come to be.

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

/// Pause between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(300);

/// Brings the node into a group. Returns when it has one or is stopped.
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
            let others = others(&group).await;
            if let Some(founders) = founders(&group.config.identity, &group.config.address, &others, expected)
                && all_promise(&group, &founders).await
            {
                tracing::info!(nodes = ?founders.keys(), "founding a cluster");
                let voters = founders.iter().map(|(id, addr)| (raft_id(id), BasicNode { addr: addr.clone() }));
                group.found(voters.collect()).await?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
    Ok(())
}

/// Who the nodes that it was told to join are, as far as they answer.
async fn others(group: &Group) -> Vec<DescribeAnswer> {
    let mut asked = Vec::new();
    for address in &group.config.join {
        if *address != group.config.address {
            asked.push(group.remote.describe(address));
        }
    }
    join_all(asked).await.into_iter().flatten().collect()
}

/// Those who found the cluster, by identity, if this node is the one to do it.
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

async fn all_promise(group: &Group, founders: &BTreeMap<String, String>) -> bool {
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
    join_all(asked).await.into_iter().all(|promise| promise.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, initialized: bool) -> DescribeAnswer {
        DescribeAnswer { node: id.into(), address: format!("{id}:1"), initialized, ..DescribeAnswer::default() }
    }

    #[test]
    fn the_first_of_as_many_as_expected_founds() {
        let found = |own: &str, others: &[DescribeAnswer], expected| {
            founders(own, &format!("{own}:1"), others, expected).map(|nodes| nodes.into_keys().collect::<String>())
        };
        let (b, c, d) = (node("B", false), node("C", false), node("D", false));
        assert_eq!(found("A", &[b.clone(), c.clone()], 3).as_deref(), Some("ABC"));
        assert_eq!(found("A", &[d, c.clone(), b.clone()], 3).as_deref(), Some("ABC"));
        assert_eq!(found("C", &[node("A", false), b.clone()], 3), None);
        assert_eq!(found("A", std::slice::from_ref(&b), 3), None);
        assert_eq!(found("A", &[b.clone(), b.clone()], 3), None, "one node under two addresses");
        assert_eq!(found("A", &[b, node("C", true)], 3), None, "there is a cluster");
        assert_eq!(found("A", &[], 1).as_deref(), Some("A"));
    }
}
