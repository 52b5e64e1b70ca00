//! Consistent hashing: the order in which nodes are tried for a key. Adding or removing a node leaves the order of the others
//! unchanged.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::state::DEFAULT_WEIGHT;

/// A hasher that is the same on every node and in every version, because it decides ownership.
#[derive(Clone, Default)]
struct StableHasher;

impl BuildHasher for StableHasher {
    type Hasher = Xxh3Default;

    fn build_hasher(&self) -> Xxh3Default {
        Xxh3Default::new()
    }
}

/// A point of a node on the ring.
#[derive(Clone, Debug)]
struct Point {
    node: u32,
    hash: u64,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.hash.to_le_bytes());
    }
}

/// A position on the ring.
struct Key(u64);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.to_le_bytes());
    }
}

/// Nodes on a ring, with points in proportion to their weights.
pub(super) struct Ring {
    points: HashRing<Point, StableHasher>,
    nodes: usize,
}

impl Ring {
    /// A ring of nodes given by identity and weight; `points` is the number of points at the default weight.
    pub(super) fn new<'a>(nodes: impl IntoIterator<Item = (&'a str, u32)>, points: u32) -> Ring {
        let mut ring = HashRing::with_hasher(StableHasher);
        let (mut points_of_all, mut count) = (Vec::new(), 0);
        for (node, (id, weight)) in (0u32..).zip(nodes) {
            let own = (u64::from(points) * u64::from(weight) / u64::from(DEFAULT_WEIGHT)).max(1);
            let point = |n: u64| Point { node, hash: xxh3_64(format!("{id}/{n}").as_bytes()) };
            points_of_all.extend((0..own).map(point));
            count += 1;
        }
        ring.batch_add(points_of_all);
        Ring { points: ring, nodes: count }
    }

    /// The index of the first node for a key.
    pub(super) fn first(&self, key: u64) -> Option<usize> {
        self.points.get(&Key(key)).map(|point| point.node as usize)
    }

    /// The indices of all nodes in the order for a key.
    pub(super) fn order(&self, key: u64) -> Vec<usize> {
        let rest = self.points.len().saturating_sub(1);
        let walk = self.points.get_with_replicas(&Key(key), rest).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let fresh = walk.into_iter().map(|point| point.node as usize).filter(|node| seen.insert(*node));
        fresh.take(self.nodes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_node_keeps_the_order_of_the_others() {
        let ids: Vec<String> = (0..20).map(|n| format!("node-{n}")).collect();
        let ring = |n: usize| Ring::new(ids[..n].iter().map(|id| (id.as_str(), 100)), 32);
        let (small, large) = (ring(19), ring(20));
        let mut moved = 0;
        for key in 0..2000 {
            let order = large.order(key);
            assert_eq!(order.len(), 20);
            assert_eq!(small.order(key), order.iter().copied().filter(|n| *n != 19).collect::<Vec<_>>());
            assert_eq!(large.first(key), order.first().copied());
            moved += usize::from(order[0] == 19);
        }
        assert!((40..180).contains(&moved), "{moved}");
        assert_eq!(Ring::new([], 32).first(1), None);
    }
}
