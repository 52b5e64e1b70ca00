//! The object store: uploaded blocks by id. Uploads take time, fail at random, and sometimes all fail for a while.

use std::collections::BTreeMap;

use super::env::Ms;
use super::rng::Rng;
use super::samples::{SampleId, SampleSet};

/// Blocks that lie in the store, listed or not.
pub struct Objects {
    blocks: BTreeMap<String, SampleSet>,
    rng: Rng,
    /// How many uploads of a thousand fail.
    pub fails: u64,
    /// None succeeds before this time.
    pub away_until: Ms,
}

impl Objects {
    /// An empty store that works.
    pub fn new(rng: Rng) -> Self {
        Objects { blocks: BTreeMap::new(), rng, fails: 0, away_until: 0 }
    }

    /// How long an upload takes.
    pub fn upload_time(&mut self) -> Ms {
        if self.rng.chance(100) { self.rng.between(200, 4000) } else { self.rng.between(10, 200) }
    }

    /// Puts a block; false if that failed.
    pub fn put(&mut self, now: Ms, id: &str, samples: &[SampleId]) -> bool {
        if now < self.away_until || self.rng.chance(self.fails) {
            return false;
        }
        let mut set = SampleSet::default();
        samples.iter().for_each(|id| _ = set.insert(*id));
        self.blocks.insert(id.to_string(), set);
        true
    }

    /// The samples of a block.
    pub fn get(&self, id: &str) -> Option<&SampleSet> {
        self.blocks.get(id)
    }
}
