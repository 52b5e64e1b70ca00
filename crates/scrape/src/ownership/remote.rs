//! The other agents, over the network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::future::join_all;
use pharos_cluster::{Role, View};
use pharos_transport::agent_v1::agent_client::AgentClient;
use pharos_transport::agent_v1::{TargetsPart, TargetsRequest};
use pharos_transport::{Connect, Connection};
use tokio::sync::watch;
use tonic::Status;

use super::Peers;
use crate::handed::Handed;

/// Most bytes of a message: about a hundred thousand series of a target.
pub(super) const MOST_MESSAGE_BYTES: usize = 64 << 20;
/// Longest time for an answer.
const TIME: Duration = Duration::from_secs(5);

/// Asks agents by their identities.
pub struct RemoteAgents {
    views: watch::Receiver<View>,
    connect: Arc<dyn Connect>,
}

impl RemoteAgents {
    /// The agents of a view.
    pub fn new(views: watch::Receiver<View>, connect: Arc<dyn Connect>) -> Self {
        RemoteAgents { views, connect }
    }

    fn client(&self, agent: &str) -> Result<AgentClient<Connection>, Status> {
        let view = self.views.borrow().clone();
        let member = view.member(agent).ok_or_else(|| Status::not_found(format!("agent {agent} is no member")))?;
        let client = AgentClient::new(self.connect.connect(&member.address)?);
        Ok(client.max_decoding_message_size(MOST_MESSAGE_BYTES).max_encoding_message_size(MOST_MESSAGE_BYTES))
    }

    /// The identities of the agents that are at work.
    pub fn live(&self) -> Vec<String> {
        self.views.borrow().live(Role::Agent).map(|member| member.id.clone()).collect()
    }

    /// What all agents but one scrape; of those that do not answer, why.
    pub async fn all_targets(
        &self,
        but: Option<&str>,
        request: &TargetsRequest,
    ) -> Vec<(String, Result<Vec<TargetsPart>, Status>)> {
        let asked = self.live().into_iter().filter(|agent| but != Some(agent.as_str())).map(|agent| async move {
            let answer = self.targets(&agent, request.clone()).await;
            (agent, answer)
        });
        join_all(asked).await
    }

    /// What an agent scrapes.
    pub async fn targets(&self, agent: &str, request: TargetsRequest) -> Result<Vec<TargetsPart>, Status> {
        let mut client = self.client(agent)?;
        let asked = async { client.targets(request).await?.into_inner().try_collect().await };
        tokio::time::timeout(TIME, asked).await.map_err(|_| late(agent))?
    }
}

fn late(agent: &str) -> Status {
    Status::deadline_exceeded(format!("agent {agent} did not answer in {TIME:?}"))
}

#[async_trait]
impl Peers for RemoteAgents {
    async fn hand_over(&self, to: &str, handed: &Handed) -> Result<(), String> {
        let request = handed.passed_on().ok_or("it was passed on too often")?;
        let mut client = self.client(to).map_err(|status| status.to_string())?;
        let asked = tokio::time::timeout(TIME, client.hand_over(request)).await.map_err(|_| late(to));
        asked.and_then(|answer| answer).map(|_| ()).map_err(|status| status.to_string())
    }
}
