//! What the cluster listener asks of a caller before it serves a call.

use pharos_model::SystemClock;
use pharos_transport::KnownCluster;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::*;
use crate::cli::{Cli, Command};

const TOKEN: &str = "same";

fn cluster_args() -> ClusterArgs {
    let token = format!("--cluster.token={TOKEN}");
    let flags = ["pharos", "--cluster.listen-address=127.0.0.1:0", "--join=127.0.0.1:1", token.as_str()];
    match Cli::try_parse_from_args(flags.iter()).unwrap().command {
        Command::Server(args) => args.cluster,
        other => panic!("{other:?}"),
    }
}

fn of(cluster: &str) -> KnownCluster {
    KnownCluster { cluster: cluster.into(), ..KnownCluster::default() }
}

/// The connections of a node of this cluster with this token.
fn node_of(cluster: &str, token: &str) -> Identified {
    let identity = ClusterIdentity::default();
    identity.set(of(cluster));
    Identified::new(Arc::new(Channels::new().with_token(token).unwrap()), identity)
}

/// Calls a method that no role serves, which is unimplemented unless the call is refused before.
async fn call(address: &str, from: &dyn Connect) -> Status {
    let uri = format!("http://{address}/pharos.ingest.v1.Ingest/Append");
    let request =
        axum::http::Request::post(uri).header("content-type", "application/grpc").body(Body::default()).unwrap();
    let answer = from.connect(address).unwrap().oneshot(request).await.unwrap();
    Status::from_header_map(answer.headers()).unwrap()
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_also_with_the_same_token() {
    let (stop, stopped) = watch::channel(false);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let http_config = HttpConfig { max_connections: 16, patience: Patience::Client(Duration::from_secs(5)) };
    let network = Network::open(&cluster_args(), http_config, &clock, stopped).await.unwrap();
    network.connect.identity().set(of("ours"));
    network.serve(|_| ());
    let address = network.address.clone();
    assert_eq!(call(&address, &node_of("ours", TOKEN)).await.code(), Code::Unimplemented);
    assert_eq!(call(&address, &*network.connect).await.code(), Code::Unimplemented);
    let refused = call(&address, &node_of("theirs", TOKEN)).await;
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("ours") && refused.message().contains("theirs"), "{refused}");
    let stranger = call(&address, &node_of("theirs", "other")).await;
    assert_eq!(stranger.code(), Code::Unauthenticated);
    assert!(!stranger.message().contains("ours"), "a stranger learns nothing: {stranger}");
    stop.send_replace(true);
    network.finish().await;
}
