use std::collections::BTreeMap;

use pharos_model::SystemClock;

use super::*;
use crate::engine::Settings;
use crate::matcher::Syntax;
use crate::metrics::Metrics;
use crate::notification_log::{Entry, IntegrationKey};
use crate::replicas::http::{self, HttpCarrier};
use crate::silences::Silence;

/// A replica that listens on loopback.
struct Replica {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Replica {
    async fn start(name: &str, label: &str, peers: &[&Replica]) -> Replica {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = ClusterSettings {
            name: name.into(),
            address: listener.local_addr().unwrap().to_string(),
            label: label.into(),
            peers: peers.iter().map(|peer| peer.cluster.settings.address.clone()).collect(),
            peer_timeout: Duration::from_secs(15),
            heartbeat_interval: Duration::from_millis(20),
            exchange_interval: Duration::from_secs(60),
            settle_timeout: Duration::from_secs(60),
            reconnect_interval: Duration::from_millis(20),
            reconnect_timeout: Duration::from_secs(600),
        };
        let cluster = Cluster::new(settings, Arc::new(HttpCarrier::new().unwrap()), clock.clone());
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let engine = Engine::open(Settings::of_test(folder.path()), metrics, cluster.clone(), clock).unwrap();
        cluster.attach(&engine);
        let router = http::router(cluster.clone());
        let (stop, mut stopped) = watch::channel(false);
        let until_stop = {
            let mut stopped = stopped.clone();
            async move { drop(stopped.wait_for(|is_stopped| *is_stopped).await) }
        };
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(until_stop).await });
        tokio::spawn(cluster.clone().run(stopped.clone()));
        stopped.mark_unchanged();
        Replica { cluster, engine, stop, _folder: folder }
    }

    /// Waits until this many replicas are live.
    async fn sees(&self, count: usize) {
        until(|| self.cluster.status().live.len() == count).await;
    }
}

async fn until(is_true: impl Fn() -> bool) {
    while !is_true() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn draft(engine: &Engine) -> Silence {
    let now = engine.now();
    Silence {
        id: String::new(),
        matcher_sets: vec![Syntax::Both.matchers("a=b", "test").unwrap()],
        starts_at: now,
        ends_at: now + Duration::from_secs(60),
        updated_at: now,
        created_by: String::new(),
        comment: String::new(),
        annotations: BTreeMap::new(),
        expires_at: now,
    }
}

fn key() -> IntegrationKey {
    IntegrationKey { receiver: "team".into(), name: "webhook".into(), index: 0 }
}

fn entry(engine: &Engine) -> Entry {
    let now = engine.now();
    Entry {
        group_key: "g".into(),
        integration: key(),
        timestamp: now,
        firing: vec![1],
        resolved: Vec::new(),
        data: BTreeMap::new(),
        expires_at: now + Duration::from_secs(60),
    }
}

#[tokio::test]
async fn replicas_find_each_other_through_one_of_them() {
    let a = Replica::start("a", "", &[]).await;
    let b = Replica::start("b", "", &[&a]).await;
    let c = Replica::start("c", "", &[&a]).await;
    for (replica, position) in [(&a, 0), (&b, 1), (&c, 2)] {
        replica.sees(3).await;
        assert_eq!(replica.cluster.turn(), Duration::from_secs(15) * position);
        replica.cluster.settled().await;
    }
}

#[tokio::test]
async fn a_change_is_everywhere_when_it_is_answered() {
    let a = Replica::start("a", "", &[]).await;
    let b = Replica::start("b", "", &[&a]).await;
    a.sees(2).await;
    b.sees(2).await;
    let id = b.engine.set_silence(draft(&b.engine)).await.unwrap();
    assert!(a.engine.silence(&id).is_some());
    a.engine.expire_silence(&id).await.unwrap();
    assert!(b.engine.silence(&id).unwrap().ends_at <= b.engine.now());
    b.engine.record(entry(&b.engine)).await;
    assert_eq!(a.engine.last_told("g", &key()).unwrap().firing, [1]);
}

#[tokio::test]
async fn one_that_joins_learns_what_the_others_know() {
    let a = Replica::start("a", "", &[]).await;
    let id = a.engine.set_silence(draft(&a.engine)).await.unwrap();
    a.engine.record(entry(&a.engine)).await;
    let b = Replica::start("b", "", &[&a]).await;
    b.cluster.settled().await;
    until(|| b.engine.silence(&id).is_some() && b.engine.last_told("g", &key()).is_some()).await;
}

#[tokio::test]
async fn a_replica_waits_for_the_claim_of_another() {
    let a = Replica::start("a", "", &[]).await;
    let b = Replica::start("b", "", &[&a]).await;
    a.sees(2).await;
    b.sees(2).await;
    let later = a.engine.now() + Duration::from_secs(600);
    a.cluster.claim("g", later).await;
    let waiting = {
        let b = b.cluster.clone();
        tokio::spawn(async move { b.claim("g", later).await })
    };
    b.cluster.claim("other", later).await;
    assert!(!waiting.is_finished());
    a.cluster.release("g").await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn one_that_stops_is_not_waited_for() {
    let a = Replica::start("a", "", &[]).await;
    let b = Replica::start("b", "", &[&a]).await;
    b.sees(2).await;
    a.sees(2).await;
    a.cluster.claim("g", a.engine.now() + Duration::from_secs(600)).await;
    a.stop.send_replace(true);
    b.sees(1).await;
    b.cluster.claim("g", b.engine.now() + Duration::from_secs(600)).await;
    assert_eq!((b.cluster.turn(), b.cluster.status().failed), (Duration::ZERO, 0));
}

#[tokio::test]
async fn replicas_of_another_cluster_are_not_heard() {
    let a = Replica::start("a", "one", &[]).await;
    let b = Replica::start("b", "two", &[&a]).await;
    let mut letter = b.cluster.letter();
    letter.wants_everything = true;
    assert_eq!(b.cluster.call(&a.cluster.settings.address, letter).await, None);
    assert_eq!((a.cluster.status().live.len(), b.cluster.status().live.len()), (1, 1));
    assert!(!b.cluster.status().is_settled);
}
