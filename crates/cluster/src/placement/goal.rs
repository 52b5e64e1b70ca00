//! The goal: which nodes should hold each shard.
//!
//! It keeps existing replicas, fills gaps in ring order among nodes below their share (consistent hashing with bounded loads),
//! and moves single replicas from nodes above their share to nodes below it. A node's share follows its weight as far as
//! zones allow: with at least as many zones as copies, no zone holds two copies of a shard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ring::Ring;
use crate::state::{ClusterState, Member, MemberState};

/// Points of a node on the ring. A few suffice, because levelling evens out the loads.
const POINTS: u32 = 16;

/// The nodes that should hold each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Identities of nodes; the index is the number of the shard.
    pub shards: Vec<BTreeSet<String>>,
}

/// A node that may hold replicas.
struct Node<'a> {
    id: &'a str,
    weight: f64,
    zone: usize,
    /// Whether it may receive replicas; otherwise it only keeps what it has.
    takes: bool,
    /// Number of replicas that it should have.
    share: f64,
    load: usize,
}

struct Plan<'a> {
    nodes: Vec<Node<'a>>,
    /// Indices of nodes, by shard.
    shards: Vec<BTreeSet<usize>>,
    copies: usize,
    /// Limit of copies of a shard in one zone.
    per_zone: usize,
    ring: Ring,
    /// Indices of nodes in ring order, by shard; computed on demand.
    orders: BTreeMap<usize, Vec<usize>>,
}

/// Computes the goal. `keeps` tells whether replicas may stay on a member.
pub fn goal(state: &ClusterState, keeps: impl Fn(&Member) -> bool) -> Goal {
    let mut plan = Plan::new(state, keeps);
    let mut spare: Vec<(usize, usize)> = Vec::new();
    for shard in 0..plan.shards.len() {
        spare.extend(plan.trim(shard).into_iter().map(|node| (shard, node)));
    }
    plan.exchange(&mut spare);
    for shard in 0..plan.shards.len() {
        plan.fill(shard);
        plan.spread(shard);
    }
    plan.level();
    let named = |shard: &BTreeSet<usize>| shard.iter().map(|node| plan.nodes[*node].id.to_string()).collect();
    Goal { shards: plan.shards.iter().map(named).collect() }
}

impl<'a> Plan<'a> {
    fn new(state: &'a ClusterState, keeps: impl Fn(&Member) -> bool) -> Plan<'a> {
        let mut zones: BTreeMap<String, usize> = BTreeMap::new();
        let mut nodes = Vec::new();
        for member in state.members.values().filter(|member| keeps(member)) {
            // A node without a zone is a zone of its own.
            let name = if member.zone.is_empty() { format!("\0{}", member.id) } else { member.zone.clone() };
            let next = zones.len();
            let zone = *zones.entry(name).or_insert(next);
            let (weight, takes) = (f64::from(member.weight), member.state == MemberState::Active);
            nodes.push(Node { id: &member.id, weight, zone, takes, share: 0.0, load: 0 });
        }
        let factor = state.settings.as_ref().map_or(1, |settings| settings.replication_factor as usize);
        let copies = factor.min(nodes.len());
        let per_zone = copies.div_ceil(zones.len().max(1));
        share_out(&mut nodes, zones.len(), state.shards.len(), copies, per_zone);
        let ring = Ring::new(nodes.iter().map(|node| (node.id, node.weight as u32)), POINTS);
        let at: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let held = |replicas: &Vec<String>| replicas.iter().filter_map(|id| at.get(id.as_str()).copied()).collect();
        let shards: Vec<BTreeSet<usize>> = state.shards.iter().map(|shard| held(&shard.replicas)).collect();
        for node in shards.iter().flatten() {
            nodes[*node].load += 1;
        }
        Plan { nodes, shards, copies, per_zone, ring, orders: BTreeMap::new() }
    }

    fn order(&mut self, shard: usize) -> Vec<usize> {
        let ring = &self.ring;
        let key = |shard: usize| xxhash_rust::xxh3::xxh3_64(format!("shard {shard}").as_bytes());
        self.orders.entry(shard).or_insert_with(|| ring.order(key(shard))).clone()
    }

    fn in_zone(&self, shard: usize, zone: usize) -> usize {
        self.shards[shard].iter().filter(|node| self.nodes[**node].zone == zone).count()
    }

    /// The load of a node relative to its share.
    fn fullness(&self, node: usize) -> f64 {
        self.nodes[node].load as f64 / self.nodes[node].share.max(0.01)
    }

    fn put(&mut self, shard: usize, node: usize) {
        if self.shards[shard].insert(node) {
            self.nodes[node].load += 1;
        }
    }

    fn take(&mut self, shard: usize, node: usize) {
        if self.shards[shard].remove(&node) {
            self.nodes[node].load -= 1;
        }
    }

    /// Removes surplus copies, first from crowded zones, then from the fullest nodes. Returns the nodes.
    fn trim(&mut self, shard: usize) -> Vec<usize> {
        let mut trimmed = Vec::new();
        while self.shards[shard].len() > self.copies {
            let crowded = |node: usize| self.in_zone(shard, self.nodes[node].zone) > self.per_zone;
            let rank = |a: &usize, b: &usize| {
                crowded(*a).cmp(&crowded(*b)).then(self.fullness(*a).total_cmp(&self.fullness(*b)))
            };
            let Some(node) = self.shards[shard].iter().copied().max_by(rank) else { break };
            self.take(shard, node);
            trimmed.push(node);
        }
        trimmed
    }

    /// Lets nodes that would lose a replica keep it in place of fuller ones. This evens out loads without moving anything.
    fn exchange(&mut self, spare: &mut [(usize, usize)]) {
        for _ in 0..spare.len() {
            let uneven = |from: usize| {
                let path = self.path(from, spare);
                path.filter(|path| path.iter().all(|(at, from)| self.fits(spare[*at].0, spare[*at].1, Some(*from))))
            };
            let Some(path) = (0..self.nodes.len()).find_map(uneven) else { return };
            for (at, from) in path {
                let (shard, kept) = spare[at];
                self.take(shard, from);
                self.put(shard, kept);
                spare[at] = (shard, from);
            }
        }
    }

    /// A way to bring a node's load down that ends at a node which should have more: one after the other gives up a shard
    /// (by position among the spare) that the next one keeps.
    fn path(&self, start: usize, spare: &[(usize, usize)]) -> Option<Vec<(usize, usize)>> {
        let mut came_by: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (at, (shard, kept)) in spare.iter().enumerate() {
                if *kept == start || came_by.contains_key(kept) || !self.shards[*shard].contains(&node) {
                    continue;
                }
                came_by.insert(*kept, (at, node));
                queue.push_back(*kept);
                if self.worth_it(start, *kept) {
                    let mut path = Vec::new();
                    let mut end = *kept;
                    while let Some((at, from)) = came_by.get(&end).filter(|_| end != start) {
                        path.push((*at, *from));
                        end = *from;
                    }
                    return Some(path);
                }
            }
        }
        None
    }

    /// Whether a node may get a replica of a shard, were `without` not there.
    fn fits(&self, shard: usize, node: usize, without: Option<usize>) -> bool {
        let zone = self.nodes[node].zone;
        let leaving = without.is_some_and(|without| self.nodes[without].zone == zone) as usize;
        self.nodes[node].takes
            && !self.shards[shard].contains(&node)
            && self.in_zone(shard, zone) - leaving < self.per_zone
    }

    /// Adds what is missing: in the order of the ring the first below its share or with room, else the emptiest.
    fn fill(&mut self, shard: usize) {
        while self.shards[shard].len() < self.copies {
            let order = self.order(shard);
            let fitting: Vec<usize> = order.iter().copied().filter(|node| self.fits(shard, *node, None)).collect();
            let lacks = |node: &usize| self.nodes[*node].load < self.nodes[*node].share.floor() as usize;
            let room = |node: &usize| self.nodes[*node].load < self.nodes[*node].share.ceil() as usize;
            let emptiest =
                |nodes: &[usize]| nodes.iter().copied().min_by(|a, b| self.fullness(*a).total_cmp(&self.fullness(*b)));
            let anywhere = || {
                let free = |node: &usize| self.nodes[*node].takes && !self.shards[shard].contains(node);
                emptiest(&order.iter().copied().filter(free).collect::<Vec<_>>())
            };
            let first = |having: &dyn Fn(&usize) -> bool| fitting.iter().copied().find(|node| having(node));
            let found = first(&lacks).or_else(|| first(&room)).or_else(|| emptiest(&fitting)).or_else(anywhere);
            let Some(node) = found else { return };
            self.put(shard, node);
        }
    }

    /// Moves copies out of crowded zones.
    fn spread(&mut self, shard: usize) {
        for _ in 0..self.copies {
            let order = self.order(shard);
            let crowded = |node: &usize| self.in_zone(shard, self.nodes[*node].zone) > self.per_zone;
            let fuller = |a: &usize, b: &usize| self.fullness(*a).total_cmp(&self.fullness(*b));
            let Some(from) = self.shards[shard].iter().copied().filter(crowded).max_by(fuller) else { return };
            let fitting = order.into_iter().filter(|node| self.fits(shard, *node, Some(from)));
            let Some(to) = fitting.min_by(fuller) else { return };
            self.take(shard, from);
            self.put(shard, to);
        }
    }

    /// Moves single replicas from nodes above their share to nodes below it while that is possible.
    fn level(&mut self) {
        let mut held: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.nodes.len()];
        for (shard, nodes) in self.shards.iter().enumerate() {
            for node in nodes {
                held[*node].insert(shard);
            }
        }
        let total = self.shards.len() * self.copies;
        for _ in 0..total {
            let Some((shard, from, to)) = self.best_move(&held) else { return };
            self.take(shard, from);
            self.put(shard, to);
            held[from].remove(&shard);
            held[to].insert(shard);
        }
    }

    /// The best move: from the fullest node to the emptiest one that can take a replica of it.
    fn best_move(&mut self, held: &[BTreeSet<usize>]) -> Option<(usize, usize, usize)> {
        let fuller = |a: &usize, b: &usize| self.fullness(*a).total_cmp(&self.fullness(*b));
        let mut fullest: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].load > 0).collect();
        let mut emptiest: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].takes).collect();
        fullest.sort_by(|a, b| fuller(b, a));
        emptiest.sort_by(fuller);
        for &to in &emptiest {
            for &from in &fullest {
                if !self.worth_it(from, to) {
                    break;
                }
                let movable = held[from].iter().copied().filter(|shard| self.fits(*shard, to, Some(from)));
                let movable: Vec<usize> = movable.collect();
                let place = |plan: &mut Self, shard: usize| plan.order(shard).iter().position(|node| *node == to);
                let ranked = movable.into_iter().map(|shard| (place(self, shard), shard));
                if let Some((_, shard)) = ranked.min() {
                    return Some((shard, from, to));
                }
            }
        }
        None
    }

    /// Whether a move evens out loads: one node is off its share by a whole replica and the other has room.
    fn worth_it(&self, from: usize, to: usize) -> bool {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let above = from.load as f64 > from.share.ceil();
        let below = (to.load as f64) < to.share.floor();
        let from_can = from.load as f64 > from.share.floor();
        let to_can = (to.load as f64) < to.share.ceil();
        (above && to_can) || (below && from_can)
    }
}

/// Assigns shares by weight, limited to `per_zone` copies of every shard in a zone and one on a node.
fn share_out(nodes: &mut [Node<'_>], zones: usize, shards: usize, copies: usize, per_zone: usize) {
    let mut by_zone: Vec<Vec<usize>> = vec![Vec::new(); zones];
    for (at, node) in nodes.iter().enumerate() {
        by_zone[node.zone].push(at);
    }
    let weight = |zone: &Vec<usize>| zone.iter().map(|at| nodes[*at].weight).sum::<f64>();
    let caps = by_zone.iter().map(|zone| (weight(zone), (shards * per_zone.min(zone.len())) as f64));
    let zone_shares = fill_up((shards * copies) as f64, &caps.collect::<Vec<_>>());
    for (zone, share) in by_zone.iter().zip(zone_shares) {
        let caps: Vec<(f64, f64)> = zone.iter().map(|at| (nodes[*at].weight, shards as f64)).collect();
        for (at, share) in zone.iter().zip(fill_up(share, &caps)) {
            nodes[*at].share = share;
        }
    }
}

/// Divides an amount by weight among (weight, cap) pairs. What exceeds a cap goes to the others.
fn fill_up(amount: f64, of: &[(f64, f64)]) -> Vec<f64> {
    let mut shares = vec![0.0; of.len()];
    let mut open: Vec<usize> = (0..of.len()).collect();
    let mut left = amount;
    while !open.is_empty() && left > 0.0 {
        let weights: f64 = open.iter().map(|at| of[*at].0).sum();
        let share = |at: &usize| left * of[*at].0 / weights;
        let full: Vec<usize> = open.iter().copied().filter(|at| share(at) >= of[*at].1).collect();
        if full.is_empty() {
            open.iter().for_each(|at| shares[*at] = share(at));
            break;
        }
        for at in full {
            shares[at] = of[at].1;
            left -= of[at].1;
            open.retain(|other| *other != at);
        }
    }
    shares
}
