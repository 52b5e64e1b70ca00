//! The object store: uploaded blocks by id. Uploads take time, fail at random, and sometimes all fail for a while.

use std::collections::BTreeMap;

use super::env::Ms;
use super::samples::{SampleId, SampleSet};
use pharos_testkit::Rng;

/// The uploaded blocks, whether the catalogue lists them or not.
pub struct Objects {
    blocks: BTreeMap<String, SampleSet>,
    rng: Rng,
    /// Number of uploads in a thousand that fail.
    pub fails: u64,
    /// End of an outage. Every upload before it fails.
    pub away_until: Ms,
}

impl Objects {
    /// Creates an empty store without faults.
    pub fn new(rng: Rng) -> Self {
        Objects { blocks: BTreeMap::new(), rng, fails: 0, away_until: 0 }
    }

    /// Draws the duration of an upload.
    pub fn upload_time(&mut self) -> Ms {
        if self.rng.chance(100) { self.rng.between(200, 4000) } else { self.rng.between(10, 200) }
    }

    /// Stores the samples of a block. Returns whether the upload succeeded.
    pub fn put(&mut self, now: Ms, id: &str, samples: &[SampleId]) -> bool {
        if now < self.away_until || self.rng.chance(self.fails) {
            return false;
        }
        let mut set = SampleSet::default();
        samples.iter().for_each(|id| _ = set.insert(*id));
        self.blocks.insert(id.to_string(), set);
        true
    }

    /// Reads the samples of a block, unless there is an outage.
    pub fn read(&self, now: Ms, id: &str) -> Option<&SampleSet> {
        self.blocks.get(id).filter(|_| now >= self.away_until)
    }

    /// Returns the samples of a block, if it was uploaded.
    pub fn get(&self, id: &str) -> Option<&SampleSet> {
        self.blocks.get(id)
    }
}
