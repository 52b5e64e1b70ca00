use futures::future::BoxFuture;
use parking_lot::Mutex;
use pharos_cluster::BlockEntry;
use pharos_model::TimeRange;

use super::*;
use crate::test_blocks::block;

/// Replicas that apply deletions at once, or never.
struct Replicas {
    reachable: bool,
    settled: Mutex<Vec<u64>>,
}

impl DeletionBarrier for Replicas {
    fn settle<'a>(&'a self, _: &'a TenantId, number: u64) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async move {
            self.settled.lock().push(number);
            if self.reachable { Ok(()) } else { Err(WriteError::Unavailable("a replica is away".into())) }
        })
    }
}

fn replicas(reachable: bool) -> Replicas {
    Replicas { reachable, settled: Mutex::default() }
}

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

async fn delete(meta: &Meta, id: &str, range: TimeRange) {
    meta.propose(CatalogueCommand::delete(id.into(), &tenant(), &[], range)).await.unwrap();
}

fn listed(meta: &Meta) -> usize {
    meta.view().catalogue.tenant("t").map_or(0, |known| known.deletions.len())
}

#[tokio::test]
async fn deletions_are_forgotten_when_every_replica_has_applied_them() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let entry = BlockEntry { deletions_seen: Some(0), ..block("B", 100, 1) };
    let (masked, other) = (TimeRange::new(entry.min_t, entry.max_t), TimeRange::new(entry.max_t + 1, i64::MAX));
    let command = CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks: vec![entry], flushed_until: None };
    meta.propose(command).await.unwrap();
    delete(&meta, "1", masked).await;
    delete(&meta, "2", other).await;
    let newest = meta.view().catalogue.newest_deletion("t");
    let away = replicas(false);
    assert!(matches!(forget(&meta, &away, &tenant()).await, Err(ForgetError::Replicas(_))));
    assert_eq!(listed(&meta), 2);
    let there = replicas(true);
    assert_eq!(forget(&meta, &there, &tenant()).await.unwrap(), 1);
    assert_eq!(*there.settled.lock(), [newest]);
    assert_eq!(listed(&meta), 1, "the first one masks a block");
    assert_eq!(forget(&meta, &there, &tenant()).await.unwrap(), 0);
    assert_eq!(there.settled.lock().len(), 1, "there is nothing to wait for");
}
