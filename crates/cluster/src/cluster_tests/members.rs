//! Members that come and go.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_has_a_full_lease_before_its_first_heartbeat() {
    let cluster = Cluster::of_three().await;
    let lease = Timing::default().agent_lease;
    let clock = SystemClock::new();
    // The leases that began with the leader's election are over.
    until(|| clock.monotonic() > lease).await;
    let meta = cluster.node("A");
    let joining = Command::Join { member: member("F", &[Role::Agent]), at_ms: 0 };
    let joined = clock.monotonic();
    in_time(meta.propose(joining)).await.unwrap();
    sees(meta, |view| view.member("F").is_some_and(|member| member.state == MemberState::Down)).await;
    let stayed = clock.monotonic() - joined;
    assert!(stayed >= lease, "down after {stayed:?}");
}
