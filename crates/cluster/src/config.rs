//! Settings of a node with the meta role, and the components that are passed in.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_model::Clock;
use pharos_transport::Connect;

use crate::placement::PlacementConfig;
use crate::state::DEFAULT_SHARDS;

/// How a node without a cluster gets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapMode {
    /// It founds a single-node cluster at once.
    Alone,
    /// It founds a cluster together with others once this many nodes without a cluster see each other. If a node in
    /// [`MetaConfig::join`] already has a cluster, it joins that one.
    Expect(usize),
    /// It waits until a node in [`MetaConfig::join`] has a cluster.
    Join,
}

/// Settings of a node with the meta role.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// Identity of this node, a ULID.
    pub identity: String,
    /// Host and port of its cluster listener, where other nodes reach it; empty if it has none.
    pub address: String,
    /// Addresses of cluster listeners of other nodes.
    pub join: Vec<String>,
    /// How it gets a cluster if it has none.
    pub bootstrap: BootstrapMode,
    /// Number of shards of a cluster that it founds. Default: 64.
    pub shards: u32,
    /// Copies of each shard in a cluster that it founds. Default: 1.
    pub replication_factor: u32,
    /// Intervals and timeouts.
    pub timing: Timing,
    /// Limits of shard movement.
    pub placement: PlacementConfig,
}

impl MetaConfig {
    /// The configuration of a single-node cluster.
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

/// Intervals and timeouts of Raft, of heartbeats and of the leader.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Interval of Raft heartbeats from the leader. Default: 100 ms.
    pub heartbeat: Duration,
    /// Minimum election timeout; the maximum is twice this. After the leader is lost, queries cannot be proved whole for three to
    /// four times as long. Default: 400 ms.
    pub election: Duration,
    /// Log entries between two snapshots. Default: 4096.
    pub commands_per_snapshot: u64,
    /// Interval of a member's heartbeats. Default: 1 s.
    pub member_heartbeat: Duration,
    /// Interval of the heartbeats of an agent or a ruler; another one must take over its work quickly. Default: 300 ms.
    pub agent_heartbeat: Duration,
    /// Time without a heartbeat after which a member is down. Default: 10 s.
    pub lease: Duration,
    /// The lease of a member that is an agent or a ruler, but neither an ingester nor a meta node. Default: 2 s.
    pub agent_lease: Duration,
    /// Interval of the leader's reconciliation. Default: 500 ms.
    pub round: Duration,
    /// How long a voter is down before a spare node takes its place. Default: 1 minute.
    pub replace_voter_after: Duration,
    /// How long a member without shards and vote is down before it is forgotten. Default: 10 minutes.
    pub forget_after: Duration,
    /// Interval of exports of the state to the object store. Default: 5 minutes.
    pub export: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(400),
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

/// The components that [`crate::Meta`] works with.
#[derive(Clone)]
pub struct MetaComponents {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Opens connections to other nodes.
    pub connect: Arc<dyn Connect>,
    /// The object store for exports; none disables them.
    pub exports: Option<Arc<dyn ObjectStore>>,
}
