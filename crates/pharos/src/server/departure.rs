//! Joining and leaving without missed scrapes and evaluations of rules: a node takes targets only after it has discovered them, and stops only after
//! other agents have taken them over.

use std::sync::Arc;
use std::time::Duration;

use pharos_ruler::Ruler;
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
pub(super) async fn depart(membership: &Membership, agent: Option<&Scraper>, ruler: Option<&Arc<Ruler>>) {
    let leaving = membership.meta.leave(&membership.identity);
    match tokio::time::timeout(LEAVE_TIMEOUT, leaving).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return tracing::warn!(%error, "could not tell the cluster that this node is stopping"),
        Err(_) => return tracing::warn!("could not tell the cluster that this node is stopping"),
    }
    tokio::join!(hand_targets_over(agent), hand_rules_over(ruler));
}

async fn hand_rules_over(ruler: Option<&Arc<Ruler>>) {
    let Some(ruler) = ruler else { return };
    match tokio::time::timeout(HANDOFF_TIMEOUT, ruler.hand_off()).await {
        Ok(true) => tracing::info!("handed the rule groups over to other rulers"),
        Ok(false) => tracing::warn!("no other ruler is running; no rule is evaluated until this one returns"),
        Err(_) => tracing::warn!(waited = ?HANDOFF_TIMEOUT, "other rulers did not take over the rule groups in time"),
    }
}

async fn hand_targets_over(agent: Option<&Scraper>) {
    let Some(agent) = agent else { return };
    match tokio::time::timeout(HANDOFF_TIMEOUT, agent.hand_off()).await {
        Ok(true) => tracing::info!("handed the targets over to other agents"),
        Ok(false) => tracing::warn!("no other agent is running; nothing is scraped until this one returns"),
        Err(_) => tracing::warn!(waited = ?HANDOFF_TIMEOUT, "other agents did not take over the targets in time"),
    }
}
