//! Nodes whose wall clocks are wrong.

use pharos_model::clock::Sleep;

use super::*;

/// The machine's clock, with a wall clock that is ahead by some milliseconds.
struct Ahead(SystemClock, i64);

impl Ahead {
    fn by(ms: i64) -> Arc<dyn Clock> {
        Arc::new(Ahead(SystemClock::new(), ms))
    }
}

impl Clock for Ahead {
    fn now_ms(&self) -> i64 {
        self.0.now_ms() + self.1
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

/// Whether a number is within half a second of another, milliseconds.
fn is_about(ms: i64, expected: i64) -> bool {
    ms.abs_diff(expected) < 500
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_clock_is_behind_goes_by_the_clusters_time() {
    let cluster = Cluster::of_three().await;
    let addresses = ["A", "B", "C"].map(address).to_vec();
    let agent = Meta::connect("F", addresses, cluster.link("F"), Ahead::by(-10_000));
    in_time(agent.ready()).await;
    in_time(agent.join(member("F", &[Role::Agent]))).await.unwrap();
    let clock = agent.cluster_clock().clone();
    until(|| clock.offset_ms().is_some_and(|offset| is_about(offset, -10_000))).await;
    assert!(is_about(clock.now_ms(), SystemClock::new().now_ms()));
    let everywhere = [&agent, &**cluster.node("A"), &**cluster.node("B"), &**cluster.node("C")];
    for meta in everywhere {
        let knows = async {
            loop {
                let clocks = meta.group().await.unwrap().clocks;
                if clocks.get("F").is_some_and(|offset| is_about(*offset, -10_000)) {
                    return clocks;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let clocks = in_time(knows).await;
        assert!(clocks.iter().all(|(node, offset)| node == "F" || is_about(*offset, 0)), "{clocks:?}");
    }
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_clock_does_not_move_the_clusters_time_whoever_leads() {
    let mut cluster = Cluster::default();
    for (name, ahead_ms) in [("A", 60_000), ("B", 0), ("C", 0)] {
        cluster.start_with(name, BootstrapMode::Expect(3), &["A", "B", "C"], Ahead::by(ahead_ms)).await;
    }
    for name in ["A", "B", "C"] {
        in_time(cluster.node(name).ready()).await;
        in_time(cluster.node(name).join(member(name, &[Role::Meta]))).await.unwrap();
    }
    for (name, ahead_ms) in [("A", 60_000), ("B", 0), ("C", 0)] {
        let clock = cluster.node(name).cluster_clock();
        until(|| clock.offset_ms().is_some_and(|offset| is_about(offset, ahead_ms))).await;
    }
    let leader = cluster.leader().await;
    let joined =
        in_time(cluster.node(&leader).propose(Command::Join { member: member("F", &[Role::Agent]), at_ms: 0 }));
    let since_ms = joined.await.unwrap().view.member("F").unwrap().since_ms;
    assert!(is_about(since_ms, SystemClock::new().now_ms()), "commands are stamped with the cluster's time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_keeps_its_own_clock() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    in_time(meta.join(member("A", &[Role::Meta]))).await.unwrap();
    let contact = meta.contact();
    until(|| contact.borrow().is_some()).await;
    assert_eq!(meta.cluster_clock().offset_ms(), None);
    meta.shutdown().await;
}
