//! Calls to meta nodes that hang, or whose disk is full.

use pharos_transport::meta_v1::HeartbeatRequest;

use super::*;
use crate::backend::Backend;
use crate::remote::CALL_TIMEOUT;

/// The answer to a command, which has to come before a call to a node that hangs is given up.
async fn proposed_soon(meta: &Meta, number: usize) {
    let proposed = tokio::time::timeout(CALL_TIMEOUT, meta.propose(delete(number)));
    proposed.await.expect("another meta node takes the command").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meta_node_that_hangs_holds_up_no_command_and_no_view() {
    let cluster = Cluster::of_three().await;
    let follower = follower(&cluster, "F");
    in_time(follower.ready()).await;
    let leader = cluster.leader().await;
    for hanging in ["A", "B", "C"].into_iter().filter(|name| *name != leader) {
        cluster.network.set_hanging(&address(hanging), true);
        proposed_soon(&follower, deletions(&cluster.node(&leader).view())).await;
        cluster.network.set_hanging(&address(hanging), false);
    }
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_holds_up_commands_until_another_one_is_elected() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let other = cluster.nodes.keys().find(|name| **name != leader).unwrap();
    cluster.network.set_hanging(&address(&leader), true);
    cluster.network.set_cut_off(&address(&leader), true);
    proposed_soon(cluster.node(other), 0).await;
    cluster.network.set_hanging(&address(&leader), false);
    cluster.network.set_cut_off(&address(&leader), false);
}

/// Raft answers nothing while its disk is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_refuses_at_once() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let Backend::Group(full) = cluster.node(&leader).backend.clone() else { panic!("it is a meta node") };
    full.disk.set_full(true);
    assert!(!full.is_in_touch(), "nodes that follow it move on");
    for refused in [
        full.propose(Arc::new(delete(0).into()), false).await.unwrap_err().to_string(),
        full.read_index(false).await.unwrap_err().to_string(),
        full.heartbeat(HeartbeatRequest::default()).await.unwrap_err().to_string(),
    ] {
        assert!(refused.contains("disk of this node's cluster log is full"), "{refused}");
    }
    full.disk.set_full(false);
    in_time(cluster.node(&leader).propose(delete(0))).await.unwrap();
}
