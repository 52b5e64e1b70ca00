//! Other agents, reached over the network.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::{Stream, TryStreamExt, stream};
use pharos_cluster::{Role, View};
use pharos_transport::agent_v1::agent_client::AgentClient;
use pharos_transport::agent_v1::{HandOverRequest, TargetsPart, TargetsRequest};
use pharos_transport::{Connect, Connection};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::Peers;
use crate::handoff::record::HandoffRecord;

/// The limit on a message, bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// How many bytes of series one part of a record has.
const PART_BYTES: usize = 8 << 20;
/// How long another agent may take for an answer, or for a part of a record.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls agents by their identities.
pub struct RemoteAgents {
    views: watch::Receiver<View>,
    connect: Arc<dyn Connect>,
}

impl RemoteAgents {
    /// Calls the agents that the current view lists.
    pub fn new(views: watch::Receiver<View>, connect: Arc<dyn Connect>) -> Self {
        RemoteAgents { views, connect }
    }

    fn client(&self, agent: &str) -> Result<AgentClient<Connection>, Status> {
        let view = self.views.borrow().clone();
        let member = view.member(agent).ok_or_else(|| Status::not_found(format!("agent {agent} is not a member")))?;
        let client = AgentClient::new(self.connect.connect(&member.address)?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// The identities of all live agents.
    pub fn live(&self) -> Vec<String> {
        self.views.borrow().live(Role::Agent).map(|member| member.id.clone()).collect()
    }

    /// The targets of all live agents except one, with an error for each agent that does not answer.
    pub async fn all_targets(
        &self,
        except: Option<&str>,
        request: &TargetsRequest,
    ) -> Vec<(String, Result<Vec<TargetsPart>, Status>)> {
        let requests = self.live().into_iter().filter(|agent| except != Some(agent.as_str())).map(|agent| async move {
            let answer = self.targets(&agent, request.clone()).await;
            (agent, answer)
        });
        join_all(requests).await
    }

    /// The targets of one agent.
    pub async fn targets(&self, agent: &str, request: TargetsRequest) -> Result<Vec<TargetsPart>, Status> {
        let mut client = self.client(agent)?;
        let exchange = async { client.targets(request).await?.into_inner().try_collect().await };
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| timed_out(agent))?
    }
}

fn timed_out(agent: &str) -> Status {
    Status::deadline_exceeded(format!("agent {agent} did not answer in {REQUEST_TIMEOUT:?}"))
}

#[async_trait]
impl Peers for RemoteAgents {
    async fn hand_off(&self, to: &str, record: &HandoffRecord) -> Result<(), String> {
        let client = self.client(to).map_err(|status| status.to_string())?;
        let mut parts = record.to_parts(PART_BYTES).peekable();
        let first = parts.next().ok_or("the record was forwarded too often")?;
        let sent = match parts.peek() {
            None => send_whole(client, to, first).await,
            Some(_) => send_parts(client, to, std::iter::once(first).chain(parts)).await,
        };
        sent.map_err(|status| status.to_string())
    }
}

async fn send_whole(mut client: AgentClient<Connection>, to: &str, request: HandOverRequest) -> Result<(), Status> {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, client.hand_over(request)).await;
    answer.map_err(|_| timed_out(to))?.map(|_| ())
}

fn received(receiver: mpsc::Receiver<HandOverRequest>) -> impl Stream<Item = HandOverRequest> {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|part| (part, receiver)) })
}

/// Sends a record part by part. It takes as long as it needs while the other agent keeps taking parts.
async fn send_parts(
    mut client: AgentClient<Connection>,
    to: &str,
    parts: impl Iterator<Item = HandOverRequest>,
) -> Result<(), Status> {
    let (sender, receiver) = mpsc::channel(1);
    let mut exchange = pin!(client.hand_over_in_parts(received(receiver)));
    let sending = async move {
        for part in parts {
            match tokio::time::timeout(REQUEST_TIMEOUT, sender.send(part)).await {
                Ok(Ok(())) => {}
                // The other agent has answered before the end, with an error.
                Ok(Err(_closed)) => break,
                Err(_) => return Err(timed_out(to)),
            }
        }
        Ok(())
    };
    tokio::select! {
        answer = &mut exchange => return answer.map(|_| ()),
        sent = sending => sent?,
    }
    tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| timed_out(to))?.map(|_| ())
}
