//! The gRPC service by which other nodes list the groups that this ruler evaluates, and tell it that those in the bucket have
//! changed; and its client.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{Stream, TryStreamExt};
use pharos_cluster::{Role, View};
use pharos_transport::Connect;
use pharos_transport::ruler_v1::ruler_client::RulerClient;
use pharos_transport::ruler_v1::ruler_server::{self, RulerServer};
use pharos_transport::ruler_v1::{Group, GroupsRequest, RefreshRequest, RefreshResponse};
use tokio::sync::watch;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};

use crate::Ruler;

/// The limit on a message, bytes: enough for about a hundred thousand alerts of a group.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a change of groups waits for all rulers to be told.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// The service of one ruler.
pub(crate) struct RulerService(pub(crate) Arc<Ruler>);

impl RulerService {
    /// Adds the service to a node's routes.
    pub(crate) fn mount(self, routes: &mut RoutesBuilder) {
        let server = RulerServer::new(self);
        routes.add_service(
            server.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    }
}

#[tonic::async_trait]
impl ruler_server::Ruler for RulerService {
    type GroupsStream = Pin<Box<dyn Stream<Item = Result<Group, Status>> + Send>>;

    async fn groups(&self, _: Request<GroupsRequest>) -> Result<Response<Self::GroupsStream>, Status> {
        let groups = self.0.groups();
        Ok(Response::new(Box::pin(futures::stream::iter(groups.into_iter().map(Ok)))))
    }

    async fn refresh(&self, _: Request<RefreshRequest>) -> Result<Response<RefreshResponse>, Status> {
        self.0.refresh();
        Ok(Response::new(RefreshResponse {}))
    }
}

/// Calls rulers by their identities.
pub struct RemoteRulers {
    views: watch::Receiver<View>,
    connect: Arc<dyn Connect>,
}

impl RemoteRulers {
    /// Calls the rulers that the current view lists.
    pub fn new(views: watch::Receiver<View>, connect: Arc<dyn Connect>) -> Self {
        RemoteRulers { views, connect }
    }

    /// The groups of all live rulers except one, with an error for each ruler that does not answer.
    pub async fn all_groups(&self, except: &str) -> Vec<(String, Result<Vec<Group>, Status>)> {
        let live: Vec<String> = self.views.borrow().live(Role::Ruler).map(|member| member.id.clone()).collect();
        let requests = live.into_iter().filter(|ruler| ruler != except).map(|ruler| async move {
            let answer = self.groups(&ruler).await;
            (ruler, answer)
        });
        join_all(requests).await
    }

    /// Makes all live rulers except one read the groups in the bucket again. One that does not answer reads them later by
    /// itself.
    pub async fn refresh_all(&self, except: &str) {
        let view = self.views.borrow().clone();
        let rulers = view.live(Role::Ruler).filter(|member| member.id != except);
        let requests = rulers.map(|member| async move {
            let mut client = RulerClient::new(self.connect.connect(&member.address)?);
            client.refresh(RefreshRequest {}).await
        });
        let refreshed = tokio::time::timeout(REFRESH_TIMEOUT, join_all(requests)).await;
        for status in refreshed.into_iter().flatten().filter_map(Result::err) {
            tracing::debug!(%status, "a ruler was not told of changed groups; it reads them within half a minute");
        }
    }

    async fn groups(&self, ruler: &str) -> Result<Vec<Group>, Status> {
        let view = self.views.borrow().clone();
        let member = view.member(ruler).ok_or_else(|| Status::not_found(format!("ruler {ruler} is not a member")))?;
        let client = RulerClient::new(self.connect.connect(&member.address)?);
        let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
        let exchange = async { client.groups(GroupsRequest {}).await?.into_inner().try_collect().await };
        let late = |_| Status::deadline_exceeded(format!("ruler {ruler} did not answer in {REQUEST_TIMEOUT:?}"));
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(late)?
    }
}
