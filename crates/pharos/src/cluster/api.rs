//! The HTTP side: who may do what, and handlers that ask meta.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use object_store::ObjectStore;
use pharos_api::ApiError;
use pharos_api::error::ErrorKind;
use pharos_api::query_log::ClientAddress;
use pharos_cluster::placement::{self, PlacementConfig, PlacementContext};
use pharos_cluster::{ClusterState, Command, GroupStatus, MemberState, Meta, MetaError, codec, export};
use pharos_model::Clock;
use pharos_transport::connect::TOKEN_HEADER;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::drain::{DrainStatus, drain_status};
use super::progress::Copies;
use super::status::{ClusterStatus, Facts};

/// Longest wait for a node of meta.
const GROUP_TIME: Duration = Duration::from_secs(3);
/// Most bytes of a state that is restored.
const MOST_STATE_BYTES: usize = 1 << 30;

/// Who may change the cluster over HTTP.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Everyone who reaches the API (`--web.enable-admin-api`).
    pub everyone: bool,
    /// Who knows the token of the cluster.
    pub token: Option<String>,
}

impl Access {
    /// Whether a request may change something. Draining the node that is asked is also free to those on the same machine,
    /// other than browsers and proxies: it is what runs before a container stops.
    fn allows(&self, headers: &HeaderMap, peer: Option<IpAddr>, drains_itself: bool) -> Result<(), ApiError> {
        let knows =
            |token: &String| headers.get(TOKEN_HEADER).is_some_and(|given| same(token.as_bytes(), given.as_bytes()));
        if self.everyone || self.token.as_ref().is_some_and(knows) {
            return Ok(());
        }
        let foreign = [header::ORIGIN.as_str(), header::FORWARDED.as_str(), "x-forwarded-for"];
        let is_here = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
        if drains_itself && is_here && !foreign.iter().any(|name| headers.contains_key(*name)) {
            return Ok(());
        }
        let needed = match self.token {
            Some(_) => "give the token of the cluster with --token-file",
            None => "start the node with --web.enable-admin-api, or all nodes with --cluster.token-file",
        };
        Err(ApiError::new(ErrorKind::Unavailable, format!("changing the cluster is not allowed: {needed}")))
    }
}

/// Whether two secrets are the same, looking at every byte.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// What the handlers work with.
pub struct ClusterApi {
    /// Meta.
    pub meta: Arc<Meta>,
    /// Who this node is.
    pub node: String,
    /// Where the blocks are.
    pub objects: Arc<dyn ObjectStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who may change something.
    pub access: Access,
    /// Tells how far copies of shards are.
    pub copies: Copies,
}

impl ClusterApi {
    /// The routes.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/cluster", get(status))
            .route("/api/v1/cluster/drain", get(how_far).post(drain))
            .route("/api/v1/cluster/remove", post(remove))
            .route("/api/v1/cluster/snapshot", post(snapshot))
            .route("/api/v1/cluster/restore", post(restore).layer(DefaultBodyLimit::max(MOST_STATE_BYTES)))
            .route("/api/v1/cluster/rebuild", post(rebuild))
            .with_state(self)
    }

    /// How the group is; none when no node of meta answers.
    async fn group(&self) -> Option<GroupStatus> {
        match tokio::time::timeout(GROUP_TIME, self.meta.group()).await {
            Ok(Ok(group)) => Some(group),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// How the cluster is.
    pub async fn status(&self) -> ClusterStatus {
        let (group, view, now_ms) = (self.group().await, self.meta.view(), self.clock.now_ms());
        let progress = self.copies.all(&view, &self.node).await;
        let context = PlacementContext { now_ms, silent: &[], settled_for: Duration::MAX };
        ClusterStatus::of(&Facts {
            state: &view,
            group: group.as_ref(),
            node: &self.node,
            progress: &progress,
            moves: placement::propose(&view, &PlacementConfig::default(), context).len(),
            now_ms,
        })
    }

    async fn drain_status(&self, node: &str) -> Result<DrainStatus, ApiError> {
        let group = self.group().await;
        let not_found = |reason| ApiError::new(ErrorKind::NotFound, reason);
        drain_status(&self.meta.view(), group.as_ref(), node, self.clock.now_ms()).map_err(not_found)
    }

    async fn propose(&self, command: Command) -> Result<(), ApiError> {
        self.meta.propose(command).await.map(|_| ()).map_err(|error| refused(&error))
    }
}

fn refused(error: &MetaError) -> ApiError {
    let kind = match error {
        MetaError::Refused(_) => ErrorKind::BadData,
        MetaError::Unavailable(_) | MetaError::Stopped(_) => ErrorKind::Unavailable,
        MetaError::Storage(_) => ErrorKind::Internal,
    };
    ApiError::new(kind, error.to_string())
}

/// The envelope of the API.
#[derive(Serialize)]
struct Answer<T> {
    status: &'static str,
    data: T,
}

fn success(data: impl Serialize) -> Response {
    match serde_json::to_vec(&Answer { status: "success", data }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => ApiError::internal(format!("the answer cannot be written: {error}")).into_response(),
    }
}

fn answer(outcome: Result<impl Serialize, ApiError>) -> Response {
    match outcome {
        Ok(data) => success(data),
        Err(error) => error.into_response(),
    }
}

/// What a request names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    /// A node; the one that is asked if there is none.
    node: String,
    /// Drain: calls it off.
    cancel: bool,
    /// Remove: also a node that is at work or has the last copy.
    force: bool,
    /// Restore: from the newest export in the object store.
    export: bool,
}

impl Named {
    fn node<'a>(&'a self, api: &'a ClusterApi) -> &'a str {
        if self.node.is_empty() { &api.node } else { &self.node }
    }
}

/// Where a request came from, if that is known.
type Peer = Option<Extension<ClientAddress>>;

fn ip(peer: Peer) -> Option<IpAddr> {
    peer.map(|Extension(ClientAddress(ip))| ip)
}

async fn status(State(api): State<Arc<ClusterApi>>) -> Response {
    success(api.status().await)
}

async fn how_far(State(api): State<Arc<ClusterApi>>, Query(named): Query<Named>) -> Response {
    answer(api.drain_status(named.node(&api)).await)
}

async fn drain(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(named): Query<Named>,
) -> Response {
    let done = async {
        let node = named.node(&api).to_string();
        api.access.allows(&headers, ip(peer), node == api.node)?;
        let state = if named.cancel { MemberState::Active } else { MemberState::Draining };
        tracing::info!(node, ?state, "told over HTTP");
        api.propose(Command::SetMemberState { node: node.clone(), state, at_ms: api.clock.now_ms() }).await?;
        api.drain_status(&node).await
    };
    answer(done.await)
}

async fn remove(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(named): Query<Named>,
) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        if named.node.is_empty() {
            return Err(ApiError::bad_data("parameter node is missing"));
        }
        let (node, force) = (named.node, named.force);
        tracing::warn!(node, force, "a node is removed from the cluster, told over HTTP");
        api.propose(Command::RemoveMember { node, force, at_ms: api.clock.now_ms() }).await
    };
    answer(done.await)
}

async fn snapshot(State(api): State<Arc<ClusterApi>>, peer: Peer, headers: HeaderMap) -> Response {
    let taken = async {
        api.access.allows(&headers, ip(peer), false)?;
        let view = api.meta.view();
        let packed = tokio::task::spawn_blocking(move || codec::encode(&view)).await;
        let failed = |error: String| ApiError::internal(format!("the state cannot be packed: {error}"));
        packed.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    };
    match taken.await {
        Ok(bytes) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/octet-stream")], Body::from(bytes)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// The state of a snapshot.
async fn unpacked(body: Bytes) -> Result<ClusterState, ApiError> {
    let read = tokio::task::spawn_blocking(move || codec::decode(&body)).await;
    let malformed = |error: String| ApiError::bad_data(format!("this is no snapshot: {error}"));
    read.map_err(|e| malformed(e.to_string()))?.map_err(|e| malformed(e.to_string()))
}

/// The newest state that the leader of meta has written to the object store.
async fn exported(api: &ClusterApi) -> Result<ClusterState, ApiError> {
    let state = export::read(&*api.objects).await.map_err(|error| refused(&error))?;
    state.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "there is no export in the object store"))
}

async fn restore(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(named): Query<Named>,
    body: Bytes,
) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        let state = if named.export { exported(&api).await? } else { unpacked(body).await? };
        tracing::warn!(version = state.version, "the state is restored from a snapshot, told over HTTP");
        api.propose(Command::Restore { state: Box::new(state) }).await?;
        Ok(api.status().await)
    };
    answer(done.await)
}

async fn rebuild(State(api): State<Arc<ClusterApi>>, peer: Peer, headers: HeaderMap) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        let listed: usize = api.meta.view().catalogue.tenants.values().map(|tenant| tenant.blocks.len()).sum();
        if listed > 0 {
            let reason = format!("the catalogue lists {listed} blocks: only an empty one is rebuilt from the bucket");
            return Err(ApiError::bad_data(reason));
        }
        let rebuilt = pharos_store::rebuild::rebuild(&*api.objects, &api.meta, api.clock.now_ms()).await;
        let blocks = rebuilt.map_err(|error| ApiError::internal(error.to_string()))?;
        tracing::warn!(blocks, "the catalogue was rebuilt from the bucket, told over HTTP");
        Ok(json!({"blocks": blocks}))
    };
    answer(done.await)
}

#[cfg(test)]
mod tests;
