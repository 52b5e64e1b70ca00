use pharos_cluster::{ClusterState, Command, Member, MemberState, Role, View};
use pharos_model::{Clock, Labels, TenantId, series_hash};
use pharos_transport::Channels;
use tokio::sync::watch;

use super::*;
use crate::cache::TrackedSeries;
use crate::ownership::{Peers, RemoteAgents};
use crate::targets::Placement;
use crate::tests::{Recorder, TokioClock, shared_with};

/// An agent that answers on loopback, and how others reach it.
struct Served {
    handoffs: Arc<Handoffs>,
    clock: Arc<TokioClock>,
    peers: RemoteAgents,
    _views: watch::Sender<View>,
}

async fn serve() -> Served {
    let clock = TokioClock::new();
    let shared = shared_with(&Arc::new(Recorder::default()), clock.clone());
    let handoffs = Handoffs::new(shared.clone());
    let mut routes = tonic::service::Routes::builder();
    AgentService { shared, handoffs: handoffs.clone(), pools: Arc::default() }.mount(&mut routes);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = futures::stream::unfold(listener, |listener| async move {
        Some((listener.accept().await.map(|(connection, _)| connection), listener))
    });
    let server = tonic::transport::Server::builder().add_routes(routes.routes());
    tokio::spawn(async move { server.serve_with_incoming(Box::pin(incoming)).await });
    let mut state = ClusterState::default();
    let roles = [Role::Agent].into();
    let member =
        Member { id: "B".into(), roles, address, weight: 100, state: MemberState::Active, ..Member::default() };
    state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    let views = watch::Sender::new(View::new(Arc::new(state)));
    let peers = RemoteAgents::new(views.subscribe(), Arc::new(Channels::new()));
    Served { handoffs, clock, peers, _views: views }
}

fn record(next_ms: i64, series: usize) -> HandoffRecord {
    let tracked = (0..series).map(|n| {
        let value = format!("{n:0>200}");
        let canonical = Labels::from_pairs([("__name__", "m"), ("n", value.as_str())]).as_bytes().to_vec();
        let hash = series_hash(&TenantId::default(), &canonical);
        TrackedSeries { canonical: canonical.into(), hash, is_histogram: false }
    });
    HandoffRecord {
        labels: Labels::from_pairs([("job", "j")]),
        url: "http://h:1/metrics".into(),
        placement: Placement { owner: 8, slot: 7 },
        interval_ms: 60_000,
        next_ms,
        extra: false,
        series: tracked.collect(),
        hops: 0,
        epoch: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_half_a_million_series_is_handed_over() {
    let served = serve().await;
    let record = record(served.clock.now_ms() + 60_000, 500_000);
    served.peers.hand_off("B", &record).await.unwrap();
    let received = served.handoffs.received();
    assert_eq!(received, [HandoffRecord { hops: 1, ..record }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_beyond_the_limit_are_refused_while_they_arrive() {
    let served = serve().await;
    let _taken = served.handoffs.room(250 << 20).unwrap();
    let error = served.peers.hand_off("B", &record(served.clock.now_ms(), 50_000)).await.unwrap_err();
    assert!(error.contains("bytes of handoff records are waiting, the limit is 268435456"), "{error}");
    assert!(served.handoffs.received().is_empty());
    drop(_taken);
    served.peers.hand_off("B", &record(served.clock.now_ms(), 50_000)).await.unwrap();
}
