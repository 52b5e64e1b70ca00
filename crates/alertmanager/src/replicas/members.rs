//! Which replicas there are, as one of them sees it. A state machine without I/O, in monotonic time.
//!
//! Replicas learn of each other from those that they hear. One that was not heard for a while is missed: the others do not
//! wait for it, and try to reach it until it has been missed for too long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ReplicaInfo;

/// How long a replica may be silent before it is missed.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// A replica other than this one.
struct Peer {
    address: String,
    /// When it was heard last, or first heard of.
    last_heard: Duration,
    is_live: bool,
    /// When it is to be called next.
    next_call: Duration,
}

/// The replicas.
pub(super) struct Members {
    own: ReplicaInfo,
    peers: BTreeMap<String, Peer>,
    /// Addresses of the configuration, with the time of the next call.
    seeds: BTreeMap<String, Duration>,
    /// Names of replicas that said goodbye.
    gone: BTreeSet<String>,
    reconnect_interval: Duration,
    reconnect_timeout: Duration,
}

impl Members {
    pub(super) fn new(
        own: ReplicaInfo,
        seeds: &[String],
        reconnect_interval: Duration,
        reconnect_timeout: Duration,
    ) -> Self {
        let others = seeds.iter().filter(|seed| **seed != own.address);
        let seeds = others.map(|seed| (seed.clone(), Duration::ZERO)).collect();
        Members { own, peers: BTreeMap::new(), seeds, gone: BTreeSet::new(), reconnect_interval, reconnect_timeout }
    }

    /// This one.
    pub(super) fn own(&self) -> &ReplicaInfo {
        &self.own
    }

    /// Takes that a replica called. True if it was not live before.
    pub(super) fn called(&mut self, replica: &ReplicaInfo, now: Duration) -> bool {
        self.gone.remove(&replica.name);
        self.heard(replica, now)
    }

    /// Takes that a replica answered. True if it was not live before. What one answers that has said goodbye since is late.
    pub(super) fn heard(&mut self, replica: &ReplicaInfo, now: Duration) -> bool {
        if replica.name == self.own.name || self.gone.contains(&replica.name) {
            return false;
        }
        // A replica that was restarted has another name at the same address.
        self.peers.retain(|name, peer| *name == replica.name || peer.address != replica.address);
        let new = || Peer { address: String::new(), last_heard: now, is_live: false, next_call: now };
        let peer = self.peers.entry(replica.name.clone()).or_insert_with(new);
        peer.address.clone_from(&replica.address);
        peer.last_heard = now;
        !std::mem::replace(&mut peer.is_live, true)
    }

    /// Takes that another replica knows these. They are called before they count as live.
    pub(super) fn told_of(&mut self, replicas: &[ReplicaInfo], now: Duration) {
        for replica in replicas.iter().filter(|replica| replica.name != self.own.name) {
            let is_known = self.peers.contains_key(&replica.name)
                || self.gone.contains(&replica.name)
                || self.peers.values().any(|peer| peer.is_live && peer.address == replica.address);
            if !is_known {
                let address = replica.address.clone();
                let peer = Peer { address, last_heard: now, is_live: false, next_call: now };
                self.peers.insert(replica.name.clone(), peer);
            }
        }
    }

    /// Takes that these are all other replicas there are.
    pub(super) fn set_peers(&mut self, replicas: &[ReplicaInfo], now: Duration) {
        self.peers.retain(|name, _| replicas.iter().any(|replica| replica.name == *name));
        self.seeds.retain(|seed, _| replicas.iter().any(|replica| replica.address == *seed));
        self.told_of(replicas, now);
    }

    /// Takes that a replica says goodbye.
    pub(super) fn left(&mut self, name: &str) {
        if self.peers.remove(name).is_some() {
            self.gone.insert(name.to_string());
        }
    }

    /// Takes that the seed with this address answered.
    pub(super) fn found_seed(&mut self, address: &str) {
        self.seeds.remove(address);
    }

    /// Whether every seed has answered once.
    pub(super) fn has_found_all_seeds(&self) -> bool {
        self.seeds.is_empty()
    }

    /// Addresses to call now: live replicas and seeds at each interval, others less often. Replicas that have been missed for
    /// too long are forgotten.
    pub(super) fn calls(&mut self, interval: Duration, now: Duration) -> Vec<String> {
        let timeout = self.reconnect_timeout;
        self.peers.retain(|_, peer| peer.is_live || now.saturating_sub(peer.last_heard) < timeout);
        let mut addresses = BTreeSet::new();
        for peer in self.peers.values_mut() {
            peer.is_live &= now.saturating_sub(peer.last_heard) < SILENCE;
            if peer.next_call <= now {
                peer.next_call = now + if peer.is_live { interval } else { self.reconnect_interval.min(SILENCE) };
                addresses.insert(peer.address.clone());
            }
        }
        for (address, next_call) in &mut self.seeds {
            if *next_call <= now {
                *next_call = now + interval;
                addresses.insert(address.clone());
            }
        }
        addresses.into_iter().collect()
    }

    /// Whether a replica is live.
    pub(super) fn is_live(&self, name: &str, now: Duration) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.is_live && now.saturating_sub(peer.last_heard) < SILENCE)
    }

    /// Addresses of the live replicas other than this one.
    pub(super) fn live_addresses(&self, now: Duration) -> Vec<String> {
        let live = self.peers.iter().filter(|(name, _)| self.is_live(name, now));
        live.map(|(_, peer)| peer.address.clone()).collect()
    }

    /// The live replicas by name, this one included.
    pub(super) fn live(&self, now: Duration) -> Vec<ReplicaInfo> {
        let info = |(name, peer): (&String, &Peer)| ReplicaInfo { name: name.clone(), address: peer.address.clone() };
        let mut live: Vec<ReplicaInfo> =
            self.peers.iter().filter(|(name, _)| self.is_live(name, now)).map(info).collect();
        live.push(self.own.clone());
        live.sort_by(|a, b| a.name.cmp(&b.name));
        live
    }

    /// How many replicas are missed.
    pub(super) fn failed(&self, now: Duration) -> usize {
        self.peers.keys().filter(|name| !self.is_live(name, now)).count()
    }

    /// The position of this one among the live replicas.
    pub(super) fn position(&self, now: Duration) -> usize {
        self.live(now).iter().position(|replica| replica.name == self.own.name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
