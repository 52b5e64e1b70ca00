//! Settings of meta, and the components that it is handed.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_model::Clock;
use pharos_transport::Connect;

use crate::placement::PlacementConfig;
use crate::state::DEFAULT_SHARDS;

/// How a node comes to its cluster, when it has none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapMode {
    /// It founds one by itself, at once.
    Alone,
    /// When this many nodes without a cluster see each other, they found one. If one of those that it was told to join has
    /// a cluster, it joins that.
    Expect(usize),
    /// It waits until one of those that it was told to join has a cluster.
    Join,
}

/// Settings of a node with the meta role.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// Who this node is.
    pub identity: String,
    /// Host and port of its cluster listener, under which others reach it; empty without one.
    pub address: String,
    /// Addresses of cluster listeners of other nodes.
    pub join: Vec<String>,
    /// How it comes to its cluster.
    pub bootstrap: BootstrapMode,
    /// Shards of a cluster that it founds. Default: 64.
    pub shards: u32,
    /// Copies of each shard, in a cluster that it founds. Default: 1.
    pub replication_factor: u32,
    /// Times.
    pub timing: Timing,
    /// How shards are placed.
    pub placement: PlacementConfig,
}

impl MetaConfig {
    /// A node by itself.
    pub fn alone(identity: impl Into<String>) -> Self {
        MetaConfig {
            identity: identity.into(),
            address: String::new(),
            join: Vec::new(),
            bootstrap: BootstrapMode::Alone,
            shards: DEFAULT_SHARDS,
            replication_factor: 1,
            timing: Timing::default(),
            placement: PlacementConfig::default(),
        }
    }
}

/// How often and how long.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two signs of life of Raft's leader. Default: 250 ms.
    pub heartbeat: Duration,
    /// Silence after which a new leader is elected, up to twice this. Default: 1 s.
    pub election: Duration,
    /// Commands between two snapshots. Default: 4096.
    pub commands_per_snapshot: u64,
    /// Between two signs of life of a member. Default: 1 s.
    pub member_heartbeat: Duration,
    /// The same of an agent, whose targets somebody else has to take over soon. Default: 300 ms.
    pub agent_heartbeat: Duration,
    /// Silence after which a member counts as down. Default: 10 s.
    pub lease: Duration,
    /// The same of a member that is an agent and neither keeps samples nor votes. Default: 2 s.
    pub agent_lease: Duration,
    /// Between two rounds of what the leader does. Default: 500 ms.
    pub round: Duration,
    /// How long a voter is down before another node takes its place, if there is one. Default: 1 minute.
    pub replace_voter_after: Duration,
    /// How long a member that holds nothing is down before it is forgotten. Default: 10 minutes.
    pub forget_after: Duration,
    /// Between two exports of the state to the object store. Default: 5 minutes.
    pub export: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(250),
            election: Duration::from_secs(1),
            commands_per_snapshot: 4096,
            member_heartbeat: Duration::from_secs(1),
            agent_heartbeat: Duration::from_millis(300),
            lease: Duration::from_secs(10),
            agent_lease: Duration::from_secs(2),
            round: Duration::from_millis(500),
            replace_voter_after: Duration::from_secs(60),
            forget_after: Duration::from_secs(600),
            export: Duration::from_secs(300),
        }
    }
}

/// What meta works with.
#[derive(Clone)]
pub struct MetaComponents {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to other nodes.
    pub connect: Arc<dyn Connect>,
    /// Where the state is exported to; none exports nothing.
    pub exports: Option<Arc<dyn ObjectStore>>,
}
