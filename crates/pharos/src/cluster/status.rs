//! The response of `GET /api/v1/cluster`: the view of the cluster in a form for people and scripts. Pure.

use std::collections::BTreeMap;

use pharos_cluster::{ClusterState, GroupStatus, Member, MemberState, Role, Shard, TenantCatalogue, raft_id};
use serde::{Deserialize, Serialize};

use super::health::{self, Problem};

/// The status of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Identity of the cluster; empty until it is bootstrapped.
    pub cluster: String,
    /// Identity of the node that reports.
    pub node: String,
    /// Version of the view.
    pub version: u64,
    /// How often the state was restored from a snapshot.
    pub incarnation: u64,
    /// Number of shards, fixed at bootstrap.
    pub shard_count: u32,
    /// Number of copies of each shard.
    pub replication_factor: u32,
    /// Number of replicas that must have a write before it is acknowledged.
    pub min_in_sync: u32,
    /// The Raft group that holds this state.
    pub meta: MetaStatus,
    /// All members, sorted by identity.
    pub members: Vec<MemberStatus>,
    /// All shards, by number.
    pub shards: Vec<ShardStatus>,
    /// Replicas that are catching up.
    pub learning: Vec<Learning>,
    /// Number of placement changes that are due.
    pub moves: usize,
    /// Target ownership.
    pub scraping: Scraping,
    /// A summary of the blocks.
    pub catalogue: CatalogueStatus,
    /// Holders of leases, by the name of the lease.
    pub leases: BTreeMap<String, String>,
    /// Problems, the worst first.
    pub problems: Vec<Problem>,
}

/// The Raft group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetaStatus {
    /// The leader; none during an election.
    pub leader: Option<String>,
    /// Members that vote.
    pub voters: Vec<String>,
    /// Members that follow the log without a vote.
    pub learners: Vec<String>,
    /// Current Raft term.
    pub term: u64,
    /// Index of the last log entry that the answering meta node has applied.
    pub applied: u64,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberStatus {
    /// Identity of the node.
    pub node: String,
    /// `joining`, `active`, `draining`, `down` or `removed`.
    pub state: String,
    /// When the node entered this state, in milliseconds since the epoch.
    pub since_ms: i64,
    /// Whether a drain was requested.
    pub draining: bool,
    /// Names of its roles.
    pub roles: Vec<String>,
    /// Failure domain; may be empty.
    pub zone: String,
    /// Version of Pharos that it runs.
    pub version: String,
    /// Share of shards and targets relative to other nodes.
    pub weight: u32,
    /// Cluster address, `host:port`.
    pub address: String,
    /// Address of its HTTP API, `host:port`.
    pub http_address: String,
    /// Number of shards of which it has a replica, in sync or catching up.
    pub replicas: usize,
    /// Number of shards that it leads.
    pub leads: usize,
    /// How far its wall clock is ahead of the cluster's time, in milliseconds; none when it has not reported or meta's leader
    /// does not answer.
    pub clock_offset_ms: Option<i64>,
}

/// The replicas of a shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardStatus {
    /// Number of the shard.
    pub shard: u32,
    /// Epoch of the shard; every change of replicas or leader increments it.
    pub epoch: u64,
    /// The replica that ships its blocks.
    pub leader: Option<String>,
    /// All replicas, in sync or catching up.
    pub replicas: Vec<String>,
    /// Replicas that have every acknowledged sample.
    pub in_sync: Vec<String>,
    /// Replicas that are not in sync.
    pub lagging: Vec<String>,
}

/// A replica that is catching up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Learning {
    /// Number of the shard.
    pub shard: u32,
    /// Identity of the node.
    pub node: String,
    /// Epoch since which it receives every write.
    pub since: u64,
    /// What it has copied so far; none when the node did not report in time.
    pub copied: Option<Copied>,
}

/// What a replica has copied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Copied {
    /// Number of samples.
    pub samples: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// The agents among which targets are divided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scraping {
    /// Epoch of the assignment; every change of the agents increments it.
    pub epoch: u64,
    /// When the assignment takes effect, in milliseconds since the epoch; none for the first one.
    pub from_ms: Option<i64>,
    /// Identities of the agents.
    pub agents: Vec<String>,
}

/// A summary of the block catalogue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogueStatus {
    /// Sequence number of the last commit.
    pub sequence: u64,
    /// When it was rebuilt from the bucket, in milliseconds since the epoch; none if never.
    pub rebuilt_ms: Option<i64>,
    /// Number of blocks.
    pub blocks: usize,
    /// Total size of the blocks in bytes.
    pub bytes: u64,
    /// Summaries by tenant.
    pub tenants: BTreeMap<String, TenantStatus>,
}

/// A summary of a tenant's blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantStatus {
    /// Number of blocks, delta blocks included.
    pub blocks: usize,
    /// Number of delta blocks, which hold late samples only.
    pub deltas: usize,
    /// Total size of the blocks in bytes.
    pub bytes: u64,
    /// Number of samples in the blocks.
    pub samples: u64,
    /// Samples before this time are in blocks, in milliseconds since the epoch.
    pub boundary_ms: Option<i64>,
    /// Number of deletions that mask samples until a merge rewrites the blocks.
    pub deletions: usize,
}

impl CatalogueStatus {
    /// The summary as one tenant may see it.
    pub(super) fn of_tenant(mut self, tenant: &str) -> Self {
        self.tenants.retain(|name, _| name == tenant);
        self.blocks = self.tenants.values().map(|tenant| tenant.blocks).sum();
        self.bytes = self.tenants.values().map(|tenant| tenant.bytes).sum();
        self
    }
}

/// What replicas have copied so far, by shard and node.
pub type Progress = BTreeMap<(u32, String), Copied>;

/// The inputs of a status.
pub struct StatusInputs<'a> {
    /// The view of the cluster.
    pub state: &'a ClusterState,
    /// Status of the Raft group; none when no meta node answers.
    pub group: Option<&'a GroupStatus>,
    /// Identity of the reporting node.
    pub node: &'a str,
    /// Known progress of replicas that catch up.
    pub progress: &'a Progress,
    /// Number of placement changes that are due.
    pub moves: usize,
    /// Current time in milliseconds since the epoch.
    pub now_ms: i64,
}

impl ClusterStatus {
    /// Builds a status.
    pub fn of(inputs: &StatusInputs<'_>) -> Self {
        let StatusInputs { state, group, node, progress, moves, now_ms } = *inputs;
        let settings = state.settings.as_ref();
        let led = state.led();
        let member = |member: &Member| MemberStatus {
            leads: led.get(member.id.as_str()).copied().unwrap_or(0),
            clock_offset_ms: group.and_then(|group| group.clocks.get(&member.id).copied()),
            ..member_status(state, member)
        };
        let leases = state.leases.iter().filter_map(|(name, lease)| Some((name.clone(), lease.holder.clone()?)));
        ClusterStatus {
            cluster: settings.map(|settings| settings.cluster.clone()).unwrap_or_default(),
            node: node.to_string(),
            version: state.version,
            incarnation: state.incarnation,
            shard_count: state.shards.len() as u32,
            replication_factor: settings.map_or(0, |settings| settings.replication_factor),
            min_in_sync: settings.map_or(0, |settings| settings.min_in_sync() as u32),
            meta: group.map(|group| meta_status(state, group)).unwrap_or_default(),
            members: state.members.values().map(|m| member(m)).collect(),
            shards: state.numbered_shards().map(|(number, shard)| shard_status(number, shard)).collect(),
            learning: learning(state, progress),
            moves,
            scraping: scraping(state),
            catalogue: catalogue(state),
            leases: leases.collect(),
            problems: health::problems(state, group, now_ms),
        }
    }
}

/// The identity of a Raft id, or a placeholder when it is not a member.
fn named(state: &ClusterState, id: u64) -> String {
    let member = state.members.keys().find(|node| raft_id(node) == id);
    member.cloned().unwrap_or_else(|| format!("unknown ({id:x})"))
}

fn meta_status(state: &ClusterState, group: &GroupStatus) -> MetaStatus {
    let named = |ids: &[u64]| ids.iter().map(|id| named(state, *id)).collect();
    MetaStatus {
        leader: group.leader.map(|id| self::named(state, id)),
        voters: named(&group.voters),
        learners: named(&group.learners),
        term: group.term,
        applied: group.applied,
    }
}

/// The name of a state in JSON and text.
pub(super) fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Active => "active",
        MemberState::Draining => "draining",
        MemberState::Down => "down",
        MemberState::Removed => "removed",
    }
}

fn member_status(state: &ClusterState, member: &Member) -> MemberStatus {
    MemberStatus {
        node: member.id.clone(),
        state: state_name(member.state).into(),
        since_ms: member.since_ms,
        draining: member.draining,
        roles: member.roles.iter().map(Role::to_string).collect(),
        zone: member.zone.clone(),
        version: member.version.clone(),
        weight: member.weight,
        address: member.address.clone(),
        http_address: member.http_address.clone(),
        replicas: state.shards_of(&member.id).count(),
        ..MemberStatus::default()
    }
}

fn shard_status(number: u32, shard: &Shard) -> ShardStatus {
    ShardStatus {
        shard: number,
        epoch: shard.epoch,
        leader: shard.leader.clone(),
        replicas: shard.replicas.clone(),
        in_sync: shard.in_sync.clone(),
        lagging: shard.replicas.iter().filter(|node| !shard.is_in_sync(node)).cloned().collect(),
    }
}

fn learning(state: &ClusterState, progress: &Progress) -> Vec<Learning> {
    let shards = state.numbered_shards();
    let learners = shards.flat_map(|(number, shard)| shard.learners.iter().map(move |learner| (number, learner)));
    let learning = learners.map(|(shard, learner)| Learning {
        shard,
        node: learner.node.clone(),
        since: learner.since,
        copied: progress.get(&(shard, learner.node.clone())).copied(),
    });
    learning.collect()
}

fn scraping(state: &ClusterState) -> Scraping {
    let epoch = state.ownership_epoch;
    match state.assignments.last() {
        None => Scraping { epoch, from_ms: None, agents: state.owning_agents().into_keys().collect() },
        Some(assignment) => {
            let from_ms = (assignment.from_ms != i64::MIN).then_some(assignment.from_ms);
            Scraping { epoch, from_ms, agents: assignment.agents.keys().cloned().collect() }
        }
    }
}

fn catalogue(state: &ClusterState) -> CatalogueStatus {
    let catalogue = &state.catalogue;
    let tenants: BTreeMap<String, TenantStatus> =
        catalogue.tenants.iter().map(|(name, tenant)| (name.clone(), tenant_status(tenant))).collect();
    CatalogueStatus {
        sequence: catalogue.sequence,
        rebuilt_ms: (catalogue.rebuilt_ms != 0).then_some(catalogue.rebuilt_ms),
        blocks: tenants.values().map(|tenant| tenant.blocks).sum(),
        bytes: tenants.values().map(|tenant| tenant.bytes).sum(),
        tenants,
    }
}

fn tenant_status(tenant: &TenantCatalogue) -> TenantStatus {
    TenantStatus {
        blocks: tenant.blocks.len(),
        deltas: tenant.blocks.iter().filter(|block| block.delta).count(),
        bytes: tenant.blocks.iter().map(|block| block.bytes).sum(),
        samples: tenant.blocks.iter().map(|block| block.samples).sum(),
        boundary_ms: tenant.flushed_until,
        deletions: tenant.deletions.len(),
    }
}
