//! The HTTP handlers of `/api/v1/cluster`, and who may change the cluster.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use object_store::ObjectStore;
use pharos_api::ApiError;
use pharos_api::error::ErrorKind;
use pharos_api::query_log::ClientAddress;
use pharos_api::viewer::{TenantDetails, is_from_this_machine};
use pharos_cluster::placement::{self, PlacementConfig, PlacementContext};
use pharos_cluster::{
    CatalogueCommand, ClusterState, Command, GroupStatus, MemberState, Meta, MetaError, RemovalReason, codec, export,
};
use pharos_model::Clock;
use pharos_transport::connect::TOKEN_HEADER;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::drain::{DrainStatus, UnknownNode, drain_status, has_successors};
use super::progress::Copies;
use super::status::{ClusterStatus, StatusInputs};

/// How long a request waits for the Raft group before it is reported as unavailable.
const GROUP_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest snapshot that a request may restore, in bytes.
const MAX_STATE_BYTES: usize = 1 << 30;

/// Who may change the cluster over HTTP. Everyone may read, except what concerns other tenants.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether everyone who reaches the API may (`--web.enable-admin-api`).
    pub everyone: bool,
    /// The shared secret of the cluster. Requests that carry it may.
    pub token: Option<String>,
    /// Who else may see the tenants.
    pub tenant_details: TenantDetails,
}

impl Access {
    /// Whether a request may change the cluster. A node's own drain is also open to requests from the same machine, because
    /// container hooks run it before a stop. Browsers and proxies are excluded.
    fn allows(&self, headers: &HeaderMap, peer: Option<IpAddr>, drains_itself: bool) -> Result<(), ApiError> {
        let knows = |token: &String| {
            headers.get(TOKEN_HEADER).is_some_and(|given| is_same_secret(token.as_bytes(), given.as_bytes()))
        };
        if self.everyone || self.token.as_ref().is_some_and(knows) {
            return Ok(());
        }
        if drains_itself && is_from_this_machine(headers, peer) {
            return Ok(());
        }
        let needed = match self.token {
            Some(_) => "pass the token of the cluster with --token-file",
            None => "start the node with --web.enable-admin-api, or all nodes with --cluster.token-file",
        };
        Err(ApiError::new(ErrorKind::Unavailable, format!("not allowed to change the cluster: {needed}")))
    }

    /// Whether a request may see all tenants.
    fn shows_tenants(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        self.tenant_details.are_shown_to(headers, peer) || self.allows(headers, peer, false).is_ok()
    }
}

/// Compares two secrets in time that depends only on their lengths.
fn is_same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The state of the handlers.
pub struct ClusterApi {
    /// The handle to the cluster's state.
    pub meta: Arc<Meta>,
    /// The identity of this node.
    pub node: String,
    /// The object store with the blocks and the exported state.
    pub objects: Arc<dyn ObjectStore>,
    /// The source of timestamps.
    pub clock: Arc<dyn Clock>,
    /// Who may change the cluster.
    pub access: Access,
    /// The progress of replicas that catch up.
    pub copies: Copies,
}

impl ClusterApi {
    /// The routes below `/api/v1/cluster`.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/cluster", get(status))
            .route("/api/v1/cluster/drain", get(drain_progress).post(drain))
            .route("/api/v1/cluster/remove", post(remove))
            .route("/api/v1/cluster/snapshot", post(snapshot))
            .route("/api/v1/cluster/restore", post(restore))
            .route("/api/v1/cluster/rebuild", post(rebuild))
            .route("/api/v1/cluster/quarantine", post(quarantine))
            .with_state(self)
    }

    /// The status of the Raft group; none when no meta node answers in time.
    async fn group(&self) -> Option<GroupStatus> {
        match tokio::time::timeout(GROUP_TIMEOUT, self.meta.group()).await {
            Ok(Ok(group)) => Some(group),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The status as seen by this node.
    pub async fn status(&self) -> ClusterStatus {
        let group = self.group().await;
        let view = self.meta.view();
        let now_ms = self.clock.now_ms();
        let progress = self.copies.all(&view, &self.node).await;
        let context = PlacementContext { now_ms, settled_for: Duration::MAX, ..PlacementContext::default() };
        ClusterStatus::of(&StatusInputs {
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
        let not_found = |error: UnknownNode| ApiError::new(ErrorKind::NotFound, error.to_string());
        drain_status(&self.meta.view(), group.as_ref(), node, self.clock.now_ms()).map_err(not_found)
    }

    async fn propose(&self, command: Command) -> Result<(), ApiError> {
        self.meta.propose(command).await.map(|_| ()).map_err(|error| refused(&error))
    }
}

/// The API error of a failed proposal.
fn refused(error: &MetaError) -> ApiError {
    let kind = match error {
        MetaError::Refused(_) => ErrorKind::BadData,
        MetaError::Unavailable(_) | MetaError::Stopped(_) => ErrorKind::Unavailable,
        MetaError::Storage(_) => ErrorKind::Internal,
    };
    ApiError::new(kind, error.to_string())
}

/// The envelope of Prometheus's API.
#[derive(Serialize)]
struct Envelope<T> {
    status: &'static str,
    data: T,
}

fn success(data: impl Serialize) -> Response {
    match serde_json::to_vec(&Envelope { status: "success", data }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => ApiError::internal(format!("cannot encode the response: {error}")).into_response(),
    }
}

fn answer(outcome: Result<impl Serialize, ApiError>) -> Response {
    match outcome {
        Ok(data) => success(data),
        Err(error) => error.into_response(),
    }
}

/// Query parameters of all endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    /// The node to act on. Default: the node that serves the request.
    node: String,
    /// Drain: cancel it.
    cancel: bool,
    /// Remove: even if the node is running or has the last copy of samples.
    force: bool,
    /// Restore: use the newest export in the object store instead of the body.
    export: bool,
    /// Quarantine: the tenant of the block.
    tenant: String,
    /// Quarantine: the id of the block.
    block: String,
}

impl Parameters {
    fn node<'a>(&'a self, api: &'a ClusterApi) -> &'a str {
        if self.node.is_empty() { &api.node } else { &self.node }
    }
}

/// The client of a request, if known.
type Peer = Option<Extension<ClientAddress>>;

fn ip(peer: Peer) -> Option<IpAddr> {
    peer.map(|Extension(ClientAddress(ip))| ip)
}

async fn status(State(api): State<Arc<ClusterApi>>, peer: Peer, headers: HeaderMap) -> Response {
    let shown = async {
        let tenant = pharos_api::tenant_of(&headers)?;
        let mut status = api.status().await;
        if !api.access.shows_tenants(&headers, ip(peer)) {
            status.catalogue = status.catalogue.of_tenant(tenant.as_str());
        }
        Ok(status)
    };
    answer(shown.await)
}

async fn drain_progress(State(api): State<Arc<ClusterApi>>, Query(parameters): Query<Parameters>) -> Response {
    answer(api.drain_status(parameters.node(&api)).await)
}

async fn drain(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(parameters): Query<Parameters>,
) -> Response {
    let done = async {
        let node = parameters.node(&api).to_string();
        api.access.allows(&headers, ip(peer), node == api.node)?;
        if !parameters.cancel && !has_successors(&api.meta.view(), &node) {
            return Err(ApiError::bad_data(format!(
                "nothing can take over from node {node}: no other node of the cluster is running. Stop it without a drain, which loses nothing, or start other nodes first"
            )));
        }
        let state = if parameters.cancel { MemberState::Active } else { MemberState::Draining };
        tracing::info!(node, ?state, "changing member state on request");
        api.propose(Command::SetMemberState { node: node.clone(), state, at_ms: api.clock.now_ms() }).await?;
        api.drain_status(&node).await
    };
    answer(done.await)
}

async fn remove(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(parameters): Query<Parameters>,
) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        if parameters.node.is_empty() {
            return Err(ApiError::bad_data("parameter node is missing"));
        }
        let (node, force) = (parameters.node, parameters.force);
        tracing::warn!(node, force, "removing node from the cluster on request");
        api.propose(Command::RemoveMember { node, force, at_ms: api.clock.now_ms() }).await
    };
    answer(done.await)
}

async fn snapshot(State(api): State<Arc<ClusterApi>>, peer: Peer, headers: HeaderMap) -> Response {
    let taken = async {
        api.access.allows(&headers, ip(peer), false)?;
        let view = api.meta.view();
        let packed = tokio::task::spawn_blocking(move || codec::encode(&view)).await;
        let failed = |error: String| ApiError::internal(format!("cannot encode the state: {error}"));
        packed.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    };
    match taken.await {
        Ok(bytes) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/octet-stream")], Body::from(bytes)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// The snapshot in the body of a request.
async fn sent(body: Body) -> Result<ClusterState, ApiError> {
    let body = to_bytes(body, MAX_STATE_BYTES).await.map_err(|error| ApiError::bad_data(error.to_string()))?;
    let read = tokio::task::spawn_blocking(move || codec::decode(&body)).await;
    let malformed = |error: String| ApiError::bad_data(format!("not a snapshot: {error}"));
    read.map_err(|e| malformed(e.to_string()))?.map_err(|e| malformed(e.to_string()))
}

/// The state that the meta leader exported last.
async fn exported(api: &ClusterApi) -> Result<ClusterState, ApiError> {
    let state = export::read(&*api.objects).await.map_err(|error| refused(&error))?;
    state.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "the object store has no export"))
}

/// The outcome of a restore.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Restored {
    /// Blocks of the object store that were shipped after the snapshot and are listed again.
    pub(super) committed: usize,
    /// Blocks of the snapshot that the object store does not have any more.
    pub(super) missing: usize,
    /// The status afterwards.
    #[serde(flatten)]
    pub(super) status: ClusterStatus,
}

async fn restore(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(parameters): Query<Parameters>,
    body: Body,
) -> Response {
    let done = async {
        // Before the body is read, which may be large.
        api.access.allows(&headers, ip(peer), false)?;
        let state = if parameters.export { exported(&api).await? } else { sent(body).await? };
        tracing::warn!(version = state.version, "restoring the cluster state from a snapshot on request");
        let before = api.meta.view();
        let restore = Command::Restore { state: Box::new(state.clone()), at_ms: api.clock.now_ms() };
        api.propose(restore).await?;
        let recovered = pharos_store::rebuild::recover(&*api.objects, &api.meta, &state, &before).await;
        let recovered = recovered.map_err(|error| {
            let again =
                "the snapshot is restored, but the blocks shipped after it are not listed yet: run the restore again";
            ApiError::internal(format!("{again}: {error}"))
        })?;
        let (committed, missing) = (recovered.committed, recovered.missing);
        tracing::warn!(
            committed,
            missing,
            "listed blocks that were shipped after the snapshot, and removed those that are gone"
        );
        Ok(Restored { committed, missing, status: api.status().await })
    };
    answer(done.await)
}

async fn rebuild(State(api): State<Arc<ClusterApi>>, peer: Peer, headers: HeaderMap) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        let listed: usize = api.meta.view().catalogue.tenants.values().map(|tenant| tenant.blocks.len()).sum();
        if listed > 0 {
            let reason =
                format!("the catalogue lists {listed} blocks; only an empty catalogue can be rebuilt from the bucket");
            return Err(ApiError::bad_data(reason));
        }
        let rebuilt = pharos_store::rebuild::rebuild(&*api.objects, &api.meta, api.clock.now_ms()).await;
        let blocks = rebuilt.map_err(|error| ApiError::internal(error.to_string()))?;
        tracing::warn!(blocks, "rebuilt the catalogue from the bucket on request");
        Ok(json!({"blocks": blocks}))
    };
    answer(done.await)
}

/// Takes a damaged block out of the catalogue. Its objects stay, so that it can be repaired.
async fn quarantine(
    State(api): State<Arc<ClusterApi>>,
    peer: Peer,
    headers: HeaderMap,
    Query(parameters): Query<Parameters>,
) -> Response {
    let done = async {
        api.access.allows(&headers, ip(peer), false)?;
        let (tenant, block) = (parameters.tenant, parameters.block);
        let view = api.meta.view();
        let known = view.catalogue.tenant(&tenant);
        let is_listed = known.is_some_and(|known| known.blocks.iter().any(|listed| listed.id == block));
        if !is_listed {
            let reason = match known.and_then(|known| known.removal(&block)) {
                Some(removal) => format!("block {block} of tenant {tenant} was removed already ({:?})", removal.reason),
                None => format!("the catalogue lists no block {block} of tenant {tenant}"),
            };
            return Err(ApiError::new(ErrorKind::NotFound, reason));
        }
        tracing::warn!(tenant, block, "quarantining block on request: queries omit its samples, its objects are kept");
        let (ids, at_ms, reason) = (vec![block], api.clock.now_ms(), RemovalReason::Quarantine);
        api.propose(CatalogueCommand::RemoveBlocks { tenant, ids, at_ms, reason }.into()).await
    };
    answer(done.await)
}

#[cfg(test)]
mod tests;
