//! The role: its lease, and what a round does.

use futures::StreamExt;
use futures::future::BoxFuture;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use pharos_cluster::{BlockEntry, CatalogueCommand, Member, MemberState, Role};
use pharos_model::WriteError;
use pharos_model::clock::ManualClock;
use tempfile::TempDir;

use super::*;
use crate::test_blocks::block;

const NOW: i64 = 10 * 86_400_000;

/// A cluster in which every deletion is applied everywhere.
struct NoReplicas;

impl DeletionBarrier for NoReplicas {
    fn settle<'a>(&'a self, _: &'a TenantId, _: u64) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Fixture {
    _folder: TempDir,
    meta: Arc<Meta>,
    objects: Arc<InMemory>,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let meta = Arc::new(Meta::open(folder.path(), "A").await.unwrap());
        for id in ["A", "B"] {
            let roles = [Role::Compactor].into();
            let member = Member { id: id.into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
            meta.propose(Command::Join { member, at_ms: 0 }).await.unwrap();
        }
        Fixture { _folder: folder, meta, objects: Arc::new(InMemory::new()) }
    }

    fn compactor(&self, config: CompactorConfig) -> Compactor {
        self.compactor_at(config, Arc::new(ManualClock::at(NOW)))
    }

    fn compactor_at(&self, config: CompactorConfig, clock: Arc<ManualClock>) -> Compactor {
        let (meta, objects) = (self.meta.clone(), self.objects.clone());
        Compactor::create(config, meta, objects, Arc::new(NoReplicas), clock, &Registry::new()).unwrap()
    }

    async fn commit(&self, id: &str, max_t: i64, bytes: u64) {
        let blocks = vec![BlockEntry { window_end: 2 * NOW, ..block(id, max_t, bytes) }];
        let command = CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks, flushed_until: None };
        self.meta.propose(command).await.unwrap();
    }

    fn blocks(&self) -> Vec<String> {
        let view = self.meta.view();
        view.catalogue.tenant("t").map_or(Vec::new(), |t| t.blocks.iter().map(|block| block.id.clone()).collect())
    }
}

fn config(node: &str) -> CompactorConfig {
    CompactorConfig { node: node.into(), ..CompactorConfig::default() }
}

#[tokio::test]
async fn one_compactor_holds_the_lease() {
    let fixture = Fixture::new().await;
    assert!(fixture.compactor(config("A")).has_lease().await);
    assert!(!fixture.compactor(config("B")).has_lease().await);
    assert!(fixture.compactor(config("A")).has_lease().await, "it keeps it");
}

#[tokio::test]
async fn the_lease_passes_on_when_its_holder_is_down() {
    let fixture = Fixture::new().await;
    assert!(fixture.compactor(config("A")).has_lease().await);
    let down = Command::SetMemberState { node: "A".into(), state: MemberState::Down, at_ms: 1 };
    fixture.meta.propose(down).await.unwrap();
    assert!(fixture.compactor(config("B")).has_lease().await);
}

#[tokio::test]
async fn a_node_that_is_not_a_member_gets_no_lease() {
    let fixture = Fixture::new().await;
    assert!(!fixture.compactor(config("Z")).has_lease().await);
}

#[tokio::test]
async fn without_retention_nothing_is_removed() {
    let fixture = Fixture::new().await;
    fixture.commit("old", 1, 10).await;
    fixture.commit("new", NOW, 10).await;
    fixture.compactor(config("A")).round().await;
    assert_eq!(fixture.blocks(), ["old", "new"]);
}

#[tokio::test]
async fn a_round_removes_blocks_past_their_retention() {
    let fixture = Fixture::new().await;
    fixture.commit("old", NOW - 2 * 86_400_000, 10).await;
    fixture.commit("new", NOW - 3_600_000, 10).await;
    let compactor = fixture.compactor(CompactorConfig { retention: Some(Duration::from_secs(86_400)), ..config("A") });
    compactor.round().await;
    assert_eq!(fixture.blocks(), ["new"]);
    assert_eq!(compactor.removed.get(), 1);
}

#[tokio::test]
async fn a_round_removes_blocks_over_the_size_limit() {
    let fixture = Fixture::new().await;
    fixture.commit("old", 1, 10).await;
    fixture.commit("new", 2, 10).await;
    let compactor = fixture.compactor(CompactorConfig { max_bytes: Some(15), ..config("A") });
    compactor.round().await;
    assert_eq!(fixture.blocks(), ["new"]);
    assert_eq!(compactor.removed.get(), 1);
}

#[tokio::test]
async fn retention_and_garbage_collection_leave_running_queries_their_objects() {
    let fixture = Fixture::new().await;
    let id = ulid::Ulid::from_parts(1, 1).to_string();
    fixture.commit(&id, 1, 10).await;
    fixture.commit("new", NOW, 10).await;
    let path = Path::from(format!("t/blocks/{id}/data.parquet"));
    fixture.objects.put(&path, "x".into()).await.unwrap();
    let clock = Arc::new(ManualClock::at(fixture.meta.clock().now_ms()));
    let config = CompactorConfig { retention: Some(Duration::from_secs(86_400)), ..config("A") };
    let delay = config.removal_delay;
    let compactor = fixture.compactor_at(config, clock.clone());
    compactor.round().await;
    assert_eq!(fixture.blocks(), ["new"]);
    clock.advance(delay - Duration::from_secs(60));
    compactor.round().await;
    assert_eq!(compactor.collected.get(), 0, "a query that began before the removal may still read it");
    clock.advance(Duration::from_secs(120));
    compactor.round().await;
    assert_eq!(compactor.collected.get(), 1);
}

#[tokio::test]
async fn a_restore_gives_up_no_block_that_was_shipped_after_the_export() {
    let fixture = Fixture::new().await;
    let id = |born| ulid::Ulid::from_parts(born, 1).to_string();
    for born in [1, 2] {
        let path = Path::from(format!("t/blocks/{}/data.parquet", id(born)));
        fixture.objects.put(&path, "x".into()).await.unwrap();
    }
    fixture.commit(&id(1), 1, 10).await;
    let export = pharos_cluster::ClusterState::clone(fixture.meta.view().state());
    fixture.commit(&id(2), 2, 10).await;
    fixture.meta.propose(Command::Restore { state: Box::new(export), at_ms: 1 }).await.unwrap();
    assert_eq!(fixture.blocks(), [id(1), id(2)]);
    let clock = Arc::new(ManualClock::at(fixture.meta.clock().now_ms()));
    let config = CompactorConfig { garbage_age: Duration::ZERO, ..config("A") };
    let compactor = fixture.compactor_at(config, clock.clone());
    for _ in 0..3 {
        compactor.round().await;
        clock.advance(Duration::from_secs(86_400));
    }
    assert_eq!(compactor.collected.get(), 0);
    assert_eq!(fixture.objects.list(None).count().await, 2);
}

#[tokio::test]
async fn the_bucket_is_audited_once_a_day() {
    let fixture = Fixture::new().await;
    fixture.commit("listed", 1, 10).await;
    let clock = Arc::new(ManualClock::at(NOW));
    let config = CompactorConfig { garbage_age: Duration::ZERO, ..config("A") };
    let compactor = fixture.compactor_at(config, clock.clone());
    compactor.round().await;
    let orphan = Path::from(format!("t/blocks/{}/data.parquet", ulid::Ulid::from_parts(1, 1)));
    fixture.objects.put(&orphan, "x".into()).await.unwrap();
    let mut newer = 0;
    while fixture.objects.head(&Path::from("newer")).await.map_or(0, |object| object.last_modified.timestamp_millis())
        <= fixture.objects.head(&orphan).await.unwrap().last_modified.timestamp_millis()
    {
        newer += 1;
        fixture.objects.put(&Path::from("newer"), newer.to_string().into()).await.unwrap();
    }
    let condemned = || fixture.meta.view().catalogue.tenant("t").unwrap().removed.len();
    compactor.round().await;
    assert_eq!(condemned(), 0, "the next audit is due in a day");
    clock.advance(Duration::from_secs(86_400));
    compactor.round().await;
    assert_eq!(condemned(), 1);
}

#[tokio::test]
async fn an_audit_reports_folders_of_unknown_tenants_and_keeps_them() {
    let fixture = Fixture::new().await;
    let id = ulid::Ulid::from_parts(1, 1);
    let path = Path::from(format!("lost/blocks/{id}/data.parquet"));
    fixture.objects.put(&path, "x".into()).await.unwrap();
    let modified_ms = async |path: &Path| fixture.objects.head(path).await.unwrap().last_modified.timestamp_millis();
    let newer = Path::from("newer");
    fixture.objects.put(&newer, "x".into()).await.unwrap();
    while modified_ms(&newer).await <= modified_ms(&path).await {
        fixture.objects.put(&newer, "x".into()).await.unwrap();
    }
    let compactor = fixture.compactor(CompactorConfig {
        garbage_age: Duration::ZERO,
        audit_interval: Duration::ZERO,
        ..config("A")
    });
    compactor.round().await;
    assert_eq!((compactor.collected.get(), compactor.unknown_folders.get()), (0, 1));
    fixture.objects.head(&path).await.unwrap();
    fixture.objects.delete(&path).await.unwrap();
    compactor.round().await;
    assert_eq!(compactor.unknown_folders.get(), 0, "nothing is left to report");
}

#[tokio::test]
async fn a_compactor_whose_clock_is_ahead_removes_nothing_that_is_young() {
    let fixture = Fixture::new().await;
    fixture.commit("a", 1_000, 10).await;
    fixture.commit("b", 2_000, 10).await;
    let config = CompactorConfig { retention: Some(Duration::from_secs(86_400)), ..config("A") };
    fixture.compactor(config).round().await;
    assert_eq!(fixture.blocks(), ["a", "b"], "the newest sample is two seconds from the epoch");
}

#[tokio::test]
async fn it_stops_on_shutdown() {
    let fixture = Fixture::new().await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fixture.compactor(config("A")).run(stopped));
    stop.send_replace(true);
    running.await.unwrap();
}
