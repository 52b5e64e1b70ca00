//! Replicas that are nodes of a cluster: members with the role `alertmanager`, which call each other as all nodes do, and
//! which rulers send alerts to.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use pharos_cluster::{MemberState, Role, View};
use pharos_transport::Connect;
use pharos_transport::alertmanager_v1::alertmanager_client::AlertmanagerClient;
use pharos_transport::alertmanager_v1::alertmanager_server::{self, AlertmanagerServer};
use pharos_transport::alertmanager_v1::{Alerts, Letter, Taken};
use tokio::sync::watch;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};

use super::ReplicaInfo;
use super::carrier::{Carrier, MAX_BYTES};
use super::cluster::{Cluster, Refused};
use crate::api::alerts;
use crate::engine::Engine;

/// Carries calls over the connections of the cluster, with its encryption and its token.
pub struct NodeCarrier(pub Arc<dyn Connect>);

impl Carrier for NodeCarrier {
    fn carry<'a>(&'a self, address: &'a str, call: Bytes) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            let connection = self.0.connect(address).map_err(|status| status.message().to_string())?;
            let client = AlertmanagerClient::new(connection);
            let mut client = client.max_decoding_message_size(MAX_BYTES).max_encoding_message_size(MAX_BYTES);
            let answer = client.exchange(Letter { content: call }).await;
            answer.map(|answer| answer.into_inner().content).map_err(|status| status.message().to_string())
        })
    }
}

/// The members with an Alertmanager other than one, except those that were removed.
fn others<'v>(view: &'v View, own: &'v str) -> impl Iterator<Item = (MemberState, ReplicaInfo)> + 'v {
    let members = view.members.values().filter(move |member| {
        member.has(Role::Alertmanager) && member.id != own && member.state != MemberState::Removed
    });
    members.map(|member| (member.state, ReplicaInfo { name: member.id.clone(), address: member.address.clone() }))
}

/// Addresses of the other replicas that should answer at the start of the one with the identity `own`.
pub fn expected(view: &View, own: &str) -> Vec<String> {
    others(view, own).filter(|(state, _)| state.is_live()).map(|(_, replica)| replica.address).collect()
}

/// Keeps the replicas in step with the members of the cluster until `stop` becomes true.
pub async fn follow(
    cluster: Arc<Cluster>,
    own: String,
    mut views: watch::Receiver<View>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let replicas: Vec<ReplicaInfo> = others(&views.borrow_and_update(), &own).map(|(_, replica)| replica).collect();
        cluster.set_peers(&replicas);
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
        }
    }
}

/// The gRPC service of a node's Alertmanager.
pub struct AlertmanagerService {
    /// Takes alerts.
    pub engine: Arc<Engine>,
    /// Answers other replicas.
    pub cluster: Arc<Cluster>,
}

impl AlertmanagerService {
    /// Adds the service to a node's routes.
    pub fn mount(self, routes: &mut RoutesBuilder) {
        let server = AlertmanagerServer::new(self);
        routes.add_service(server.max_decoding_message_size(MAX_BYTES).max_encoding_message_size(MAX_BYTES));
    }
}

#[tonic::async_trait]
impl alertmanager_server::Alertmanager for AlertmanagerService {
    async fn exchange(&self, request: Request<Letter>) -> Result<Response<Letter>, Status> {
        let answer = self.cluster.answer(&request.into_inner().content).await;
        let content = answer.map_err(|refused| match refused {
            Refused::Unreadable(_) => Status::invalid_argument(refused.to_string()),
            Refused::OtherCluster(_) => Status::permission_denied(refused.to_string()),
        })?;
        Ok(Response::new(Letter { content: content.into() }))
    }

    async fn put(&self, request: Request<Alerts>) -> Result<Response<Taken>, Status> {
        alerts::take(&self.engine, &request.into_inner().json).await?;
        Ok(Response::new(Taken {}))
    }
}
