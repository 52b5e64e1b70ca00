//! Random runs of a cluster of three, from seeds: writes that all, some or none hear of, different values for a timestamp,
//! deletions, crashes at bad moments, leaders that change while they flush, nodes that learn. `PHAROS_SIM_SEEDS` sets how
//! many.
//!
//! Invariants, checked during the run: an acknowledged sample that was not deleted is in a block that shows it or, with its
//! value, in the memory of every in-sync replica; a deleted sample is in neither, unless it was written again; what a replica
//! claims to have completely, it has; a shard and window have one main block. At the end every acknowledged sample is in a
//! block, and nothing stays in memory forever.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pharos_block::{BlockCache, BlockMeta, BlockReader};
use pharos_cluster::Command;
use pharos_model::{Clock, SeriesBatch, TenantId, TimeRange};
use pharos_transport::{Scope, SeriesSource};

use crate::test_cluster::{Cluster, Point, SHARDS, START, WINDOW, batch, flushed, held, in_time, shards_of};

const NODES: [&str; 3] = ["A", "B", "C"];

type Key = (u32, i64);

/// Xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Run {
    cluster: Cluster,
    dice: Dice,
    /// What was acknowledged, and not deleted since.
    acknowledged: BTreeMap<Key, f64>,
    /// What was sent to any node since the last deletion of its series.
    sent: BTreeSet<Key>,
    /// What was deleted, to be written again.
    deleted: BTreeSet<Key>,
    /// Blocks that were uploaded and not committed: who, what.
    uploaded: Vec<Command>,
    /// What blocks hold, by their names.
    read: HashMap<String, Vec<(Key, f64)>>,
}

impl Run {
    async fn new(seed: u64) -> Run {
        let mut cluster = Cluster::of(&NODES, 3).await;
        NODES.iter().for_each(|name| cluster.catch_up(name));
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Run {
            cluster,
            dice,
            acknowledged: BTreeMap::new(),
            sent: BTreeSet::new(),
            deleted: BTreeSet::new(),
            uploaded: Vec::new(),
            read: HashMap::new(),
        }
    }

    fn any_node(&mut self) -> &'static str {
        NODES[self.dice.below(3) as usize]
    }

    /// New samples, some of them late, and some with other values than before. What left memory may get another value, so
    /// acknowledged samples in blocks are only repeated.
    async fn samples(&mut self) -> Vec<Point> {
        let in_blocks = self.in_blocks().await;
        let now = self.cluster.clock.now_ms() - START;
        let behind = [0, 0, 0, WINDOW, 2 * WINDOW][self.dice.below(5) as usize];
        let n = 1 + self.dice.below(12);
        let one = |dice: &mut Dice| (dice.below(12) as u32, now - behind - dice.below(5_000) as i64);
        let mut keys: BTreeSet<Key> = (0..n).map(|_| one(&mut self.dice)).collect();
        if self.dice.below(2) == 0 {
            // They may be too old for the head.
            keys.extend(self.deleted.iter().copied().filter(|(_, t)| now - t < 3 * WINDOW).take(20));
        }
        self.sent.extend(keys.iter().copied());
        let mut value = |key: &Key| match self.acknowledged.get(key).filter(|_| in_blocks.contains_key(key)) {
            Some(value) => *value,
            None => self.dice.below(3) as f64,
        };
        keys.iter().map(|key| (key.0, key.1, value(key))).collect()
    }

    async fn step(&mut self) {
        let running = |run: &Run, name: &str| run.cluster.nodes.contains_key(name);
        match self.dice.below(22) {
            0..=7 => {
                let samples = self.samples().await;
                for _ in 0..5 {
                    if let Ok(outcome) = self.cluster.try_write_under(&self.cluster.meta.view(), &samples).await {
                        self.acknowledged.extend(outcome.accepted.iter().map(|(series, t, v)| ((*series, *t), *v)));
                        break;
                    }
                }
            }
            8 => {
                let (samples, name) = (self.samples().await, self.any_node());
                let view = self.cluster.meta.view();
                if running(self, name) && view.shards.iter().all(|shard| shard.is_in_sync(name)) {
                    self.cluster.write_to(name, &samples).await;
                }
            }
            9..=12 => {
                let name = self.any_node();
                if running(self, name) {
                    self.cluster.tick(name).await;
                }
            }
            13 => self.cluster.clock.advance(Duration::from_secs(1 + self.dice.below(40))),
            14 => {
                let name = self.any_node();
                if running(self, name) && self.cluster.nodes.len() == 3 {
                    self.cluster.stop(name).await;
                    self.move_leaders_off(name).await;
                }
            }
            15 | 16 => self.start_all().await,
            17 => {
                let (shard, name) = (self.dice.below(SHARDS.into()) as u32, self.any_node());
                // Refused unless it is in sync.
                let _refused = self.cluster.meta.propose(Command::SetLeader { shard, node: name.into() }).await;
            }
            18 => {
                let name = self.any_node();
                if running(self, name) {
                    let window = START + WINDOW * ((self.cluster.clock.now_ms() - START) / WINDOW - 1).max(0);
                    let ship = crate::flush::ship::tests::uploaded_window(&self.cluster, name, window).await;
                    self.uploaded.extend(ship);
                }
            }
            19 | 20 => self.delete().await,
            _ => {
                if let Some(command) = self.uploaded.pop() {
                    // It may be too late.
                    let _refused = self.cluster.meta.propose(command).await;
                }
            }
        }
    }

    /// Deletes a series. If that is acknowledged, nothing of it remains.
    async fn delete(&mut self) {
        let series = self.dice.below(12) as u32;
        let of_series: BTreeSet<Key> = self.sent.iter().copied().filter(|(of, _)| *of == series).collect();
        self.cluster.record_deletion(series, i64::MAX).await;
        self.acknowledged.retain(|(of, _), _| *of != series);
        for _ in 0..5 {
            if self.cluster.try_settle().await.is_ok() {
                self.sent.retain(|(of, _)| *of != series);
                self.deleted.extend(of_series);
                return;
            }
        }
    }

    async fn move_leaders_off(&self, name: &str) {
        let view = self.cluster.meta.view();
        for (shard, known) in view.numbered_shards().filter(|(_, s)| s.leader.as_deref() == Some(name)) {
            if let Some(other) =
                known.in_sync.iter().find(|node| *node != name && self.cluster.nodes.contains_key(*node))
            {
                self.cluster.propose(Command::SetLeader { shard, node: other.clone() }).await;
            }
        }
    }

    async fn start_all(&mut self) {
        for name in NODES {
            if !self.cluster.nodes.contains_key(name) {
                self.cluster.start(name).await;
                self.cluster.catch_up(name);
            }
            let view = self.cluster.meta.view();
            for (shard, _) in view.numbered_shards().filter(|(_, s)| !s.is_in_sync(name)) {
                self.cluster.propose(Command::AddLearner { shard, node: name.into() }).await;
            }
        }
    }

    /// What the live blocks show. Of two values the one committed later wins.
    async fn in_blocks(&mut self) -> BTreeMap<Key, f64> {
        let mut all = BTreeMap::new();
        let view = self.cluster.meta.view();
        let known = view.catalogue.tenant(TenantId::default().as_str());
        for entry in self.cluster.blocks() {
            if !self.read.contains_key(&entry.id) {
                let meta = BlockMeta::from_bytes(entry.meta.as_bytes()).unwrap();
                let (folder, cache) = (meta.folder(), Arc::new(BlockCache::new(0)));
                let reader =
                    BlockReader::open(self.cluster.objects.clone(), folder, Arc::new(meta), cache).await.unwrap();
                let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
                let mut out = SeriesBatch::default();
                selection.fetch(0..selection.len(), TimeRange::ALL, &mut out).await.unwrap();
                let mut samples = Vec::new();
                for (at, labels) in selection.labels().iter().enumerate() {
                    let (series, view) = (labels.get("series").unwrap().parse().unwrap(), out.view(at));
                    samples.extend(view.t.iter().zip(view.v).map(|(t, v)| ((series, t - START), *v)));
                }
                self.read.insert(entry.id.clone(), samples);
            }
            let masking = known.into_iter().flat_map(|known| &known.deletions).filter(|of| of.masks(&entry));
            let masking: Vec<&str> = masking.map(|deletion| deletion.selector.as_str()).collect();
            let is_shown = |((series, _), _): &&(Key, f64)| !masking.contains(&&*format!("{{series=\"{series}\"}}"));
            all.extend(self.read[&entry.id].iter().filter(is_shown).copied());
        }
        all
    }

    async fn check(&mut self) {
        let in_blocks = self.in_blocks().await;
        let shard_of = |key: &Key| shards_of(&batch(&[(key.0, key.1, 0.0)])).iter().next().unwrap() as usize;
        let view = self.cluster.meta.view();
        let back = in_blocks.keys().find(|key| !self.sent.contains(key));
        assert_eq!(back, None, "a block shows what was deleted");
        for (name, node) in &self.cluster.nodes {
            // Nothing else happens meanwhile but learning, which only adds.
            let complete = node.completeness(&Scope::all(TenantId::default()), Duration::from_secs(1)).unwrap();
            let memory: BTreeMap<Key, f64> = held(node).into_iter().map(|(series, t, v)| ((series, t), v)).collect();
            let is_whole = |key: &Key| view.shards[shard_of(key)].is_in_sync(name);
            let back = memory.keys().find(|key| !self.sent.contains(key) && is_whole(key));
            assert_eq!(back, None, "{name} shows what was deleted");
            for (key, value) in self.acknowledged.iter().filter(|(key, _)| is_whole(key)) {
                // Memory wins over blocks.
                let found = memory.get(key).or(in_blocks.get(key));
                assert_eq!(found, Some(value), "{key:?} in blocks ({:?}) and on {name}", in_blocks.get(key));
            }
            let is_missing = |key: &&Key| START + key.1 >= complete.from && !memory.contains_key(key);
            let missing = self.acknowledged.keys().find(is_missing);
            assert_eq!(missing, None, "{name} says that it has everything from {} on", complete.from - START);
        }
        let mut mains: BTreeMap<(i64, u32), u32> = BTreeMap::new();
        for block in self.cluster.blocks().iter().filter(|block| !block.delta) {
            block.shards.iter().for_each(|shard| *mains.entry((block.window_start, *shard)).or_default() += 1);
        }
        assert!(mains.values().all(|mains| *mains == 1));
    }

    /// All come back, and time passes.
    async fn settle(&mut self) {
        self.uploaded.clear();
        self.start_all().await;
        let (meta, clock) = (self.cluster.meta.clone(), self.cluster.clock.clone());
        let all_in_sync = async {
            while !meta.view().shards.iter().all(|shard| NODES.iter().all(|name| shard.is_in_sync(name))) {
                clock.advance(Duration::from_secs(6));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time(all_in_sync).await;
        self.check().await;
        for _ in 0..12 {
            self.cluster.clock.advance(Duration::from_secs(60));
            for name in NODES {
                self.cluster.tick(name).await;
            }
        }
        self.check().await;
        let in_blocks = self.in_blocks().await;
        for (key, value) in &self.acknowledged {
            assert_eq!(in_blocks.get(key), Some(value), "{key:?}");
        }
        for name in NODES {
            assert_eq!(self.cluster.counts(name), flushed(0), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_nothing_stays_forever() {
    let seeds = std::env::var("PHAROS_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12u64);
    for seed in 1..=seeds {
        println!("seed {seed}");
        let mut run = Run::new(seed).await;
        for step in 0..120 {
            run.step().await;
            if step % 10 == 9 {
                run.check().await;
            }
        }
        run.settle().await;
    }
}
