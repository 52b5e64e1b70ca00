//! Clients: agents that write through the production distributor, and delete.

use std::sync::Arc;

use parking_lot::Mutex;
use pharos_cluster::{CatalogueCommand, DeletionBarrier, Meta};
use pharos_distributor::{Distributor, DistributorConfig, Replicas};
use pharos_model::{Labels, Matcher, Sample, TenantId, TimeRange, WriteBatch};
use pharos_transport::Ingest;
use pharos_transport::append::{IngestClient, Openings, Replica};

use crate::bugs::Lying;
use crate::env::{Env, Ms, NodeClock};
use crate::meta::ADDRESSES;
use crate::model::{Deletion, End, Key, Model, Sent};
use crate::network::Process;
use crate::node::Surroundings;
use crate::plan::Themes;
use crate::{BASE_MS, GRACE, OUT_OF_ORDER_MS, SERIES, WRITES_UNTIL_MS};

/// How long a write may take when one node dies: as long as a replica may take, and some more.
const LONGEST_WRITE_MS: Ms = 5000;

/// The tenant of all samples.
pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

pub(crate) fn labels(series: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())])
}

fn batch(sent: &Sent) -> WriteBatch {
    let (tenant, mut batch) = (tenant(), WriteBatch::default());
    for (key, value) in sent {
        batch.begin_series(&tenant, |out| out.extend_from_slice(labels(key.series).as_bytes()));
        batch.samples.push(Sample { t: key.t, v: *value as f64, st: 0 });
    }
    batch.finish_series();
    batch
}

/// What a process without an ingester needs to write: the cluster state and a distributor.
pub(crate) fn connect(around: &Surroundings, process: &Process) -> (Arc<Meta>, Distributor) {
    let connect = around.network.link(process);
    let addresses = ADDRESSES.iter().map(ToString::to_string).collect();
    let meta = Arc::new(Meta::connect(&process.name, addresses, connect.clone(), NodeClock::new(Arc::default())));
    let openings = Openings::default();
    let (opened, bug, learning, group) = (openings.clone(), around.bug, meta.clone(), around.group.clone());
    let replica = move |address: &str| {
        let connection = connect.connect(address).map_err(|e| e.to_string())?;
        let replica: Arc<dyn Replica> = Arc::new(IngestClient::of_sender(connection, opened.clone()));
        let Some(bug) = bug else { return Ok(replica) };
        let (meta, node) = (learning.clone(), address.to_string());
        let is_learning = move |shard| meta.view().shard(shard).is_some_and(|s| s.learns_since(&node).is_some());
        let group = group.clone();
        let epoch = move |shard| group.state().epoch(shard);
        Ok(Arc::new(Lying { bug, replica, is_learning: Box::new(is_learning), epoch: Box::new(epoch) })
            as Arc<dyn Replica>)
    };
    let replicas = Replicas::new(None, Box::new(replica));
    let distributor = Distributor::new(DistributorConfig::new(&process.name), meta.clone(), replicas, openings);
    (meta, distributor)
}

/// An agent.
pub(crate) struct Agent {
    env: Env,
    name: String,
    meta: Arc<Meta>,
    distributor: Distributor,
    model: Arc<Mutex<Model>>,
    themes: Themes,
}

impl Agent {
    pub(crate) fn start(around: &Surroundings, name: &str, model: &Arc<Mutex<Model>>, themes: Themes) -> Arc<Agent> {
        let (meta, distributor) = connect(around, &Process::new(name));
        let (env, name, model) = (around.env.clone(), name.to_string(), model.clone());
        Arc::new(Agent { env, name, meta, distributor, model, themes })
    }

    /// Writes and deletes until the time for it is over.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut running = tokio::task::JoinSet::new();
        while self.env.now() < WRITES_UNTIL_MS {
            let pause = self.env.between(100, 1500);
            self.env.sleep(pause).await;
            while running.len() >= 8 {
                running.join_next().await;
            }
            if self.themes.deletions && self.env.chance(60) {
                running.spawn(self.clone().delete());
            } else if let Some(sent) = self.next() {
                running.spawn(self.clone().write(sent));
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// What to write next; none if the drawn sample exists.
    fn next(&self) -> Option<Sent> {
        let env = &self.env;
        let now = BASE_MS + env.now() as i64;
        let model = &mut *self.model.lock();
        let drawn = env.below(100);
        if self.themes.conflicts && drawn < 15 {
            // Another value for one of the latest samples.
            let latest: Vec<Key> = model.samples.keys().copied().filter(|key| key.t > now - 8_000).collect();
            return env.pick(&latest).map(|key| vec![(key, model.new_value())]);
        }
        if (15..25).contains(&drawn) {
            // A sample again whose write failed.
            let is_failed = |end: End| matches!(end, End::Unknown(_));
            let failed = |(key, attempts): (&Key, &Vec<crate::model::Attempt>)| {
                attempts.iter().find(|a| is_failed(a.end)).map(|a| (*key, a.value))
            };
            let failed: Vec<(Key, u64)> = model.samples.iter().filter_map(failed).collect();
            return env.pick(&failed).map(|sample| vec![sample]);
        }
        let behind = match drawn {
            // Whether a sample is too old may depend on the replica.
            25..35 if !self.themes.conflicts => env.below(OUT_OF_ORDER_MS as u64 / 2) as i64,
            25..35 => env.below(OUT_OF_ORDER_MS as u64) as i64,
            35..38 if self.themes.conflicts => OUT_OF_ORDER_MS + env.below(40_000) as i64,
            _ => env.below(300) as i64,
        };
        let series = match drawn {
            25..38 => vec![env.below(u64::from(SERIES)) as u32],
            _ => (0..SERIES).filter(|_| env.chance(500)).collect(),
        };
        let keys = series.into_iter().map(|series| Key { series, t: now - behind });
        let fresh: Vec<Key> = keys.filter(|key| !model.samples.contains_key(key)).collect();
        let sent: Sent = fresh.into_iter().map(|key| (key, model.new_value())).collect();
        (!sent.is_empty()).then_some(sent)
    }

    async fn write(self: Arc<Self>, sent: Sent) {
        let began = self.env.now();
        self.model.lock().begin(&sent, began);
        let written = self.distributor.append(&tenant(), &batch(&sent)).await;
        let now = self.env.now();
        let (end, text) = match written {
            Ok(outcome) if outcome.rejected.is_empty() => (End::Acknowledged(now), "acknowledged".to_string()),
            // In a longer write an earlier leader may have accepted and shipped what a later one refuses.
            Ok(outcome) if sent.len() == 1 && now - began < GRACE.as_millis() as Ms => {
                (End::Refused(now), format!("refused {:?}", outcome.rejected))
            }
            // Which ones were refused is not known.
            Ok(outcome) => (End::Unknown(now), format!("partly refused {:?}", outcome.rejected)),
            Err(error) => (End::Unknown(now), format!("failed: {error}")),
        };
        self.env.count(text.split([' ', ':']).next().unwrap_or_default(), sent.len() as u64);
        if self.themes.one_death && (text.starts_with("failed") || now - began > LONGEST_WRITE_MS) {
            self.env.violated(format!("a write {text} after {} ms, although only one node has died", now - began));
        }
        let shown: Vec<String> = sent.iter().map(|(k, v)| format!("{}@{}={v}", k.series, k.t - BASE_MS)).collect();
        self.env.note(format!("{} {} since {began}: {text}", self.name, shown.join(" ")));
        self.model.lock().end(&sent, began, end);
    }

    async fn delete(self: Arc<Self>) {
        let env = self.env.clone();
        let now = BASE_MS + env.now() as i64;
        let series = env.chance(800).then(|| env.below(u64::from(SERIES)) as u32);
        let (from, to) = match env.below(3) {
            0 => (i64::MIN, i64::MAX),
            1 => (now - env.below(60_000) as i64, now),
            _ => (now - env.below(60_000) as i64, i64::MAX),
        };
        let began = env.now();
        let number = {
            let mut model = self.model.lock();
            model.deletions.push(Deletion { series, from, to, began, end: End::Pending });
            model.deletions.len() - 1
        };
        env.note(format!("{} deletes {series:?} from {} to {}", self.name, from.max(0) - BASE_MS, to));
        let matcher = match series {
            Some(series) => Matcher::equal("series", series.to_string()),
            None => Matcher::equal("__name__", "m"),
        };
        let deleted = self.delete_series(format!("{}{number}", self.name), &[matcher], TimeRange::new(from, to)).await;
        let now: Ms = env.now();
        let end = if deleted.is_ok() { End::Acknowledged(now) } else { End::Unknown(now) };
        env.count(if deleted.is_ok() { "deletions" } else { "failed deletions" }, 1);
        env.note(format!("{} deletion since {began}: {deleted:?}", self.name));
        self.model.lock().deletions[number].end = end;
    }

    /// As `pharos/src/server/deletions.rs` does.
    async fn delete_series(&self, id: String, matchers: &[Matcher], range: TimeRange) -> Result<(), String> {
        let deletion = CatalogueCommand::delete(id, &tenant(), matchers, range);
        let view = self.meta.propose(deletion).await.map_err(|e| e.to_string())?.view;
        let number = view.catalogue.newest_deletion(tenant().as_str());
        self.distributor.settle(&tenant(), number).await.map_err(|e| e.to_string())
    }
}
