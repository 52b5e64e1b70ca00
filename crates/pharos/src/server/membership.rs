//! How this node takes part in its cluster: by itself, with nobody else, or as one of several that reach each other
//! through the [`Network`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_cluster::placement::PlacementConfig;
use pharos_cluster::state::DEFAULT_SHARDS;
use pharos_cluster::{BootstrapMode, Command, Member, MemberState, Meta, MetaComponents, MetaConfig, Role, Timing};
use pharos_model::Clock;
use pharos_transport::{Channels, Connect};
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use super::http::HttpConfig;
use super::network::Network;
use super::storage::{self, Folders};
use crate::cli::{self, ServerArgs};

/// Pause between two lines in the log while the node waits for its cluster.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// This node in its cluster.
pub(super) struct Membership {
    pub(super) meta: Arc<Meta>,
    pub(super) identity: String,
    network: Option<Network>,
    /// Where its part of meta is.
    folder: PathBuf,
    member: Member,
    clock: Arc<dyn Clock>,
}

impl Membership {
    /// Finds the cluster, or founds it. The node is no member before [`Membership::enter`].
    pub(super) async fn begin(
        args: &ServerArgs,
        folders: &Folders,
        objects: &Arc<dyn ObjectStore>,
        clock: &Arc<dyn Clock>,
        http: HttpConfig,
        stopped: watch::Receiver<bool>,
    ) -> Result<Membership, String> {
        let identity = folders.identity(&**clock)?;
        if args.is_alone() {
            let meta = storage::open_meta(&folders.meta(), &identity, &**objects, &**clock).await?;
            let member = member(&identity, args, String::new());
            let folder = folders.meta();
            return Ok(Membership { meta, identity, network: None, folder, member, clock: clock.clone() });
        }
        let network = Network::open(&args.cluster, http, clock, stopped).await?;
        let meta = if args.roles.has(cli::Role::Meta) {
            let config = meta_config(&identity, args, &network);
            let (connect, exports) = (network.connect.clone(), Some(objects.clone()));
            let parts = MetaComponents { clock: clock.clone(), connect, exports };
            Meta::start(&folders.meta(), config, parts).await.map_err(|e| e.to_string())?
        } else {
            Meta::connect(args.cluster.join.clone(), network.connect.clone(), clock.clone())
        };
        let member = member(&identity, args, network.address.clone());
        let (meta, network, clock) = (Arc::new(meta), Some(network), clock.clone());
        let membership = Membership { meta, identity, network, folder: folders.meta(), member, clock };
        membership.serve(|_| ());
        tokio::select! {
            () = membership.wait_for_cluster(args) => Ok(membership),
            error = membership.failed() => Err(error),
        }
    }

    /// Says that the node is coming. The view that it has then is not older than its start: the ingester's fence depends
    /// on that.
    pub(super) async fn prefetch(&self) -> Result<(), String> {
        let joining = Member { state: MemberState::Joining, ..self.member.clone() };
        let join = Command::Join { member: joining, at_ms: self.clock.now_ms() };
        self.meta.propose(join).await.map(|_| ()).map_err(|e| e.to_string())
    }

    /// The number of shards of the cluster.
    pub(super) fn shards(&self) -> u32 {
        self.meta.view().settings.as_ref().map_or(DEFAULT_SHARDS, |settings| settings.shards)
    }

    async fn wait_for_cluster(&self, args: &ServerArgs) {
        let (join, expect) = (&args.cluster.join, args.cluster.founders());
        loop {
            match tokio::time::timeout(SAY_AGAIN, self.meta.ready()).await {
                Ok(view) => {
                    let settings = view.settings.as_ref();
                    let cluster = settings.map_or("", |settings| settings.cluster.as_str());
                    return tracing::info!(cluster, node = self.identity, "found the cluster");
                }
                Err(_) if args.roles.has(cli::Role::Meta) => tracing::warn!(
                    ?join,
                    expect,
                    "waiting for the cluster: none of those to join has one, and fewer than --cluster.expect nodes with the meta role see each other"
                ),
                Err(_) => tracing::warn!(?join, "waiting for the cluster: none of those to join has one yet"),
            }
        }
    }

    /// Whether other nodes may be in the cluster.
    pub(super) fn is_open(&self) -> bool {
        self.network.is_some()
    }

    /// The identity of the cluster, or of the node if it is alone: whose the bucket is.
    pub(super) fn bucket_owner(&self) -> String {
        let cluster = || self.meta.view().settings.as_ref().map(|settings| settings.cluster.clone());
        if self.is_open() { cluster().unwrap_or_default() } else { self.identity.clone() }
    }

    /// The way to other nodes.
    pub(super) fn connect(&self) -> Arc<dyn Connect> {
        self.network.as_ref().map_or_else(|| Arc::new(Channels::new()) as Arc<dyn Connect>, |n| n.connect.clone())
    }

    /// The secret that nodes show each other.
    pub(super) fn token(&self) -> Option<String> {
        self.network.as_ref().and_then(|network| network.token()).map(str::to_string)
    }

    /// Lets other nodes ask meta and these services of this node from now on.
    pub(super) fn serve(&self, services: impl FnOnce(&mut RoutesBuilder)) {
        if let Some(network) = &self.network {
            network.serve(|routes| {
                self.meta.add_services(routes);
                services(routes);
            });
        }
    }

    /// Becomes a member: from now on others count on this node.
    pub(super) async fn enter(&self) -> Result<(), String> {
        self.meta.join(self.member.clone()).await.map(|_| ()).map_err(|e| e.to_string())
    }

    /// Waits until this node's part of meta has ended by itself, and says what is to be done. The node is of no use then.
    pub(super) async fn failed(&self) -> String {
        let (reason, folder) = (self.meta.failed().await, self.folder.display());
        format!(
            "this node's part of the cluster's log has failed: {reason}; \
             the node stops and has to be started again: check the disk of {folder}, its space first"
        )
    }

    /// Ends, last of all roles: the others ask it until they end.
    pub(super) async fn finish(self) {
        self.meta.shutdown().await;
        if let Some(network) = self.network {
            network.finish().await;
        }
    }
}

fn meta_config(identity: &str, args: &ServerArgs, network: &Network) -> MetaConfig {
    MetaConfig {
        identity: identity.to_string(),
        address: network.address.clone(),
        join: args.cluster.join.clone(),
        bootstrap: BootstrapMode::Expect(args.cluster.founders()),
        shards: args.cluster.shards as u32,
        replication_factor: args.cluster.replication_factor as u32,
        timing: Timing::default(),
        placement: PlacementConfig::default(),
    }
}

/// What the node is, as a member.
fn member(identity: &str, args: &ServerArgs, address: String) -> Member {
    let alone = args.is_alone();
    let roles: BTreeSet<Role> = if alone { Role::ALL.into() } else { args.roles.iter().map(meta_role).collect() };
    Member {
        id: identity.to_string(),
        http_address: http_address(args, &address),
        address,
        zone: args.cluster.zone.clone(),
        roles,
        version: env!("CARGO_PKG_VERSION").into(),
        weight: args.cluster.weight as u32,
        state: MemberState::Active,
        draining: false,
        since_ms: 0,
    }
}

/// Where others reach the API: at the host of the cluster address if the listener is on all addresses.
fn http_address(args: &ServerArgs, cluster_address: &str) -> String {
    let Some(listen) = args.web.listen_address.first() else { return String::new() };
    let everywhere = ["0.0.0.0", "::"].contains(&listen.host.as_str());
    match cluster_address.rsplit_once(':') {
        Some((host, _)) if everywhere => format!("{host}:{}", listen.port),
        _ => listen.to_string(),
    }
}

fn meta_role(role: cli::Role) -> Role {
    match role {
        cli::Role::Agent => Role::Agent,
        cli::Role::Ingester => Role::Ingester,
        cli::Role::Store => Role::Store,
        cli::Role::Frontend => Role::Frontend,
        cli::Role::Compactor => Role::Compactor,
        cli::Role::Meta => Role::Meta,
    }
}
