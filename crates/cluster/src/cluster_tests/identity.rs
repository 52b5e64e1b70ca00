//! Nodes of other clusters at the addresses of ours.

use pharos_transport::meta_v1::RaftMessage;
use pharos_transport::meta_v1::raft_client::RaftClient;
use tonic::Code;

use super::*;

fn cluster_of(view: &View) -> String {
    view.settings.as_ref().map(|settings| settings.cluster.clone()).unwrap_or_default()
}

/// A cluster of one node, which has this name and address.
async fn of_one(name: &str) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.start(name, BootstrapMode::Expect(1), &[name]).await;
    in_time(cluster.node(name).ready()).await;
    cluster
}

impl Cluster {
    /// Lets the node of another cluster answer at the address of a node of this one.
    fn give_address_to(&self, name: &str, other: &Cluster) {
        let stranger = other.network.nodes.lock()[&address(name)].clone();
        self.network.nodes.lock().insert(address(name), stranger);
    }

    /// Waits until an address was called this often from now on.
    async fn asked_again(&self, name: &str, times: usize) {
        let calls = || self.network.calls.lock().get(&address(name)).copied().unwrap_or(0);
        let enough = calls() + times;
        until(|| calls() >= enough).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_never_follows_a_meta_node_of_another_cluster() {
    // Meta nodes of this version refuse the call. Older ones do not, and the follower has to look itself.
    for names_its_cluster in [true, false] {
        let (mut ours, theirs) = (of_one("A").await, of_one("A").await);
        in_time(theirs.node("A").propose(delete(7))).await.unwrap();
        let connect = if names_its_cluster { ours.identified("F") } else { ours.link("F") };
        let follower = Meta::connect("F", vec![address("A")], connect, Arc::new(SystemClock::new()));
        let before = in_time(follower.ready()).await;
        ours.stop("A").await;
        ours.give_address_to("A", &theirs);
        ours.asked_again("A", 3).await;
        assert_eq!(follower.view().state(), before.state());
        ours.start("A", BootstrapMode::Expect(1), &["A"]).await;
        in_time(ours.node("A").propose(delete(2))).await.unwrap();
        let after = sees(&follower, |view| deletions(view) == 1).await;
        assert_eq!(cluster_of(&after), cluster_of(&before));
        follower.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_a_lost_cluster_move_to_the_one_in_which_it_was_restored() {
    let (lost, new) = (of_one("A").await, of_one("A").await);
    let follower = Meta::connect("F", vec![address("A")], lost.identified("F"), Arc::new(SystemClock::new()));
    in_time(follower.ready()).await;
    in_time(follower.propose(delete(1))).await.unwrap();
    let export = lost.node("A").view().state().clone();
    lost.give_address_to("A", &new);
    lost.node("A").shutdown().await;
    let restore = Command::Restore { state: Box::new(ClusterState::clone(&export)), at_ms: 1 };
    in_time(new.node("A").propose(restore)).await.unwrap();
    let moved = sees(&follower, |view| view.incarnation == 1).await;
    assert_eq!(cluster_of(&moved), cluster_of(&new.node("A").view()));
    assert_eq!(moved.former, [cluster_of(&View::new(export))]);
    assert_eq!(deletions(&moved), 1);
    in_time(follower.propose(delete(2))).await.unwrap();
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_takes_no_messages_of_another_cluster_that_has_its_name() {
    let (ours, theirs) = (of_one("A").await, of_one("A").await);
    let connect = ours.identified("B");
    let follower = Meta::connect("B", vec![address("A")], connect.clone(), Arc::new(SystemClock::new()));
    in_time(follower.ready()).await;
    let message = || RaftMessage { to: raft_id("A"), body: "{}".into() };
    let append = async || {
        let mut client = RaftClient::new(connect.connect(&address("A")).unwrap());
        client.append(message()).await.unwrap_err()
    };
    assert_eq!(append().await.code(), Code::InvalidArgument, "its own cluster's message is read");
    ours.give_address_to("A", &theirs);
    let refused = append().await;
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let (own, other) = (cluster_of(&ours.node("A").view()), cluster_of(&theirs.node("A").view()));
    assert!(refused.message().contains(&own) && refused.message().contains(&other), "{refused}");
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_cluster_cannot_send_heartbeats_or_commands() {
    let (ours, theirs) = (of_one("A").await, of_one("A").await);
    let follower = Meta::connect("F", vec![address("A")], ours.identified("F"), Arc::new(SystemClock::new()));
    in_time(follower.join(member("F", &[Role::Ingester]))).await.unwrap();
    ours.give_address_to("A", &theirs);
    tokio::select! {
        proposed = follower.propose(delete(1)) => panic!("{proposed:?}"),
        () = ours.asked_again("A", 10) => {}
    }
    assert!(theirs.node("A").view().member("F").is_none());
    assert_eq!(deletions(&theirs.node("A").view()), 0);
    follower.shutdown().await;
}
