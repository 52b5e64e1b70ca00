//! What `GET /api/v1/cluster` shows: meta's view in a form that people and scripts read. Pure.

use std::collections::BTreeMap;

use pharos_cluster::{ClusterState, GroupStatus, Member, MemberState, Role, Shard, TenantCatalogue, raft_id};
use serde::{Deserialize, Serialize};

use super::health::{self, Problem};

/// How the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Identity of the cluster; empty before its birth.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// Number of the view.
    pub version: u64,
    /// How often the state was restored from an export.
    pub incarnation: u64,
    /// Number of shards.
    pub shard_count: u32,
    /// Copies of each shard.
    pub replication_factor: u32,
    /// How many of them must have a write before it is acknowledged.
    pub min_in_sync: u32,
    /// The group that agrees on all this.
    pub meta: MetaStatus,
    /// The nodes.
    pub members: Vec<MemberStatus>,
    /// The shards.
    pub shards: Vec<ShardStatus>,
    /// Replicas that catch up.
    pub learning: Vec<Learning>,
    /// Steps of placement that are due now.
    pub moves: usize,
    /// Who scrapes.
    pub scraping: Scraping,
    /// The blocks.
    pub catalogue: CatalogueStatus,
    /// Who does what only one node does, by its name.
    pub leases: BTreeMap<String, String>,
    /// What is not healthy, the worst first.
    pub problems: Vec<Problem>,
}

/// Raft's group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetaStatus {
    /// The node that leads; none is known while one is elected.
    pub leader: Option<String>,
    /// Those that vote.
    pub voters: Vec<String>,
    /// Those that stand by.
    pub learners: Vec<String>,
    /// Raft's term.
    pub term: u64,
    /// Position of the last entry that the asked node of meta has applied.
    pub applied: u64,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberStatus {
    /// Its identity.
    pub node: String,
    /// `joining`, `active`, `draining`, `down` or `removed`.
    pub state: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: i64,
    /// Whether it was told to drain.
    pub draining: bool,
    /// What it does.
    pub roles: Vec<String>,
    /// Where it stands.
    pub zone: String,
    /// Version of its program.
    pub version: String,
    /// Its share against others.
    pub weight: u32,
    /// Host and port for other nodes.
    pub address: String,
    /// Host and port of its API.
    pub http_address: String,
    /// Shards that it holds or learns.
    pub replicas: usize,
    /// Shards that it leads.
    pub leads: usize,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u32,
    /// Its epoch.
    pub epoch: u64,
    /// Who ships it.
    pub leader: Option<String>,
    /// Those that hold or learn it.
    pub replicas: Vec<String>,
    /// Those that have every acknowledged sample.
    pub in_sync: Vec<String>,
    /// Replicas that are not in sync: they lag behind.
    pub lagging: Vec<String>,
}

/// A replica that catches up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Learning {
    /// Which shard.
    pub shard: u32,
    /// Who.
    pub node: String,
    /// The epoch since which it gets every write.
    pub since: u64,
    /// What it has copied, if it says so in time.
    pub copied: Option<Copied>,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Copied {
    /// Samples that were copied.
    pub samples: u64,
    /// Bytes that were copied.
    pub bytes: u64,
}

/// Who owns the targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scraping {
    /// The ownership epoch.
    pub epoch: u64,
    /// From when on, milliseconds since the epoch; none since ever.
    pub from_ms: Option<i64>,
    /// Among whom the targets are divided.
    pub agents: Vec<String>,
}

/// The blocks in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogueStatus {
    /// Number of the last commit.
    pub sequence: u64,
    /// When it was rebuilt from the bucket, milliseconds since the epoch; none if it never was.
    pub rebuilt_ms: Option<i64>,
    /// All blocks.
    pub blocks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// By tenant.
    pub tenants: BTreeMap<String, TenantStatus>,
}

/// A tenant's blocks in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantStatus {
    /// Blocks.
    pub blocks: usize,
    /// Those among them that hold late samples only.
    pub deltas: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their samples.
    pub samples: u64,
    /// Everything before it is in blocks, milliseconds since the epoch.
    pub boundary_ms: Option<i64>,
    /// Deletions that mask samples until a rewrite makes them true.
    pub deletions: usize,
}

/// How far copies are, by shard and node.
pub type Progress = BTreeMap<(u32, String), Copied>;

/// What a status is made of.
pub struct Facts<'a> {
    /// The view.
    pub state: &'a ClusterState,
    /// The group; none when no node of meta answers.
    pub group: Option<&'a GroupStatus>,
    /// Who is asked.
    pub node: &'a str,
    /// How far copies are, as far as is known.
    pub progress: &'a Progress,
    /// Steps of placement that are due.
    pub moves: usize,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
}

impl ClusterStatus {
    /// Puts a status together.
    pub fn of(facts: &Facts<'_>) -> Self {
        let Facts { state, group, node, progress, moves, now_ms } = *facts;
        let settings = state.settings.as_ref();
        let led = state.led();
        let member = |member: &Member| member_status(state, member, led.get(member.id.as_str()).copied().unwrap_or(0));
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

/// The node of a Raft id, as far as it is a member.
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

/// The word for a state.
pub(super) fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Active => "active",
        MemberState::Draining => "draining",
        MemberState::Down => "down",
        MemberState::Removed => "removed",
    }
}

fn member_status(state: &ClusterState, member: &Member, leads: usize) -> MemberStatus {
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
        leads,
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
