//! Coming and going of a node in its cluster: it takes targets only once it has discovered them, and goes only when others
//! have taken them over.

use std::time::Duration;

use pharos_scrape::Agent;

use super::membership::Membership;

/// Longest wait for targets at the start: a discovery that does not answer must not keep the node away.
const DISCOVERY_TIME: Duration = Duration::from_secs(10);
/// Longest wait for the cluster at the end.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// Longest wait for other agents at the end.
const HAND_OVER_TIME: Duration = Duration::from_secs(10);

/// Waits until an agent knows its targets.
pub(super) async fn discover(agent: &Agent) {
    if tokio::time::timeout(DISCOVERY_TIME, agent.discovered()).await.is_err() {
        tracing::warn!(waited = ?DISCOVERY_TIME, "not every discovery has answered: this agent begins without their targets");
    }
}

/// Leaves the cluster in order, as far as it can be reached.
pub(super) async fn depart(membership: &Membership, agent: Option<&Agent>) {
    let leaving = membership.meta.leave(&membership.identity);
    match tokio::time::timeout(LEAVE_TIME, leaving).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return tracing::warn!(%error, "the cluster could not be told that this node stops"),
        Err(_) => return tracing::warn!("the cluster could not be told that this node stops"),
    }
    let Some(agent) = agent else { return };
    match tokio::time::timeout(HAND_OVER_TIME, agent.hand_over()).await {
        Ok(true) => tracing::info!("other agents scrape the targets now"),
        Ok(false) => tracing::warn!("there is no other agent: nothing is scraped until this one is back"),
        Err(_) => tracing::warn!(waited = ?HAND_OVER_TIME, "the targets were not handed over in time"),
    }
}
