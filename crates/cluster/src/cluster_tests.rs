//! Groups of several nodes in this process, over a network that can be cut, and over real gRPC on loopback.

mod calls;
mod clocks;
mod identity;
mod members;
mod proofs;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use pharos_block::objects::testing::FaultyStore;
use pharos_model::{Clock, SystemClock};
use pharos_transport::{Channels, ClusterIdentity, Connect, Connection, Identified, IdentityCheck};
use tempfile::TempDir;
use tonic::Status;
use tonic::service::Routes;
use tower::{Layer, ServiceExt};

use crate::placement::PlacementConfig;
use crate::raft::types::raft_id;
use crate::state::DEFAULT_WEIGHT;
use crate::{
    BootstrapMode, CatalogueCommand, ClusterState, Command, Member, MemberState, Meta, MetaComponents, MetaConfig,
    MetaError, Role, Timing, View,
};

/// A network within the process. A node that is cut off neither reaches others nor is reached.
#[derive(Default)]
struct Network {
    nodes: Mutex<BTreeMap<String, (Routes, ClusterIdentity)>>,
    cut_off: Mutex<HashSet<String>>,
    /// Nodes that answer no call.
    hanging: Mutex<HashSet<String>>,
    /// How often each address was called.
    calls: Mutex<BTreeMap<String, usize>>,
}

impl Network {
    fn set_cut_off(&self, address: &str, cut_off: bool) {
        let mut all = self.cut_off.lock();
        let _as_wanted = if cut_off { all.insert(address.into()) } else { all.remove(address) };
    }

    fn set_hanging(&self, address: &str, hangs: bool) {
        let mut all = self.hanging.lock();
        let _as_wanted = if hangs { all.insert(address.into()) } else { all.remove(address) };
    }
}

/// The network as one node sees it.
struct Link {
    network: Arc<Network>,
    from: String,
}

impl Connect for Link {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let (network, from, to) = (self.network.clone(), self.from.clone(), address.to_string());
        Ok(Connection::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let (network, from, to) = (network.clone(), from.clone(), to.clone());
            async move {
                let reachable = {
                    let cut_off = network.cut_off.lock();
                    !cut_off.contains(&from) && !cut_off.contains(&to)
                };
                if network.hanging.lock().contains(&to) {
                    std::future::pending::<()>().await;
                }
                *network.calls.lock().entry(to.clone()).or_default() += 1;
                let routes = network.nodes.lock().get(&to).cloned();
                match routes.filter(|_| reachable) {
                    Some((routes, identity)) => {
                        let checked = IdentityCheck::new(identity).layer(routes);
                        checked.oneshot(request).await.map_err(|never| match never {})
                    }
                    None => Err(Status::unavailable(format!("{from} does not reach {to}"))),
                }
            }
        })))
    }
}

fn address(name: &str) -> String {
    format!("{name}:7946")
}

fn config(name: &str, bootstrap: BootstrapMode, join: &[&str]) -> MetaConfig {
    let mut config = MetaConfig::alone(name);
    config.address = address(name);
    config.join = join.iter().map(|name| address(name)).collect();
    config.bootstrap = bootstrap;
    config.shards = 8;
    config.replication_factor = 3;
    config.timing = Timing {
        heartbeat: Duration::from_millis(50),
        election: Duration::from_millis(300),
        commands_per_snapshot: 64,
        member_heartbeat: Duration::from_millis(100),
        lease: Duration::from_millis(1500),
        round: Duration::from_millis(50),
        replace_voter_after: Duration::from_millis(500),
        export: Duration::from_millis(50),
        ..Timing::default()
    };
    config.placement = PlacementConfig { settle: Duration::from_secs(60), ..PlacementConfig::default() };
    config
}

fn member(name: &str, roles: &[Role]) -> Member {
    Member {
        id: name.into(),
        address: address(name),
        roles: roles.iter().copied().collect(),
        weight: DEFAULT_WEIGHT,
        state: MemberState::Active,
        ..Member::default()
    }
}

/// A node without the meta role, which knows the addresses of A, B and C.
fn follower(cluster: &Cluster, name: &str) -> Meta {
    let join = ["A", "B", "C"].map(address).to_vec();
    Meta::connect(name, join, cluster.link(name), Arc::new(SystemClock::new()))
}

/// Nodes in this process, with their folders.
#[derive(Default)]
struct Cluster {
    network: Arc<Network>,
    folders: BTreeMap<String, TempDir>,
    nodes: BTreeMap<String, Arc<Meta>>,
    /// Where leaders export the state.
    exports: Option<Arc<dyn ObjectStore>>,
}

impl Cluster {
    fn link(&self, from: &str) -> Arc<dyn Connect> {
        Arc::new(Link { network: self.network.clone(), from: address(from) })
    }

    /// As [`Cluster::link`], but calls name the cluster of the node.
    fn identified(&self, from: &str) -> Arc<dyn Connect> {
        Arc::new(Identified::new(self.link(from), ClusterIdentity::default()))
    }

    async fn start(&mut self, name: &str, bootstrap: BootstrapMode, join: &[&str]) {
        self.start_with(name, bootstrap, join, Arc::new(SystemClock::new())).await;
    }

    async fn start_with(&mut self, name: &str, bootstrap: BootstrapMode, join: &[&str], clock: Arc<dyn Clock>) {
        let folder = self.folders.entry(name.into()).or_insert_with(|| tempfile::tempdir().unwrap());
        let folder = folder.path().to_path_buf();
        let (connect, exports) = (self.identified(name), self.exports.clone());
        let parts = MetaComponents { clock, connect: connect.clone(), exports };
        let meta = Meta::start(&folder, config(name, bootstrap, join), parts).await.unwrap();
        let mut routes = Routes::builder();
        meta.add_services(&mut routes);
        self.network.nodes.lock().insert(address(name), (routes.routes(), connect.identity()));
        self.nodes.insert(name.into(), Arc::new(meta));
    }

    /// Three nodes that find each other.
    async fn of_three() -> Cluster {
        Cluster::of_three_with(None).await
    }

    /// As [`Cluster::of_three`], with exports to an object store.
    async fn of_three_with(exports: Option<Arc<dyn ObjectStore>>) -> Cluster {
        let mut cluster = Cluster { exports, ..Cluster::default() };
        for name in ["A", "B", "C"] {
            cluster.start(name, BootstrapMode::Expect(3), &["A", "B", "C"]).await;
        }
        for name in ["A", "B", "C"] {
            in_time(cluster.node(name).ready()).await;
            in_time(cluster.node(name).join(member(name, &[Role::Meta]))).await.unwrap();
        }
        cluster
    }

    fn node(&self, name: &str) -> &Arc<Meta> {
        &self.nodes[name]
    }

    async fn stop(&mut self, name: &str) {
        self.network.nodes.lock().remove(&address(name));
        self.nodes.remove(name).unwrap().shutdown().await;
    }

    async fn leader(&self) -> String {
        let found = async {
            loop {
                if let Some((name, _)) = self.nodes.iter().find(|(_, meta)| meta.status().leads) {
                    return name.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time(found).await
    }

    /// Waits until every node that runs has a view.
    async fn all_see(&self, seen: impl Fn(&View) -> bool + Copy) {
        for meta in self.nodes.values() {
            sees(meta, seen).await;
        }
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("in time")
}

async fn sees(meta: &Meta, seen: impl Fn(&View) -> bool) -> View {
    let mut watch = meta.watch();
    in_time(watch.wait_for(|view| seen(view))).await.unwrap().clone()
}

/// As [`sees`], while other commands make the leader look at the placement. It considers followers silent most of the time,
/// because their heartbeats are rarer than its own, and an unchanged placement is checked again in step with them.
async fn comes_to_see(meta: &Meta, seen: impl Fn(&View) -> bool) {
    let changing = async {
        let mut n = 0;
        while !seen(&meta.view()) {
            n += 1;
            meta.propose(delete(1000 + n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(changing).await;
}

async fn until(reached: impl Fn() -> bool) {
    let polling = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(polling).await;
}

fn delete(n: usize) -> CatalogueCommand {
    CatalogueCommand::Delete {
        tenant: "t".into(),
        selector: format!("{{a=\"{n}\"}}"),
        start: 1,
        end: 2,
        id: String::new(),
    }
}

fn deletions(view: &View) -> usize {
    view.catalogue.tenant("t").map_or(0, |tenant| tenant.deletions.len())
}

fn voters(names: &str) -> BTreeSet<u64> {
    names.chars().map(|name| raft_id(&name.to_string())).collect()
}

fn votes(meta: &Meta) -> BTreeSet<u64> {
    meta.status().voters.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_found_a_cluster_and_each_takes_commands() {
    let cluster = Cluster::of_three().await;
    let clusters: BTreeSet<_> =
        cluster.nodes.values().map(|meta| meta.view().settings.clone().unwrap().cluster).collect();
    assert_eq!(clusters.len(), 1);
    for (n, name) in ["A", "B", "C"].into_iter().enumerate() {
        let outcome = in_time(cluster.node(name).propose(delete(n))).await.unwrap();
        assert_eq!(deletions(&outcome.view), n + 1, "who proposes sees the effect");
    }
    cluster.all_see(|view| deletions(view) == 3).await;
    let refused = in_time(cluster.node("B").propose(Command::ForgetMember { node: "A".into() })).await;
    assert!(refused.is_ok());
    let refused = in_time(cluster.node("B").propose(Command::SetLeader { shard: 99, node: "A".into() })).await;
    assert!(matches!(refused, Err(MetaError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_restarts_catches_up() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    in_time(cluster.node(&leader).propose(delete(0))).await.unwrap();
    cluster.stop(&leader).await;
    let other = cluster.nodes.keys().next().unwrap().clone();
    in_time(cluster.node(&other).propose(delete(1))).await.unwrap();
    cluster.start(&leader, BootstrapMode::Expect(3), &["A", "B", "C"]).await;
    sees(cluster.node(&leader), |view| deletions(view) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_commits_nothing_and_catches_up() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    cluster.network.set_cut_off(&address(&leader), true);
    let cut_off = cluster.node(&leader).clone();
    let tried = tokio::time::timeout(Duration::from_secs(2), cut_off.propose(delete(7))).await;
    assert!(tried.is_err(), "{tried:?}");
    let others: Vec<&Arc<Meta>> = cluster.nodes.iter().filter(|(n, _)| **n != leader).map(|(_, m)| m).collect();
    let outcome = in_time(others[0].propose(delete(1))).await.unwrap();
    assert_eq!(deletions(&outcome.view), 1);
    assert_eq!(deletions(&cut_off.view()), 0, "its view stays readable");
    cluster.network.set_cut_off(&address(&leader), false);
    cluster.all_see(|view| deletions(view) >= 1).await;
    let states = async {
        loop {
            let states: Vec<_> = cluster.nodes.values().map(|meta| meta.view().catalogue.clone()).collect();
            if states.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(states).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_long_receives_a_snapshot() {
    let mut cluster = Cluster::of_three().await;
    cluster.stop("C").await;
    for n in 0..300 {
        in_time(cluster.node("A").propose(delete(n))).await.unwrap();
    }
    cluster.start("C", BootstrapMode::Expect(3), &["A", "B", "C"]).await;
    let view = sees(cluster.node("C"), |view| deletions(view) == 300).await;
    assert_eq!(view.catalogue, cluster.node("A").view().catalogue);
    // And all of it is there after all of them were away.
    for name in ["A", "B", "C"] {
        cluster.stop(name).await;
    }
    for name in ["A", "B", "C"] {
        cluster.start(name, BootstrapMode::Expect(3), &["A", "B", "C"]).await;
    }
    cluster.all_see(|view| deletions(view) == 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_grows_to_three_and_a_dead_voter_is_replaced() {
    let mut cluster = Cluster::default();
    cluster.start("A", BootstrapMode::Alone, &[]).await;
    in_time(cluster.node("A").join(member("A", &[Role::Meta]))).await.unwrap();
    in_time(cluster.node("A").propose(delete(0))).await.unwrap();
    for name in ["B", "C", "D"] {
        cluster.start(name, BootstrapMode::Join, &["A"]).await;
        in_time(cluster.node(name).join(member(name, &[Role::Meta]))).await.unwrap();
    }
    until(|| votes(cluster.node("A")).len() == 3 && cluster.node("A").status().learners.len() == 1).await;
    let standing_by = ["B", "C", "D"].into_iter().find(|n| !votes(cluster.node("A")).contains(&raft_id(n))).unwrap();
    // A dies: the others elect a leader, which gives A's vote to the node that stands by.
    cluster.stop("A").await;
    until(|| {
        let now = votes(cluster.node(standing_by));
        now == voters("BCD")
    })
    .await;
    in_time(cluster.node("B").propose(Command::RemoveMember { node: "A".into(), force: true, at_ms: 1 }))
        .await
        .unwrap();
    let leader = cluster.leader().await;
    until(|| cluster.node(&leader).status().learners.is_empty()).await;
    in_time(cluster.node("C").propose(delete(1))).await.unwrap();
    cluster.all_see(|view| deletions(view) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_see_every_change_and_switch_nodes() {
    let mut cluster = Cluster::of_three().await;
    let clock = Arc::new(SystemClock::new());
    let follower = Meta::connect("F", vec![address("A")], cluster.link("F"), clock.clone());
    in_time(follower.ready()).await;
    in_time(follower.join(member("F", &[Role::Agent]))).await.unwrap();
    let outcome = in_time(follower.propose(delete(0))).await.unwrap();
    assert_eq!(deletions(&outcome.view), 1);
    assert_eq!(outcome.view.ownership_epoch, 1);
    sees(cluster.node("C"), |view| view.member("F").is_some_and(|m| m.state == MemberState::Active)).await;
    cluster.stop("A").await;
    in_time(cluster.node("B").propose(delete(1))).await.unwrap();
    sees(&follower, |view| deletions(view) == 2).await;
    assert_eq!(follower.view().state(), cluster.node("B").view().state());
    cluster.stop("B").await;
    cluster.stop("C").await;
    assert_eq!(deletions(&follower.view()), 2, "the view stays readable");
    for name in ["A", "B", "C"] {
        cluster.start(name, BootstrapMode::Expect(3), &["A", "B", "C"]).await;
    }
    in_time(cluster.node("A").propose(delete(2))).await.unwrap();
    sees(&follower, |view| deletions(view) == 3).await;
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_leave_a_node_without_contact_to_the_leader() {
    for leads in [false, true] {
        let cluster = Cluster::of_three().await;
        let leader = cluster.leader().await;
        let cut_off = ["A", "B", "C"].into_iter().find(|name| (*name == leader) == leads).unwrap();
        let follower = Meta::connect("F", vec![address(cut_off)], cluster.link("F"), Arc::new(SystemClock::new()));
        in_time(follower.ready()).await;
        // What is open stays open: the follower hears of nothing and of no error.
        cluster.network.set_cut_off(&address(cut_off), true);
        let other = ["A", "B", "C"].into_iter().find(|name| *name != cut_off).unwrap();
        in_time(cluster.node(other).propose(delete(0))).await.unwrap();
        sees(&follower, |view| deletions(view) == 1).await;
        follower.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_members_are_down_until_they_are_heard_again() {
    let cluster = Cluster::of_three().await;
    let follower = Meta::connect("F", vec![address("B")], cluster.link("F"), Arc::new(SystemClock::new()));
    in_time(follower.join(member("F", &[Role::Ingester]))).await.unwrap();
    let state = |view: &View| view.member("F").map(|member| member.state);
    cluster.network.set_cut_off(&address("F"), true);
    sees(cluster.node("A"), |view| state(view) == Some(MemberState::Down)).await;
    cluster.network.set_cut_off(&address("F"), false);
    sees(cluster.node("A"), |view| state(view) == Some(MemberState::Active)).await;
    in_time(cluster.node("A").propose(Command::ForgetMember { node: "F".into() })).await.unwrap();
    sees(cluster.node("A"), |view| state(view) == Some(MemberState::Active)).await;
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_exports_the_state() {
    let objects = Arc::new(InMemory::new());
    let cluster = Cluster::of_three_with(Some(objects.clone())).await;
    let version = in_time(cluster.node("A").propose(delete(0))).await.unwrap().view.version;
    let exported = async {
        loop {
            if let Some(state) = crate::export::read(&*objects).await.unwrap()
                && state.version >= version
            {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let exported = in_time(exported).await;
    assert_eq!(exported.settings, cluster.node("A").view().settings);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_never_answers_delays_no_decision_of_the_leader() {
    let objects = FaultyStore::hanging();
    let cluster = Cluster::of_three_with(Some(Arc::new(objects.clone()))).await;
    let joined = |name: &'static str| {
        let follower = Meta::connect(name, vec![address("A")], cluster.link(name), Arc::new(SystemClock::new()));
        async move {
            in_time(follower.join(member(name, &[Role::Ingester]))).await.unwrap();
            follower
        }
    };
    let (first, second, third) = tokio::join!(joined("I1"), joined("I2"), joined("I3"));
    sees(&first, |view| view.shards.iter().all(|shard| shard.in_sync.len() == 3)).await;
    until(|| objects.requests() > 0).await;
    // A replica that failed learns again, and a member that is silent is down.
    let view = first.view();
    let shards = view.numbered_shards().map(|(number, shard)| (number, shard.epoch)).collect();
    let failed = Command::ReportFailed { node: "I2".into(), shards, reporter: "I1".into() };
    in_time(first.propose(failed)).await.unwrap();
    comes_to_see(&first, |view| view.shards.iter().all(|shard| shard.learns_since("I2").is_some())).await;
    cluster.network.set_cut_off(&address("I3"), true);
    sees(&first, |view| view.member("I3").is_some_and(|member| member.state == MemberState::Down)).await;
    for follower in [first, second, third] {
        follower.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_cannot_write_leads_and_receives_nothing_and_stays_a_member() {
    let cluster = Cluster::of_three().await;
    let mut ingesters = Vec::new();
    for name in ["I1", "I2", "I3"] {
        let follower = Meta::connect(name, vec![address("A")], cluster.link(name), Arc::new(SystemClock::new()));
        in_time(follower.join(member(name, &[Role::Ingester]))).await.unwrap();
        ingesters.push(follower);
    }
    let (full, other) = (&ingesters[0], &ingesters[1]);
    sees(other, |view| view.shards.iter().all(|shard| shard.in_sync.len() == 3)).await;
    let leads = |view: &View| view.shards.iter().filter(|shard| shard.leader.as_deref() == Some("I1")).count();
    assert!(leads(&other.view()) > 0);
    full.set_writable(false);
    let view = sees(other, |view| leads(view) == 0).await;
    assert_eq!(view.member("I1").unwrap().state, MemberState::Active);
    let shards = view.numbered_shards().map(|(number, shard)| (number, shard.epoch)).collect();
    let failed = Command::ReportFailed { node: "I1".into(), shards, reporter: "I2".into() };
    let version = in_time(other.propose(failed)).await.unwrap().view.version;
    // Long enough for several rounds of the leader, and for its back-off.
    let learns = |view: &View| view.shards.iter().any(|shard| shard.learns_since("I1").is_some());
    let mut watch = other.watch();
    let waited = tokio::time::timeout(Duration::from_secs(4), watch.wait_for(|view| learns(view))).await;
    assert!(waited.is_err(), "it learns at version {} after {version}", other.view().version);
    full.set_writable(true);
    comes_to_see(other, learns).await;
    for ingester in ingesters {
        ingester.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_placed_and_move_to_a_node_that_joins() {
    let cluster = Cluster::of_three().await;
    let clock = Arc::new(SystemClock::new());
    let mut ingesters = Vec::new();
    for name in ["I1", "I2", "I3", "I4"] {
        let follower = Meta::connect(name, vec![address("A")], cluster.link(name), clock.clone());
        in_time(follower.join(member(name, &[Role::Ingester]))).await.unwrap();
        if name == "I3" {
            sees(&follower, |view| view.shards.iter().all(|shard| shard.in_sync.len() == 3)).await;
        }
        ingesters.push(follower);
    }
    let joined = &ingesters[3];
    // What an ingester does when it has learnt a shard.
    let promoting = async {
        let mut watch = joined.watch();
        loop {
            let view = watch.borrow_and_update().clone();
            for (number, shard) in view.numbered_shards() {
                if let Some(epoch) = shard.learns_since("I4") {
                    joined.propose(Command::Promote { shard: number, node: "I4".into(), epoch }).await.unwrap();
                }
            }
            watch.changed().await.unwrap();
        }
    };
    let moved = |view: &View| {
        let whole = view.shards.iter().all(|shard| shard.in_sync.len() == 3 && shard.replicas.len() == 3);
        whole && view.shards_of("I4").count() == 6
    };
    tokio::select! {
        () = promoting => {}
        view = sees(cluster.node("A"), moved) => assert!(view.check().is_ok()),
    }
    for ingester in ingesters {
        ingester.shutdown().await;
    }
}

/// A node on a real port.
async fn on_loopback(folder: &Path, name: &str, listener: std::net::TcpListener, join: &[String]) -> Arc<Meta> {
    let mut config = config(name, BootstrapMode::Expect(3), &[]);
    (config.address, config.join) = (listener.local_addr().unwrap().to_string(), join.to_vec());
    let parts =
        MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
    let meta = Arc::new(Meta::start(folder, config, parts).await.unwrap());
    let mut routes = Routes::builder();
    meta.add_services(&mut routes);
    listener.set_nonblocking(true).unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
    let server = tonic::transport::Server::builder().add_routes(routes.routes());
    tokio::spawn(server.serve_with_incoming(incoming));
    meta
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_works_over_grpc() {
    let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let join: Vec<String> = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let folders: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = Vec::new();
    for ((name, listener), folder) in ["A", "B", "C"].into_iter().zip(listeners).zip(&folders) {
        nodes.push(on_loopback(folder.path(), name, listener, &join).await);
    }
    let follower = Meta::connect("F", join[2..].to_vec(), Arc::new(Channels::new()), Arc::new(SystemClock::new()));
    in_time(follower.ready()).await;
    for n in 0..20 {
        in_time(nodes[n % 3].propose(delete(n))).await.unwrap();
    }
    sees(&follower, |view| deletions(view) == 20).await;
    assert_eq!(follower.view().state(), nodes[0].view().state());
    for node in nodes {
        node.shutdown().await;
    }
    follower.shutdown().await;
}
