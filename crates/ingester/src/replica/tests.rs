//! Appends of agents, in this process and by gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::hash::shard_of;
use pharos_model::write::Rejected;
use pharos_model::{RejectReason, STALE_NAN, TenantId, WriteBatch};
use pharos_transport::Ingest;
use pharos_transport::append::{Action, Appended, Replica, ShardTarget, Shipment};

use crate::test_cluster::{Cluster, SHARDS, batch, encode, held, in_time, scrape, shards_of};

fn shipment_of<'a>(tenant: &'a TenantId, batch: &'a WriteBatch) -> Shipment<'a> {
    Shipment { action: Action::Append, tenant, batch, deletions: None, shards: encode(batch) }
}

fn targets(batch: &WriteBatch, epoch: u64) -> Vec<ShardTarget> {
    shards_of(batch).iter().map(|shard| ShardTarget { shard, epoch, counted: true }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_are_durable_on_every_replica() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.write(&scrape(2)).await;
    let all: Vec<_> = (0..40).flat_map(|s| [1, 2].map(|t| (s, t, t as f64 + f64::from(s)))).collect();
    for name in ["A", "B", "C"] {
        assert_eq!(held(cluster.node(name)), all);
    }
    cluster.stop("B").await;
    cluster.start("B").await;
    assert_eq!(held(cluster.node("B")), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_a_stream_are_pipelined() {
    let cluster = Cluster::of(&["A"], 1).await;
    let epoch = cluster.meta.view().epoch(0);
    let client = Arc::new(cluster.client("A"));
    let sends = (0..200i64).map(|t| {
        let client = client.clone();
        tokio::spawn(async move {
            let batch = batch(&scrape(t));
            let (tenant, targets) = (TenantId::default(), targets(&batch, epoch));
            let shipment = shipment_of(&tenant, &batch);
            client.append(&shipment, &targets).await.unwrap()
        })
    });
    let sends: Vec<_> = sends.collect();
    for send in sends {
        let answer = in_time(send).await.unwrap();
        let (outcome, refused) = (answer.outcome.clone(), Some(BTreeMap::new()));
        assert_eq!(answer, Appended { outcome, refused, ..Appended::default() });
        assert_eq!(answer.outcome.samples, 40);
    }
    assert_eq!(held(cluster.node("A")).len(), 200 * 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_append_does_not_disturb_others() {
    let cluster = Cluster::of(&["A"], 1).await;
    let epoch = cluster.meta.view().epoch(0);
    let client = Arc::new(cluster.client("A"));
    let send = |t: i64| {
        let client = client.clone();
        tokio::spawn(async move {
            let batch = batch(&scrape(t));
            let (tenant, targets) = (TenantId::default(), targets(&batch, epoch));
            let shipment = shipment_of(&tenant, &batch);
            client.append(&shipment, &targets).await.map(|appended| appended.outcome.samples)
        })
    };
    in_time(send(0)).await.unwrap().unwrap();
    for round in 1..20 {
        let (staying, leaving) = (send(2 * round), send(2 * round + 1));
        tokio::task::yield_now().await;
        leaving.abort();
        assert_eq!(in_time(staying).await.unwrap().unwrap(), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_epochs_are_fenced_in_process_and_by_grpc() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    let batch = batch(&scrape(1));
    let tenant = TenantId::default();
    let epoch = cluster.meta.view().epoch(0);
    let some = shards_of(&batch).iter().next().unwrap();
    let shipment = shipment_of(&tenant, &batch);
    let mut mixed = targets(&batch, epoch);
    mixed.iter_mut().filter(|t| t.shard == some).for_each(|t| t.epoch = 0);
    let client = cluster.client("A");
    let replicas: [&dyn Replica; 2] = [&client, &**cluster.node("B")];
    let of_shard = |shard| batch.series().iter().filter(|s| shard_of(s.hash, SHARDS) == shard).count();
    for (replica, node) in replicas.into_iter().zip(["A", "B"]) {
        let answer = replica.append(&shipment, &mixed).await.unwrap();
        assert_eq!(answer.stale, [(some, epoch)]);
        assert_eq!(held(cluster.node(node)).len(), 40 - of_shard(some));
        // An epoch that the node has not seen is taken, and known from then on.
        let newer = replica.append(&shipment, &targets(&batch, epoch + 7)).await.unwrap();
        assert_eq!(newer.stale.len(), 0);
        assert_eq!(newer.outcome.samples, 40);
        let again = replica.append(&shipment, &targets(&batch, epoch)).await.unwrap();
        assert!(again.stale.iter().all(|(_, known)| *known == epoch + 7) && again.stale.len() == SHARDS as usize);
        // Only what is counted is counted, and what is sent again is taken again.
        let uncounted: Vec<_> =
            targets(&batch, epoch + 7).into_iter().map(|t| ShardTarget { counted: t.shard == some, ..t }).collect();
        let counted = replica.append(&shipment, &uncounted).await.unwrap();
        assert_eq!(counted.outcome.samples as usize, of_shard(some));
        assert!(counted.uncounted.is_empty());
        // What is refused of the others is told apart from it.
        let other =
            crate::test_cluster::batch(&scrape(1).into_iter().map(|(s, t, v)| (s, t, v + 1.0)).collect::<Vec<_>>());
        let shipment = shipment_of(&tenant, &other);
        let refused = replica.append(&shipment, &uncounted).await.unwrap();
        let duplicates =
            |rejected: &BTreeMap<RejectReason, Rejected>| rejected[&RejectReason::DuplicateTimestamp].count;
        assert_eq!(duplicates(&refused.outcome.rejected) as usize, of_shard(some));
        assert_eq!(duplicates(&refused.uncounted) as usize, 40 - of_shard(some));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_markers_behind_newer_samples_are_rejected_in_process_and_by_grpc() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[(1, 20, 1.0)]).await;
    let (tenant, epoch) = (TenantId::default(), cluster.meta.view().epoch(0));
    let client = cluster.client("A");
    let replicas: [&dyn Replica; 2] = [&client, &**cluster.node("B")];
    for replica in replicas {
        let mut marker = batch(&[(1, 10, STALE_NAN)]);
        marker.stale_in_order = true;
        let answer = replica.append(&shipment_of(&tenant, &marker), &targets(&marker, epoch)).await.unwrap();
        assert_eq!(answer.outcome.rejected[&RejectReason::OutOfOrder].count, 1);
        assert_eq!(answer.refused.unwrap().len(), 1, "so that others retract it if the leader rejects it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_closes_only_its_stream() {
    use pharos_transport::ingest_v1::{AppendRequest, ShardChunk};
    let cluster = Cluster::of(&["A"], 1).await;
    let bad = [
        AppendRequest { id: 1, tenant: "no/such".into(), ..AppendRequest::default() },
        AppendRequest { id: 1, tenant: "t".into(), action: 99, ..AppendRequest::default() },
        AppendRequest {
            id: 1,
            tenant: "t".into(),
            chunks: vec![ShardChunk { shard: SHARDS, ..ShardChunk::default() }],
            ..AppendRequest::default()
        },
        AppendRequest {
            id: 1,
            tenant: "t".into(),
            chunks: vec![ShardChunk { samples: b"\xff\xff".as_slice().into(), ..ShardChunk::default() }],
            ..AppendRequest::default()
        },
    ];
    for request in bad {
        let requests = tokio_stream::iter([request]);
        let mut answers = cluster.client("A").client().append(requests).await.unwrap().into_inner();
        let status = in_time(answers.message()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    }
    cluster.write(&scrape(1)).await;
    let direct = cluster.node("A").append(&TenantId::default(), &batch(&scrape(2))).await.unwrap();
    assert_eq!(direct.samples, 40);
    assert_eq!(held(cluster.node("A")).len(), 80);
}
