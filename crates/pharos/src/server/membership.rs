//! The node's membership in its cluster: a cluster of one, or one of several nodes that talk over the [`Network`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use pharos_cluster::placement::PlacementConfig;
use pharos_cluster::state::DEFAULT_SHARDS;
use pharos_cluster::{
    BootstrapMode, Command, Member, MemberState, Meta, MetaComponents, MetaConfig, PROTOCOL, Role, Timing,
};
use pharos_model::Clock;
use pharos_transport::{Channels, Connect};
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use super::http::HttpConfig;
use super::meta_retry::{WAIT_LOG_INTERVAL, until_answered};
use super::network::Network;
use super::storage::{self, Folders};
use crate::cli::{self, ServerArgs};

/// This node as a member of its cluster.
pub(super) struct Membership {
    pub(super) meta: Arc<Meta>,
    pub(super) identity: String,
    network: Option<Network>,
    /// The folder of the Raft log and state.
    folder: PathBuf,
    member: Member,
    clock: Arc<dyn Clock>,
}

impl Membership {
    /// Finds the cluster, or bootstraps it. The node becomes a member in [`Membership::enter`].
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
            Meta::connect(&identity, args.cluster.join.clone(), network.connect.clone(), clock.clone())
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

    /// Announces that the node is joining. Afterwards its view is not older than its start, on which the ingester's fence
    /// relies.
    pub(super) async fn announce(&self) -> Result<(), String> {
        let joining = Member { state: MemberState::Joining, ..self.member.clone() };
        let join = || self.meta.propose(Command::Join { member: joining.clone(), at_ms: self.clock.now_ms() });
        until_answered("announcing this node to the cluster", join).await.map(|_| ())
    }

    /// The number of shards of the cluster.
    pub(super) fn shards(&self) -> u32 {
        self.meta.view().settings.as_ref().map_or(DEFAULT_SHARDS, |settings| settings.shards)
    }

    /// Whether the cluster keeps more than one copy of a sample.
    pub(super) fn has_replicas(&self) -> bool {
        self.meta.view().settings.as_ref().is_some_and(|settings| settings.replication_factor > 1)
    }

    async fn wait_for_cluster(&self, args: &ServerArgs) {
        let join = &args.cluster.join;
        let expect = args.cluster.founders();
        loop {
            match tokio::time::timeout(WAIT_LOG_INTERVAL, self.meta.ready()).await {
                Ok(view) => {
                    let settings = view.settings.as_ref();
                    let cluster = settings.map_or("", |settings| settings.cluster.as_str());
                    return tracing::info!(cluster, node = self.identity, "found the cluster");
                }
                Err(_) if args.roles.has(cli::Role::Meta) => tracing::warn!(
                    ?join,
                    expect,
                    "waiting for the cluster: no --join address has one, and fewer than --cluster.expect meta nodes are connected"
                ),
                Err(_) => tracing::warn!(?join, "waiting for the cluster: no --join address has one yet"),
            }
        }
    }

    /// Whether the cluster may have other nodes.
    pub(super) fn is_open(&self) -> bool {
        self.network.is_some()
    }

    /// The address at which other nodes reach this one; none in a cluster of one.
    pub(super) fn address(&self) -> Option<&str> {
        self.network.as_ref().map(|network| network.address.as_str())
    }

    /// The owner of the bucket: the identity of the cluster, or of the node if it is a cluster of one.
    pub(super) fn bucket_owner(&self) -> String {
        let cluster = || self.meta.view().settings.as_ref().map(|settings| settings.cluster.clone());
        if self.is_open() { cluster().unwrap_or_default() } else { self.identity.clone() }
    }

    /// Connections to other nodes.
    pub(super) fn connect(&self) -> Arc<dyn Connect> {
        self.network.as_ref().map_or_else(|| Arc::new(Channels::new()) as Arc<dyn Connect>, |n| n.connect.clone())
    }

    /// The shared secret of the cluster.
    pub(super) fn token(&self) -> Option<String> {
        self.network.as_ref().and_then(|network| network.token()).map(str::to_string)
    }

    /// Serves these services and those of meta to other nodes from now on.
    pub(super) fn serve(&self, services: impl FnOnce(&mut RoutesBuilder)) {
        if let Some(network) = &self.network {
            network.serve(|routes| {
                self.meta.add_services(routes);
                services(routes);
            });
        }
    }

    /// Becomes an active member, to which others send work.
    pub(super) async fn enter(&self) -> Result<(), String> {
        until_answered("joining the cluster", || self.meta.join(self.member.clone())).await.map(|_| ())
    }

    /// Waits until this node's part of the Raft group has failed, and returns what to do. The node cannot continue.
    pub(super) async fn failed(&self) -> String {
        let reason = self.meta.failed().await;
        let folder = self.folder.display();
        format!(
            "this node's Raft log has failed: {reason}; the node stops and must be restarted: check the disk of {folder}, \
             and its free space first"
        )
    }

    /// Shuts down. Comes after all roles, which use meta until they end.
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

/// The entry of this node in the member list.
fn member(identity: &str, args: &ServerArgs, address: String) -> Member {
    // Without a configuration there is no Alertmanager to send alerts to.
    let runs = |role: &cli::Role| *role != cli::Role::Alertmanager || args.alertmanager_config().is_some();
    let roles: BTreeSet<Role> = args.roles.iter().filter(runs).map(meta_role).collect();
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
        protocol: PROTOCOL,
    }
}

/// The address of the API for other nodes. A listener on all addresses is reached at the host of the cluster address.
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
        cli::Role::Ruler => Role::Ruler,
        cli::Role::Alertmanager => Role::Alertmanager,
        cli::Role::Meta => Role::Meta,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn args(flags: &[&str]) -> ServerArgs {
        match Cli::try_parse_from_args(["pharos"].iter().chain(flags)).unwrap().command {
            Command::Server(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_at_the_cluster_host() {
        let args = args(&["--web.listen-address=:9091"]);
        assert_eq!(http_address(&args, "node-1:7946"), "node-1:9091");
    }

    #[test]
    fn a_listener_on_one_address_is_reached_there() {
        let args = args(&["--web.listen-address=10.0.0.5:9090"]);
        assert_eq!(http_address(&args, "node-1:7946"), "10.0.0.5:9090");
    }

    #[test]
    fn a_cluster_of_one_has_the_roles_that_the_command_line_knows() {
        let member = member("N", &args(&["--alertmanager.config-file=a.yml"]), String::new());
        assert_eq!(member.roles, cli::Role::ALL.map(meta_role).into());
    }

    #[test]
    fn a_node_without_a_configuration_of_the_alertmanager_does_not_have_the_role() {
        assert!(!member("N", &args(&[]), String::new()).has(Role::Alertmanager));
    }

    #[test]
    fn a_member_has_the_roles_zone_and_weight_of_its_flags() {
        let flags = ["--roles=store,agent", "--join=m:1", "--cluster.zone=rack-7", "--cluster.weight=50"];
        let member = member("N", &args(&flags), "n:7946".to_string());
        assert_eq!(member.roles, [Role::Agent, Role::Store].into());
        assert_eq!(member.zone, "rack-7");
        assert_eq!(member.weight, 50);
    }

    #[test]
    fn every_role_of_the_command_line_has_one_in_the_cluster() {
        let roles: BTreeSet<Role> = cli::Role::ALL.into_iter().map(meta_role).collect();
        assert_eq!(roles.len(), cli::Role::ALL.len());
    }
}
