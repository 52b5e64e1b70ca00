//! Problems of a cluster, and what to do about them, as sentences for operators. Pure.

use std::collections::{BTreeMap, BTreeSet};

use pharos_cluster::{ClusterState, GroupStatus, MAX_CLOCK_OFFSET_MS, Member, MemberState, Role, Shard, raft_id};
use pharos_gocompat::format_duration;
use serde::{Deserialize, Serialize};

/// The severity of a problem, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Reads, writes or changes fail.
    Critical,
    /// Everything works, but another failure may break something.
    #[default]
    Warning,
    /// Worth knowing. The cluster recovers on its own.
    Note,
}

impl Severity {
    /// The lowercase name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A problem with advice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// What is wrong and what follows from it.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

fn problem(severity: Severity, what: String, advice: impl Into<String>) -> Problem {
    Problem { severity, what, advice: advice.into() }
}

/// All problems, the worst first.
pub(super) fn problems(state: &ClusterState, group: Option<&GroupStatus>, now_ms: i64) -> Vec<Problem> {
    if state.settings.is_none() {
        let advice =
            "start as many meta nodes as --cluster.expect says, and name the others in the --join flag of each";
        return vec![problem(Severity::Critical, "the cluster is not bootstrapped yet".into(), advice)];
    }
    let mut problems = group.map_or_else(|| vec![unreachable()], |group| of_meta(state, group));
    problems.extend(of_shards(state));
    problems.extend(of_roles(state));
    problems.extend(of_members(state, now_ms));
    problems.extend(group.map_or_else(Vec::new, |group| of_clocks(state, group)));
    problems.extend(of_versions(state));
    problems.extend(of_catalogue(state));
    problems.sort_by_key(|problem| problem.severity);
    problems
}

fn unreachable() -> Problem {
    let what = "no meta node answers: this is the last state that this node knew".to_string();
    let advice = "start the meta nodes; if they are running, check the network between them and this node";
    problem(Severity::Critical, what, advice)
}

fn of_meta(state: &ClusterState, group: &GroupStatus) -> Vec<Problem> {
    let mut problems = Vec::new();
    let down = |id: &&u64| {
        let member = state.members.values().find(|member| raft_id(&member.id) == **id);
        member.is_some_and(|member| member.state == MemberState::Down)
    };
    let (voters, down) = (group.voters.len(), group.voters.iter().filter(down).count());
    let majority = voters / 2 + 1;
    if group.leader.is_none() && voters > 0 {
        let what = format!(
            "meta has no leader ({voters} nodes vote): members, shard placement and the catalogue cannot change"
        );
        let advice = format!(
            "wait a few seconds for an election; if none succeeds, start meta nodes until {majority} are running"
        );
        problems.push(problem(Severity::Critical, what, advice));
    }
    let spare = voters.saturating_sub(down + majority);
    if down > 0 {
        let what =
            format!("{down} of {voters} voting meta nodes are down; the cluster tolerates {spare} more failures");
        let advice = "restart them, or start other meta nodes, which take over their votes after a minute";
        problems.push(problem(Severity::Warning, what, advice));
    } else if voters > 0 && voters < 3 && state.members.values().filter(|m| m.state.is_live()).count() > 1 {
        let what = format!("only {voters} meta nodes vote: if one fails, the cluster cannot change");
        problems.push(problem(Severity::Note, what, "run three meta nodes"));
    }
    problems
}

/// Ascending numbers in short form: `1, 4-7, 9`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => parts.push((number, number)),
        }
    }
    let part = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn of_shards(state: &ClusterState) -> Vec<Problem> {
    let Some(settings) = &state.settings else { return Vec::new() };
    let (needed, copies) = (settings.min_in_sync(), settings.replication_factor as usize);
    let live = |node: &&String| state.member(node).is_some_and(|member| member.state.is_live());
    let with = |is_so: &dyn Fn(&Shard) -> bool| -> Vec<u32> {
        state.numbered_shards().filter(|(_, shard)| is_so(shard)).map(|(number, _)| number).collect()
    };
    let in_sync = |shard: &Shard| shard.in_sync.len();
    let answering = |shard: &Shard| shard.in_sync.iter().filter(live).count();
    let placed = |shard: &Shard| !shard.replicas.is_empty();
    let mut problems = Vec::new();
    let mut add = |severity, shards: Vec<u32>, what: &str, advice: String| {
        if !shards.is_empty() {
            problems.push(problem(severity, format!("shards {} {what}", ranges(&shards)), advice));
        }
    };
    let unplaced = with(&|shard| !placed(shard));
    let advice = "start ingesters; the first placement waits a few seconds for them".into();
    add(Severity::Critical, unplaced, "are not placed yet: their samples are refused", advice);
    let dead = with(&|shard| placed(shard) && answering(shard) == 0);
    let holders: BTreeSet<&String> = dead.iter().flat_map(|at| &state.shards[*at as usize].replicas).collect();
    let holders = holders.into_iter().cloned().collect::<Vec<_>>().join(", ");
    let advice = format!(
        "restart {holders}, which have the samples; if they are lost, `pharos cluster remove NODE --force` gives up the \
         samples that are not in a block yet"
    );
    add(
        Severity::Critical,
        dead,
        "have no live in-sync replica: recent samples cannot be read, new ones are refused",
        advice,
    );
    let few = with(&|shard| in_sync(shard) > 0 && answering(shard) > 0 && in_sync(shard) < needed);
    let advice =
        format!("{needed} replicas must be in sync: start ingesters until they are; learners catch up on their own");
    add(Severity::Critical, few, "have too few replicas in sync: writes to them wait, then fail", advice);
    let thin = with(&|shard| answering(shard) > 0 && in_sync(shard) >= needed && in_sync(shard) < copies);
    let active = state.active_ingesters().count();
    let advice = match active < copies {
        true => format!("start ingesters: {active} are running for {copies} copies"),
        false => "nothing while replicas catch up (see learning); the replicas of a node that stays down move after 5 minutes".into(),
    };
    add(Severity::Warning, thin, "have fewer copies than configured", advice);
    let one_zone = with(&|shard| copies > 1 && in_sync(shard) > 1 && shares_a_zone(state, shard));
    let advice = "start ingesters in other zones; shards move there on their own".into();
    add(Severity::Note, one_zone, "have all copies in one zone", advice);
    problems
}

/// Whether all in-sync replicas are in the same named zone.
fn shares_a_zone(state: &ClusterState, shard: &Shard) -> bool {
    let zones: BTreeSet<&str> =
        shard.in_sync.iter().filter_map(|node| state.member(node)).map(|member| member.zone.as_str()).collect();
    zones.len() == 1 && !zones.contains("")
}

/// Roles that no live node has.
fn of_roles(state: &ClusterState) -> Vec<Problem> {
    let missing = [
        (Role::Ingester, Severity::Critical, "samples are refused and recent ones cannot be read"),
        (Role::Store, Severity::Critical, "samples in blocks cannot be read"),
        (Role::Agent, Severity::Critical, "nothing is scraped and pushes are refused"),
        (Role::Compactor, Severity::Warning, "expired blocks and garbage are not deleted"),
    ];
    let missing = missing.into_iter().filter(|(role, ..)| state.live(*role).next().is_none());
    let found = missing.map(|(role, severity, effect)| {
        let what = format!("no node with the role {role} is running: {effect}");
        problem(severity, what, format!("start a node with --roles={role}"))
    });
    found.collect()
}

fn of_members(state: &ClusterState, now_ms: i64) -> Vec<Problem> {
    let mut problems = Vec::new();
    for member in state.members.values() {
        let since = format_duration((now_ms - member.since_ms).max(0) / 1000 * 1000);
        let what = |state: &str| format!("node {} {state} for {since}", describe(member));
        match member.state {
            MemberState::Down => {
                let held = state.shards_of(&member.id).count();
                let keeps = match held {
                    0 => String::new(),
                    _ => format!("; its replicas of {held} shards move to other nodes after 5 minutes"),
                };
                let advice = format!("restart it, or run `pharos cluster remove {}` if it is lost{keeps}", member.id);
                problems.push(problem(Severity::Warning, what("has been down"), advice));
            }
            MemberState::Draining => {
                let advice = format!(
                    "wait until `pharos cluster drain {0}` reports that it can be stopped, or run `pharos cluster drain {0} --cancel`",
                    member.id
                );
                problems.push(problem(Severity::Note, what("has been draining"), advice));
            }
            MemberState::Joining => {
                let advice = "nothing: it becomes active once it has replayed its log and discovered its targets";
                problems.push(problem(Severity::Note, what("has been joining"), advice));
            }
            MemberState::Active | MemberState::Removed => {}
        }
    }
    problems
}

/// A node with its roles, address and zone.
fn describe(member: &Member) -> String {
    let roles: Vec<&str> = member.roles.iter().map(|role| role.name()).collect();
    let zone = if member.zone.is_empty() { String::new() } else { format!(", zone {}", member.zone) };
    format!("{} ({} at {}{zone})", member.id, roles.join("+"), member.address)
}

/// Wall clocks that are far from the cluster's time.
fn of_clocks(state: &ClusterState, group: &GroupStatus) -> Vec<Problem> {
    let far = |ahead_ms: i64| ahead_ms.unsigned_abs() > MAX_CLOCK_OFFSET_MS as u64;
    let clocks = group.clocks.iter().filter(|(_, ahead_ms)| far(**ahead_ms));
    let found = clocks.filter_map(|(node, ahead_ms)| {
        let (size, side) = (ahead_ms.saturating_abs(), if *ahead_ms > 0 { "ahead of" } else { "behind" });
        let what = format!(
            "the clock of node {} is {} {side} the cluster's time, the median of all clocks",
            describe(state.member(node)?),
            format_duration(size)
        );
        let advice = "synchronize it (NTP, chrony); targets are scraped by the cluster's time meanwhile, but queries, \
                      limits on late samples and logs of this node go by its clock";
        Some(problem(Severity::Warning, what, advice))
    });
    found.collect()
}

/// Different versions, which must be at most one minor version apart.
fn of_versions(state: &ClusterState) -> Vec<Problem> {
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for member in state.members.values().filter(|member| member.state.is_live()) {
        *nodes.entry(&member.version).or_default() += 1;
    }
    if nodes.len() < 2 {
        return Vec::new();
    }
    let counted: Vec<String> = nodes.iter().map(|(version, count)| format!("{count} at {version}")).collect();
    let minor = |version: &str| -> Option<(u64, u64)> {
        let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let minors: BTreeSet<(u64, u64)> = nodes.keys().filter_map(|version| minor(version)).collect();
    let far = match (minors.first(), minors.last()) {
        (Some(first), Some(last)) => first.0 != last.0 || last.1 - first.1 > 1,
        _ => true,
    };
    let what = format!("nodes have different versions: {}", counted.join(", "));
    vec![match far {
        true => {
            problem(Severity::Warning, what, "only adjacent minor versions work together: upgrade the oldest nodes")
        }
        false => problem(Severity::Note, what, "finish the upgrade"),
    }]
}

fn of_catalogue(state: &ClusterState) -> Vec<Problem> {
    if state.catalogue.rebuilt_ms == 0 {
        return Vec::new();
    }
    let what = "the catalogue was rebuilt from the bucket without damaged blocks".to_string();
    vec![problem(Severity::Note, what, "the log of the node that rebuilt it names them")]
}

#[cfg(test)]
mod tests;
