//! Writes to replicas that decide differently.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use pharos_cluster::{Member, MemberState, MetaComponents, MetaConfig, Placement, Role};
use pharos_model::hash::shard_of;
use pharos_model::write::{RefusedSample, SampleIndex};
use pharos_model::{Labels, RejectReason, Sample, SystemClock};
use pharos_transport::Channels;

use super::super::*;

const SHARDS: u32 = 4;
const NODES: [&str; 3] = ["A", "B", "C"];

/// A replica that holds values by series and time, and rejects some timestamps.
#[derive(Default)]
struct Holder {
    samples: Mutex<BTreeMap<(u64, i64), f64>>,
    rejected: Vec<i64>,
    /// Actions that it does not answer.
    fails_at: Option<Action>,
    actions: Mutex<Vec<Action>>,
}

#[async_trait]
impl Replica for Holder {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        self.actions.lock().push(shipment.action);
        if self.fails_at == Some(shipment.action) {
            return Err(ReplicaError::Unreachable("it fails".into()));
        }
        let (mut samples, mut refused, mut outcome) = (self.samples.lock(), Vec::new(), WriteOutcome::default());
        for series in shipment.batch.series() {
            let Some(target) = targets.iter().find(|t| t.shard == shard_of(series.hash, SHARDS)) else { continue };
            for at in series.samples.clone() {
                let Sample { t, v, .. } = shipment.batch.samples[at as usize];
                let key = (series.hash, t);
                let held = samples.get(&key).copied();
                match shipment.action {
                    Action::Retract if held == Some(v) => _ = samples.remove(&key),
                    Action::Retract => {}
                    Action::Append if self.rejected.contains(&t) || held.is_some_and(|held| held != v) => {
                        let sample = SampleIndex { is_histogram: false, at };
                        refused.push(RefusedSample { sample, reason: RejectReason::DuplicateTimestamp });
                        if target.counted {
                            outcome.reject(RejectReason::DuplicateTimestamp, || format!("duplicate at {t}"));
                        }
                    }
                    Action::Append | Action::Force => {
                        samples.insert(key, v);
                        outcome.samples += u64::from(target.counted);
                    }
                }
            }
        }
        let refused = Some(shipment.batch.refused_by_shard(SHARDS, refused));
        Ok(Appended { outcome, refused, ..Appended::default() })
    }
}

/// A distributor, and replicas of which the first leads all shards.
struct Cluster {
    _folder: tempfile::TempDir,
    meta: Arc<Meta>,
    replicas: BTreeMap<String, Arc<Holder>>,
    distributor: Distributor,
}

impl Cluster {
    async fn of(holders: [Holder; 3]) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let mut config = MetaConfig::alone("meta");
        (config.shards, config.replication_factor) = (SHARDS, 3);
        (config.timing.round, config.timing.lease) = (Duration::from_secs(3600), Duration::from_secs(3600));
        let parts =
            MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
        let meta = Arc::new(Meta::start(folder.path(), config, parts).await.unwrap());
        for name in NODES {
            let member = Member {
                id: name.into(),
                address: name.into(),
                roles: [Role::Ingester].into(),
                weight: 100,
                state: MemberState::Active,
                ..Member::default()
            };
            meta.propose(Command::Join { member, at_ms: 0 }).await.unwrap();
        }
        let nodes = NODES.map(String::from).to_vec();
        let placements = (0..SHARDS).map(|shard| Placement { shard, nodes: nodes.clone() }).collect();
        meta.propose(Command::PlaceShards { placements }).await.unwrap();
        for shard in 0..SHARDS {
            meta.propose(Command::SetLeader { shard, node: "A".into() }).await.unwrap();
        }
        let replicas: BTreeMap<String, Arc<Holder>> =
            nodes.into_iter().zip(holders).map(|(name, holder)| (name, Arc::new(holder))).collect();
        let known = replicas.clone();
        let connect = move |address: &str| -> Result<Arc<dyn Replica>, String> { Ok(known[address].clone()) };
        let config = DistributorConfig::new("agent");
        let distributor =
            Distributor::new(config, meta.clone(), Replicas::new(None, Box::new(connect)), Openings::default());
        Cluster { _folder: folder, meta, replicas, distributor }
    }

    /// Writes a float with this value of eight series for each timestamp.
    async fn write(&self, times: &[i64], v: f64) -> WriteOutcome {
        let (tenant, mut batch) = (TenantId::default(), WriteBatch::default());
        for series in 0..8 {
            let labels = Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())]);
            batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
            batch.samples.extend(times.iter().map(|t| Sample { t: *t, v, st: 0 }));
        }
        batch.finish_series();
        self.distributor.append(&tenant, &batch).await.unwrap()
    }

    /// The distinct timestamps and values that a replica holds; each is of all eight series.
    fn held(&self, name: &str) -> Vec<(i64, f64)> {
        let samples = self.replicas[name].samples.lock();
        let mut held: BTreeMap<(i64, u64), usize> = BTreeMap::new();
        samples.iter().for_each(|((_, t), v)| *held.entry((*t, v.to_bits())).or_default() += 1);
        assert!(held.values().all(|series| *series == 8));
        held.into_keys().map(|(t, v)| (t, f64::from_bits(v))).collect()
    }

    fn actions(&self, name: &str) -> Vec<Action> {
        self.replicas[name].actions.lock().clone()
    }
}

fn rejecting(times: &[i64]) -> Holder {
    Holder { rejected: times.to_vec(), ..Holder::default() }
}

#[tokio::test]
async fn replicas_that_agree_are_asked_once() {
    let cluster = Cluster::of([rejecting(&[2]), rejecting(&[2]), rejecting(&[2])]).await;
    let outcome = cluster.write(&[1, 2], 1.0).await;
    assert_eq!(outcome.samples, 8);
    for name in NODES {
        assert_eq!(cluster.held(name), [(1, 1.0)], "{name}");
        assert_eq!(cluster.actions(name), [Action::Append], "{name}");
    }
}

#[tokio::test]
async fn a_write_ends_on_all_replicas_as_the_leader_decided() {
    let cluster = Cluster::of([rejecting(&[1]), rejecting(&[1, 2]), rejecting(&[3])]).await;
    let outcome = cluster.write(&[1, 2, 3, 4], 1.0).await;
    assert_eq!(outcome.samples, 24);
    assert_eq!(outcome.rejected[&RejectReason::DuplicateTimestamp].count, 8);
    for name in NODES {
        assert_eq!(cluster.held(name), [(2, 1.0), (3, 1.0), (4, 1.0)], "{name}");
    }
    assert_eq!(cluster.actions("A"), [Action::Append]);
    assert_eq!(cluster.actions("B"), [Action::Append, Action::Force, Action::Retract]);
}

#[tokio::test]
async fn a_value_of_a_sender_that_died_is_overruled() {
    let cluster = Cluster::of([Holder::default(), Holder::default(), Holder::default()]).await;
    cluster.write(&[1], 1.0).await;
    cluster.replicas["B"].samples.lock().values_mut().for_each(|v| *v = 2.0);
    assert_eq!(cluster.write(&[1], 1.0).await.samples, 8);
    assert_eq!(cluster.held("B"), [(1, 1.0)]);
}

#[tokio::test]
async fn a_replica_that_cannot_be_repaired_is_reported() {
    for (action, rejected) in [(Action::Force, [0, 1]), (Action::Retract, [1, 0])] {
        let of = |rejects: usize| rejecting(&[1][..rejects]);
        let failing = Holder { fails_at: Some(action), ..of(rejected[1]) };
        let cluster = Cluster::of([of(rejected[0]), of(rejected[0]), failing]).await;
        let outcome = cluster.write(&[1], 1.0).await;
        assert_eq!(outcome.samples as usize, 8 * (1 - rejected[0]));
        let view = cluster.meta.view();
        assert!(view.shards.iter().any(|shard| shard.in_sync == ["A", "B"]), "{action:?}");
        assert_eq!(cluster.held("A"), cluster.held("B"));
    }
}
