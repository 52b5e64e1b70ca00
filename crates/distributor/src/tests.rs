//! Writes and deletions to replicas that record what they receive.

mod verdicts;

use parking_lot::Mutex;
use pharos_cluster::{
    CatalogueCommand, DEFAULT_WEIGHT, Member, MemberState, MetaComponents, MetaConfig, Placement, Role,
};
use pharos_model::{Labels, Sample, SystemClock, TimeRange};
use pharos_transport::Channels;
use tempfile::TempDir;

use super::*;

const SHARDS: u32 = 4;

/// A replica that has applied deletions up to a number.
#[derive(Default)]
struct Recorder {
    applied: Mutex<u64>,
    /// The deletion, the number of series and the shards of each request.
    requests: Mutex<Vec<(u64, usize, Vec<u32>)>>,
    is_silent: bool,
}

#[async_trait]
impl Replica for Recorder {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        let number = shipment.deletions.unwrap();
        let shards = targets.iter().map(|target| target.shard).collect();
        self.requests.lock().push((number, shipment.batch.series().len(), shards));
        let mut applied = self.applied.lock();
        if *applied > number {
            return Ok(Appended { newer_deletion: Some(*applied), ..Appended::default() });
        }
        *applied = number;
        Ok(Appended::default())
    }
}

struct Fixture {
    _folder: TempDir,
    meta: Arc<Meta>,
    replicas: BTreeMap<String, Arc<Recorder>>,
    distributor: Arc<Distributor>,
}

impl Fixture {
    /// All shards are in sync on all replicas.
    async fn of(replicas: BTreeMap<String, Arc<Recorder>>) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let mut config = MetaConfig::alone("meta");
        (config.shards, config.replication_factor) = (SHARDS, 2);
        (config.timing.round, config.timing.lease) = (Duration::from_secs(3600), Duration::from_secs(3600));
        let parts =
            MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
        let meta = Arc::new(Meta::start(folder.path(), config, parts).await.unwrap());
        for id in replicas.keys() {
            let member = Member {
                id: id.clone(),
                address: id.clone(),
                roles: [Role::Ingester].into(),
                weight: DEFAULT_WEIGHT,
                state: MemberState::Active,
                ..Member::default()
            };
            meta.propose(Command::Join { member, at_ms: 0 }).await.unwrap();
        }
        let nodes: Vec<String> = replicas.keys().cloned().collect();
        let placements = (0..SHARDS).map(|shard| Placement { shard, nodes: nodes.clone() }).collect();
        meta.propose(Command::PlaceShards { placements }).await.unwrap();
        let known = replicas.clone();
        let connect = move |address: &str| Ok(known[address].clone() as Arc<dyn Replica>);
        let config = DistributorConfig {
            replica_timeout: Duration::from_millis(50),
            deletion_timeout: Duration::from_millis(50),
            ..DistributorConfig::new("sender")
        };
        let replicas_of = Replicas::new(None, Box::new(connect));
        let distributor = Arc::new(Distributor::new(config, meta.clone(), replicas_of, Openings::default()));
        Fixture { _folder: folder, meta, replicas, distributor }
    }

    async fn delete(&self, id: &str) -> u64 {
        let deletion = CatalogueCommand::delete(id.into(), &TenantId::default(), &[], TimeRange::ALL);
        let view = self.meta.propose(deletion).await.unwrap().view;
        view.catalogue.newest_deletion(TenantId::default().as_str())
    }
}

fn replicas(recorders: [(&str, Recorder); 2]) -> BTreeMap<String, Arc<Recorder>> {
    recorders.into_iter().map(|(id, recorder)| (id.to_string(), Arc::new(recorder))).collect()
}

fn batch() -> WriteBatch {
    let mut batch = WriteBatch::default();
    let labels = Labels::from_pairs([("__name__", "m")]);
    batch.begin_series(&TenantId::default(), |out| out.extend_from_slice(labels.as_bytes()));
    batch.samples.push(Sample { t: 1, v: 1.0, st: 0 });
    batch.finish_series();
    batch
}

#[tokio::test]
async fn a_deletion_settles_when_every_replica_of_every_shard_has_applied_it() {
    let fixture = Fixture::of(replicas([("A", Recorder::default()), ("B", Recorder::default())])).await;
    let number = fixture.delete("1").await;
    fixture.distributor.settle(&TenantId::default(), number).await.unwrap();
    for replica in fixture.replicas.values() {
        assert_eq!(*replica.requests.lock(), [(number, 0, (0..SHARDS).collect())]);
    }
}

#[tokio::test]
async fn a_replica_that_does_not_apply_a_deletion_is_out_of_sync_before_it_settles() {
    let silent = Recorder { is_silent: true, ..Recorder::default() };
    let fixture = Fixture::of(replicas([("A", Recorder::default()), ("B", silent)])).await;
    let number = fixture.delete("1").await;
    fixture.distributor.settle(&TenantId::default(), number).await.unwrap();
    assert!(fixture.meta.view().shards.iter().all(|shard| shard.in_sync == ["A"]));
    assert_eq!(*fixture.replicas["A"].applied.lock(), number);
}

#[tokio::test]
async fn a_replica_is_left_out_of_sync_only_if_another_one_goes_on() {
    let silent = || Recorder { is_silent: true, ..Recorder::default() };
    let fixture = Fixture::of(replicas([("A", silent()), ("B", silent())])).await;
    let error = fixture.distributor.append(&TenantId::default(), &batch()).await.unwrap_err().to_string();
    assert!(error.contains("and no other in-sync replica of shard"), "{error}");
    assert!(fixture.meta.view().shards.iter().all(|shard| shard.in_sync == ["A", "B"]));
}

#[tokio::test]
async fn a_write_follows_a_replica_that_has_applied_a_newer_deletion() {
    let fixture = Fixture::of(replicas([("A", Recorder::default()), ("B", Recorder::default())])).await;
    let number = fixture.delete("1").await;
    // B knows of one that the view of the sender does not have yet.
    *fixture.replicas["B"].applied.lock() = number + 1;
    let sender = fixture.distributor.clone();
    let write = tokio::spawn(async move { sender.append(&TenantId::default(), &batch()).await });
    while fixture.replicas["B"].requests.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!write.is_finished());
    assert_eq!(fixture.delete("2").await, number + 1);
    write.await.unwrap().unwrap();
    for replica in fixture.replicas.values() {
        let numbers: Vec<u64> = replica.requests.lock().iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, [number, number + 1], "both take it after the same deletion");
    }
}
