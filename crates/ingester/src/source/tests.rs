//! Which reads an ingester admits.

use pharos_cluster::Command;

use super::*;
use crate::test_cluster::Cluster;

/// Whether a node admits a read of shards 0 and 1 under a view.
async fn admit(cluster: &Cluster, node: &str, view: &View) -> Result<Admitted, Refused> {
    let asked = ReadView {
        incarnation: view.incarnation,
        version: view.version,
        epochs: [0, 1].map(|shard| (shard, view.epoch(shard))).into(),
        deletions: 0,
    };
    let node = cluster.node(node).clone();
    let admitting = tokio::task::spawn_blocking(move || node.admit(&TenantId::default(), &asked));
    admitting.await.unwrap()
}

/// Hole H6: a replica that is cut off from meta answered as in sync, although writers had named a newer epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_to_which_writers_have_named_a_newer_epoch_refuses_reads_until_its_view_has_it() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    let view = cluster.meta.view();
    assert_eq!(admit(&cluster, "A", &view).await, Ok(Admitted::default()));
    cluster.node("A").fence.close().raise(0, view.epoch(0) + 1);
    let refused = admit(&cluster, "A", &view).await.unwrap_err();
    assert_eq!(refused.shards, ShardSet::of(0));
    assert_eq!(admit(&cluster, "B", &view).await, Ok(Admitted::default()), "nobody has told it");
    let newer = cluster.propose(Command::SetLeader { shard: 0, node: "B".into() }).await;
    let admitted = admit(&cluster, "A", &view).await;
    assert_eq!(admitted, Ok(Admitted { newer_version: Some(newer.version) }), "the reader's view is older");
    assert_eq!(admit(&cluster, "A", &newer).await, Ok(Admitted::default()));
}
