//! What must hold at any moment, and what must hold once everything has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pharos_cluster::ClusterState;
use pharos_ingester::Ingester;
use pharos_model::hash::{series_hash, shard_of};
use pharos_model::{SelectRequest, SeriesBatch, TimeRange};
use pharos_transport::{Scope, SeriesSource};

use crate::blocks::{Stored, samples_of};
use crate::client::{labels, tenant};
use crate::env::Env;
use crate::model::{Allowed, Key, Model, Value};
use crate::{BASE_MS, SERIES, SHARDS};

/// What an ingester that serves has in memory.
pub(crate) struct Memory {
    pub(crate) node: String,
    pub(crate) ingester: Arc<Ingester>,
    pub(crate) samples: BTreeMap<Key, Value>,
}

impl Memory {
    pub(crate) fn of(node: &str, ingester: Arc<Ingester>) -> Memory {
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        let samples = match ingester.head().select(&tenant(), &request, None) {
            Ok(set) => {
                let mut out = SeriesBatch::default();
                match set.fetch(0..set.labels().len(), TimeRange::ALL, &mut out) {
                    Ok(()) => samples_of(set.labels(), &out).into_iter().collect(),
                    Err(_) => BTreeMap::new(),
                }
            }
            Err(_) => BTreeMap::new(),
        };
        Memory { node: node.to_string(), ingester, samples }
    }
}

/// The shard of a series.
pub(crate) fn shard(series: u32) -> u32 {
    static SHARD_OF: OnceLock<Vec<u32>> = OnceLock::new();
    let of = |series| shard_of(series_hash(&tenant(), labels(series).as_bytes()), SHARDS);
    SHARD_OF.get_or_init(|| (0..SERIES).map(of).collect())[series as usize]
}

/// A moment.
pub(crate) struct Moment<'a> {
    pub(crate) env: &'a Env,
    pub(crate) state: &'a ClusterState,
    pub(crate) model: &'a Model,
    pub(crate) memories: &'a [Memory],
    pub(crate) stored: &'a BTreeMap<Key, Vec<Stored>>,
}

impl Moment<'_> {
    /// Checks what holds at any moment.
    pub(crate) fn check(&self, with_reads: bool) {
        self.one_main_block();
        let allowed = self.model.samples.keys().map(|key| (*key, self.model.allowed(*key)));
        let must: BTreeMap<Key, Allowed> = allowed.filter(|(_, allowed)| !allowed.nothing).collect();
        for memory in self.memories {
            self.in_sync_replicas_are_whole(memory, &must);
            if with_reads {
                self.completeness_is_true(memory, &must);
            }
        }
        self.replicas_agree(&must);
    }

    fn is_in_sync(&self, node: &str, series: u32) -> bool {
        self.state.shard(shard(series)).is_some_and(|shard| shard.is_in_sync(node))
    }

    fn is_in_a_block(&self, key: Key, values: &BTreeSet<Value>) -> bool {
        let stored = self.stored.get(&key).into_iter().flatten();
        stored.into_iter().any(|stored| !stored.is_masked && values.contains(&stored.value))
    }

    /// An acknowledged sample is in the memory of every in-sync replica, or in a listed block that nothing masks.
    fn in_sync_replicas_are_whole(&self, memory: &Memory, must: &BTreeMap<Key, Allowed>) {
        if memory.ingester.head().is_incomplete() {
            return;
        }
        for (key, allowed) in must.iter().filter(|(key, _)| self.is_in_sync(&memory.node, key.series)) {
            let held = memory.samples.get(key);
            let is_held = held.is_some_and(|held| allowed.values.contains(held));
            if !is_held && !self.is_in_a_block(*key, &allowed.values) {
                self.env.violated(format!(
                    "{key:?} (shard {}) is acknowledged with {:?}, in-sync replica {} has {held:?}, blocks have {:?}",
                    shard(key.series),
                    allowed.values,
                    memory.node,
                    self.stored.get(key)
                ));
                return;
            }
        }
    }

    /// What an ingester says that it has, it has.
    fn completeness_is_true(&self, memory: &Memory, must: &BTreeMap<Key, Allowed>) {
        if !self.state.shards.iter().all(|shard| shard.is_in_sync(&memory.node)) {
            return;
        }
        let Ok(complete) = memory.ingester.completeness(&Scope::all(tenant()), Duration::from_secs(1)) else { return };
        for key in must.keys().filter(|key| key.t >= complete.from) {
            if !memory.samples.contains_key(key) {
                let from = complete.from.saturating_sub(BASE_MS);
                self.env
                    .violated(format!("{} lacks {key:?}, but says that it is complete from {from} on", memory.node));
                return;
            }
        }
    }

    /// Two in-sync replicas have the same value of an acknowledged sample, unless another one may take its place: when memory
    /// does not have the acknowledged one any more, replicas differ while a write waits for its verdict.
    fn replicas_agree(&self, must: &BTreeMap<Key, Allowed>) {
        let mut values: BTreeMap<Key, (&str, Value)> = BTreeMap::new();
        for memory in self.memories.iter().filter(|memory| !memory.ingester.head().is_incomplete()) {
            for (key, value) in &memory.samples {
                let Some(allowed) = must.get(key).filter(|_| self.is_in_sync(&memory.node, key.series)) else {
                    continue;
                };
                let (other, known) = *values.entry(*key).or_insert((&memory.node, *value));
                if known != *value && !(allowed.values.contains(&known) && allowed.values.contains(value)) {
                    self.env.violated(format!("{key:?} is {known} on {other} and {value} on {}", memory.node));
                    return;
                }
            }
        }
    }

    fn one_main_block(&self) {
        let mut mains: BTreeMap<(i64, u32), &str> = BTreeMap::new();
        let blocks = self.state.catalogue.tenant(tenant().as_str()).into_iter().flat_map(|t| &t.blocks);
        for block in blocks.filter(|block| !block.delta) {
            for shard in &block.shards {
                if let Some(other) = mains.insert((block.window_start, *shard), &block.id) {
                    let window = block.window_start - BASE_MS;
                    let (id, shard) = (&block.id, shard);
                    self.env.violated(format!("{other} and {id} are main blocks of window {window}, shard {shard}"));
                }
            }
        }
    }

    /// Checks what clients see once memory has drained: every acknowledged sample, nothing deleted and nothing refused.
    pub(crate) fn check_settled(&self) {
        for memory in self.memories {
            if let Some((key, _)) = memory.samples.first_key_value() {
                self.env.violated(format!("{} still has {key:?} in memory", memory.node));
            }
        }
        for key in self.model.samples.keys() {
            let allowed = self.model.allowed(*key);
            let visible = self.stored.get(key).into_iter().flatten().filter(|stored| !stored.is_masked);
            let seen = visible.max_by_key(|stored| stored.sequence);
            let is_allowed = seen.map_or(allowed.nothing, |seen| allowed.values.contains(&seen.value));
            if !is_allowed {
                let (attempts, stored) = (&self.model.samples[key], self.stored.get(key));
                let seen = seen.map(|seen| seen.value);
                let deletions: Vec<_> = self.model.deletions.iter().filter(|deletion| deletion.covers(*key)).collect();
                self.env.violated(format!(
                    "{key:?} (shard {}) reads {seen:?} instead of {allowed:?}; sent {attempts:?}, stored {stored:?}, deletions {deletions:?}",
                    shard(key.series)
                ));
                return;
            }
        }
        if let Some(key) = self.stored.keys().find(|key| !self.model.samples.contains_key(key)) {
            self.env.violated(format!("{key:?} is in a block, but nobody wrote it"));
        }
    }
}
