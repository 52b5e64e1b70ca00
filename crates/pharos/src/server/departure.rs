//! Joining and leaving without missed scrapes: a node takes targets only after it has discovered them, and stops only after
//! other agents have taken them over.

use std::time::Duration;

use pharos_scrape::Scraper;

use super::membership::Membership;

/// How long startup waits for discovery. A mechanism that does not answer must not keep the node out of the cluster.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long shutdown waits for the cluster to acknowledge the departure.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long shutdown waits for other agents to take over the targets.
const HANDOFF_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until an agent has discovered its targets, or for [`DISCOVERY_TIMEOUT`].
pub(super) async fn discover(agent: &Scraper) {
    if tokio::time::timeout(DISCOVERY_TIMEOUT, agent.discovered()).await.is_err() {
        tracing::warn!(waited = ?DISCOVERY_TIMEOUT, "some discovery mechanisms have not answered; starting without their targets");
    }
}

/// Announces that the node leaves and hands its targets over. Gives up after a timeout.
pub(super) async fn depart(membership: &Membership, agent: Option<&Scraper>) {
    let leaving = membership.meta.leave(&membership.identity);
    match tokio::time::timeout(LEAVE_TIMEOUT, leaving).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return tracing::warn!(%error, "could not tell the cluster that this node is stopping"),
        Err(_) => return tracing::warn!("could not tell the cluster that this node is stopping"),
    }
    let Some(agent) = agent else { return };
    match tokio::time::timeout(HANDOFF_TIMEOUT, agent.hand_off()).await {
        Ok(true) => tracing::info!("handed the targets over to other agents"),
        Ok(false) => tracing::warn!("no other agent is running; nothing is scraped until this one returns"),
        Err(_) => tracing::warn!(waited = ?HANDOFF_TIMEOUT, "other agents did not take over the targets in time"),
    }
}
