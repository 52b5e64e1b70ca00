//! The shards: their replicas, in-sync sets, leaders and learners, and the transitions between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalogue::{self, BlockEntry, CatalogueCommand};

use super::{ClusterState, MemberState, Placement, Refusal, Response, Role};

/// The replicas of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Increases with every change of the fields below, and fences writers with an older one.
    pub epoch: u64,
    /// All nodes that hold or learn it, ascending: in sync, learning or out of sync.
    pub replicas: Vec<String>,
    /// The replicas with every acknowledged sample, ascending.
    pub in_sync: Vec<String>,
    /// The in-sync replica that flushes it. None only while no replica is in sync.
    pub leader: Option<String>,
    /// The replicas that catch up, ascending. Writes go to them, too.
    pub learners: Vec<Learner>,
    /// The epoch since which the leader leads. Samples that it cut before may be in another node's block.
    #[serde(default)]
    pub led_since: u64,
}

/// A replica that catches up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learner {
    /// Identity of the node.
    pub node: String,
    /// The epoch since which it receives every acknowledged write. Its copies and its promotion name this epoch. A write that it
    /// misses ends its learning.
    pub since: u64,
}

impl Shard {
    /// Whether a node has every acknowledged sample.
    pub fn is_in_sync(&self, node: &str) -> bool {
        self.in_sync.iter().any(|n| n == node)
    }

    /// The epoch since which a node learns the shard; none if it does not.
    pub fn learns_since(&self, node: &str) -> Option<u64> {
        self.learners.iter().find(|learner| learner.node == node).map(|learner| learner.since)
    }

    /// Whether a node is a replica, in sync or not.
    pub fn has_replica(&self, node: &str) -> bool {
        self.replicas.iter().any(|n| n == node)
    }

    /// The nodes that writes go to: in-sync replicas first, then learners.
    pub fn write_targets(&self) -> impl Iterator<Item = &str> {
        self.in_sync.iter().map(String::as_str).chain(self.learners.iter().map(|learner| learner.node.as_str()))
    }

    fn drop_replica(&mut self, node: &str) {
        self.replicas.retain(|n| n != node);
        self.in_sync.retain(|n| n != node);
        self.learners.retain(|learner| learner.node != node);
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let ascending = |nodes: &[String]| nodes.windows(2).all(|pair| pair[0] < pair[1]);
        let learners: Vec<String> = self.learners.iter().map(|learner| learner.node.clone()).collect();
        if ![&self.replicas, &self.in_sync, &learners].iter().all(|nodes| ascending(nodes)) {
            return Err("a list of nodes is not ascending".into());
        }
        if let Some(node) = self.in_sync.iter().chain(&learners).find(|node| !self.replicas.contains(node)) {
            return Err(format!("{node} is not a replica"));
        }
        if let Some(node) = learners.iter().find(|node| self.in_sync.contains(node)) {
            return Err(format!("{node} is both in sync and learning"));
        }
        if self.learners.iter().any(|learner| learner.since > self.epoch) {
            return Err("a learner's epoch is ahead of the shard's".into());
        }
        match &self.leader {
            Some(leader) if !self.in_sync.contains(leader) => Err(format!("leader {leader} is not in sync")),
            None if !self.in_sync.is_empty() => Err("no leader although replicas are in sync".into()),
            _ => Ok(()),
        }
    }
}

impl ClusterState {
    /// The numbers of the shards that a node has a replica of.
    pub fn shards_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.numbered_shards().filter(move |(_, shard)| shard.has_replica(node)).map(|(number, _)| number)
    }

    /// The number of shards that each node leads.
    pub fn led(&self) -> BTreeMap<&str, usize> {
        let mut led = BTreeMap::new();
        for leader in self.shards.iter().filter_map(|shard| shard.leader.as_deref()) {
            *led.entry(leader).or_insert(0) += 1;
        }
        led
    }

    /// Copies that each shard needs: the replication factor, or the number of active ingesters if that is less.
    pub fn copies_needed(&self) -> usize {
        let factor = self.settings.as_ref().map_or(1, |settings| settings.replication_factor as usize);
        factor.min(self.active_ingesters().count())
    }

    fn existing_shard(&self, shard: u32) -> Result<&Arc<Shard>, Refusal> {
        self.shard(shard).ok_or(Refusal::NoShard { shard })
    }

    /// Changes a shard, increments its epoch and elects a leader if it has none any more.
    fn change(&mut self, number: u32, change: impl FnOnce(&mut Shard, u64)) -> Response {
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(number as usize) else { return Response::Done };
        let shard = Arc::make_mut(shard);
        let before = shard.leader.clone();
        shard.epoch += 1;
        change(shard, shard.epoch);
        let epoch = shard.epoch;
        if !shard.leader.as_ref().is_some_and(|leader| shard.in_sync.contains(leader)) {
            shard.leader = None;
            let leader = self.best_leader(number);
            if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(number as usize) {
                Arc::make_mut(shard).leader = leader;
            }
        }
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(number as usize)
            && shard.leader != before
        {
            Arc::make_mut(shard).led_since = epoch;
        }
        Response::Epoch(epoch)
    }

    /// The in-sync replica that should lead: the most available one, then the one that leads the fewest shards, then the
    /// smallest identity.
    fn best_leader(&self, number: u32) -> Option<String> {
        let led = self.led();
        let rank = |node: &&String| {
            let state = self.members.get(*node).map(|member| member.state);
            let unfit = match state {
                Some(MemberState::Active) => 0,
                Some(MemberState::Draining) => 1,
                Some(MemberState::Joining) => 2,
                _ => 3,
            };
            (unfit, led.get(node.as_str()).copied().unwrap_or(0), (*node).clone())
        };
        self.shards.get(number as usize)?.in_sync.iter().min_by_key(rank).cloned()
    }

    /// Checks that a node is a live ingester and may receive a replica.
    fn check_holder(&self, node: &str) -> Result<(), Refusal> {
        let member = self.member(node).ok_or_else(|| Refusal::NoMember { node: node.into() })?;
        if member.has(Role::Ingester) && member.state.is_live() {
            return Ok(());
        }
        let reason = "only a live ingester can hold a shard".into();
        Err(Refusal::State { node: node.into(), state: member.state, reason })
    }

    /// A sender's report puts a replica out of sync only while enough others are left to accept writes. With fewer, no write
    /// could be acknowledged on as many nodes as promised. A replica's report about itself counts as long as there is another.
    pub(super) fn report_failed(
        &mut self,
        node: &str,
        shards: &[(u32, u64)],
        reporter: &str,
    ) -> Result<Response, Refusal> {
        let must_stay = match &self.settings {
            Some(settings) if reporter != node => settings.min_in_sync(),
            _ => 1,
        };
        let mut unchanged = BTreeSet::new();
        let mut last = None;
        let mut changed = false;
        for &(number, epoch) in shards {
            let shard = self.existing_shard(number)?;
            if !shard.has_replica(node) || (!shard.is_in_sync(node) && shard.learns_since(node).is_none()) {
                changed = true; // Already as reported.
            } else if shard.learns_since(node).map_or(shard.epoch != epoch, |since| epoch < since) {
                unchanged.insert(number);
            } else if shard.is_in_sync(node) && shard.in_sync.len() <= must_stay {
                last = last.or(Some(number));
                unchanged.insert(number);
            } else {
                changed = true;
                self.change(number, |shard, _| {
                    shard.in_sync.retain(|n| n != node);
                    shard.learners.retain(|learner| learner.node != node);
                });
            }
        }
        match last {
            Some(shard) if !changed => Err(Refusal::LastInSync { shard, node: node.into() }),
            _ => Ok(Response::Unchanged(unchanged.into_iter().collect())),
        }
    }

    pub(super) fn place_shards(&mut self, placements: &[Placement]) -> Result<Response, Refusal> {
        for Placement { shard: number, nodes } in placements {
            let shard = self.existing_shard(*number)?;
            let replicas: BTreeSet<&String> = nodes.iter().collect();
            if replicas.is_empty() || replicas.len() != nodes.len() {
                return Err(Refusal::BadPlacement { shard: *number });
            }
            let replicas: Vec<String> = replicas.into_iter().cloned().collect();
            if !shard.in_sync.is_empty() {
                if shard.in_sync == replicas {
                    continue;
                }
                return Err(Refusal::Placed { shard: *number, epoch: shard.epoch });
            }
            nodes.iter().try_for_each(|node| self.check_holder(node))?;
            self.change(*number, |shard, _| {
                shard.learners.clear();
                shard.leader = nodes.first().cloned();
                shard.in_sync.clone_from(&replicas);
                shard.replicas = replicas;
            });
        }
        Ok(Response::Done)
    }

    pub(super) fn add_learner(&mut self, number: u32, node: &str) -> Result<Response, Refusal> {
        let shard = self.existing_shard(number)?;
        if shard.in_sync.is_empty() {
            return Err(Refusal::NothingInSync { shard: number });
        }
        if shard.is_in_sync(node) || shard.learns_since(node).is_some() {
            return Ok(Response::Epoch(shard.epoch));
        }
        self.check_holder(node)?;
        Ok(self.change(number, |shard, since| {
            if let Err(at) = shard.replicas.binary_search_by(|n| n.as_str().cmp(node)) {
                shard.replicas.insert(at, node.into());
            }
            shard.learners.push(Learner { node: node.into(), since });
            shard.learners.sort_by(|a, b| a.node.cmp(&b.node));
        }))
    }

    pub(super) fn promote(&mut self, number: u32, node: &str, epoch: u64) -> Result<Response, Refusal> {
        let shard = self.existing_shard(number)?;
        if shard.is_in_sync(node) {
            return Ok(Response::Epoch(shard.epoch));
        }
        let since = shard.learns_since(node);
        if since != Some(epoch) {
            return Err(Refusal::NotLearning { shard: number, node: node.into(), asked: epoch, since });
        }
        Ok(self.change(number, |shard, _| {
            shard.learners.retain(|learner| learner.node != node);
            shard.in_sync.push(node.into());
            shard.in_sync.sort();
        }))
    }

    pub(super) fn remove_replica(&mut self, number: u32, node: &str) -> Result<Response, Refusal> {
        let shard = self.existing_shard(number)?;
        if !shard.has_replica(node) {
            return Ok(Response::Epoch(shard.epoch));
        }
        if shard.in_sync.is_empty() {
            return Err(Refusal::NothingInSync { shard: number }); // It may have samples that are lost otherwise.
        }
        if shard.in_sync == [node] {
            return Err(Refusal::LastInSync { shard: number, node: node.into() });
        }
        let live = |n: &&String| *n != node && self.member(n).is_some_and(|m| m.state.is_live());
        let (left, needed) = (shard.in_sync.iter().filter(live).count(), self.copies_needed());
        if left < needed {
            return Err(Refusal::TooFew { shard: number, node: node.into(), left, needed });
        }
        Ok(self.change(number, |shard, _| shard.drop_replica(node)))
    }

    pub(super) fn set_leader(&mut self, number: u32, node: &str) -> Result<Response, Refusal> {
        let shard = self.existing_shard(number)?;
        if shard.leader.as_deref() == Some(node) {
            return Ok(Response::Epoch(shard.epoch));
        }
        if !shard.is_in_sync(node) {
            return Err(Refusal::NotInSync { shard: number, node: node.into() });
        }
        self.check_holder(node)?;
        Ok(self.change(number, |shard, _| shard.leader = Some(node.into())))
    }

    /// Commits blocks that a node cut of shards that it has led since before the cut. As a replica it ships delta blocks of
    /// shards that it is in sync for: samples that no listed block had, whoever leads.
    pub(super) fn ship_blocks(
        &mut self,
        node: &str,
        cut: &[(u32, u64)],
        tenant: &str,
        blocks: &[BlockEntry],
        seen: u64,
        as_replica: bool,
    ) -> Result<Response, Refusal> {
        if self.catalogue.has_all(tenant, blocks)? {
            return Ok(Response::Done);
        }
        if let Some(block) = blocks.iter().find(|block| as_replica && !block.delta) {
            let (tenant, id, reason) = (tenant.into(), block.id.clone(), "only the leader ships main blocks".into());
            return Err(catalogue::Refusal::Malformed { tenant, id, reason }.into());
        }
        let held = blocks.iter().flat_map(|block| &block.shards).copied();
        for number in held.chain(cut.iter().map(|(number, _)| *number)) {
            let epoch = cut.iter().find(|(cut, _)| *cut == number).map_or(0, |(_, epoch)| *epoch);
            self.check_may_ship(node, number, epoch, as_replica)?;
        }
        // A cut contains the unmarked samples of all earlier ones.
        let later = |block: &BlockEntry| Some((block.cut.as_ref()?.number, self.catalogue.later_cut(tenant, block)?));
        if let Some((cut, by)) = blocks.iter().find_map(later) {
            return Err(Refusal::OldCut { node: node.into(), cut, by: by.id.clone() });
        }
        // Deletions mask blocks that have not seen them, but only while they are listed.
        let forgotten = self.catalogue.tenant(tenant).map_or(0, |known| known.newest_forgotten);
        let mut blocks = blocks.to_vec();
        for block in &mut blocks {
            let seen = *block.deletions_seen.get_or_insert(seen);
            if seen < forgotten {
                return Err(Refusal::Deleted { tenant: tenant.into(), newest: forgotten, seen });
            }
        }
        let tenant = tenant.to_string();
        let flushed_until = blocks.iter().filter(|block| !block.delta).map(|block| block.window_end).max();
        Arc::make_mut(&mut self.catalogue).apply(CatalogueCommand::CommitBlocks { tenant, blocks, flushed_until })?;
        Ok(Response::Done)
    }

    /// Checks that a node may ship a shard that it cut at an epoch.
    fn check_may_ship(&self, node: &str, number: u32, epoch: u64, as_replica: bool) -> Result<(), Refusal> {
        let shard = self.existing_shard(number)?;
        if as_replica {
            let not_in_sync = || Refusal::NotInSync { shard: number, node: node.into() };
            return shard.is_in_sync(node).then_some(()).ok_or_else(not_in_sync);
        }
        if shard.leader.as_deref() != Some(node) || epoch < shard.led_since {
            let (leader, since) = (shard.leader.clone(), shard.led_since);
            return Err(Refusal::NotLeader { shard: number, node: node.into(), epoch, leader, since });
        }
        Ok(())
    }

    /// Moves the leaderships of a member that went down to live in-sync replicas, where there are any.
    pub(super) fn move_leaders_off(&mut self, node: &str) {
        let led: Vec<u32> = (0u32..)
            .zip(self.shards.iter())
            .filter(|(_, s)| s.leader.as_deref() == Some(node))
            .map(|(n, _)| n)
            .collect();
        for number in led {
            let Some(best) = self.best_leader(number) else { continue };
            if best != node && self.member(&best).is_some_and(|member| member.state.is_live()) {
                self.change(number, |shard, _| shard.leader = Some(best));
            }
        }
    }

    /// Removes a node from every shard, whatever remains.
    pub(super) fn drop_from_shards(&mut self, node: &str) {
        let held: Vec<u32> = self.shards_of(node).collect();
        for number in held {
            self.change(number, |shard, _| shard.drop_replica(node));
        }
    }
}
