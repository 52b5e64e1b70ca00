//! The role: its lease, and what a round does.

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
        let clock = Arc::new(ManualClock::at(NOW));
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
    fixture.compactor(config("A")).round().await;
    assert_eq!(fixture.blocks(), ["old"]);
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
async fn a_round_collects_garbage_of_a_day_ago() {
    let fixture = Fixture::new().await;
    let id = |age_ms: i64| ulid::Ulid::from_parts((NOW - age_ms) as u64, 1);
    for age_ms in [2 * 86_400_000, 3_600_000] {
        let path = Path::from(format!("t/blocks/{}/data.parquet", id(age_ms)));
        fixture.objects.put(&path, "x".into()).await.unwrap();
    }
    let compactor = fixture.compactor(config("A"));
    compactor.round().await;
    assert_eq!(compactor.collected.get(), 1, "the other one may still be committed");
}

#[tokio::test]
async fn it_stops_on_shutdown() {
    let fixture = Fixture::new().await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fixture.compactor(config("A")).run(stopped));
    stop.send_replace(true);
    running.await.unwrap();
}
