//! Which calls a node of a cluster takes, and that connections name the cluster.

use tonic::Code;

use super::*;

const RAFT: &str = "/pharos.meta.v1.Raft/Append";
const META: &str = "/pharos.meta.v1.Meta/Watch";
const APPEND: &str = "/pharos.ingest.v1.Ingest/Append";
const QUERY: &str = "/pharos.query.v1.Query/Select";
const ALL: [&str; 4] = [RAFT, META, APPEND, QUERY];

fn of(cluster: &str) -> ClusterIdentity {
    let identity = ClusterIdentity::default();
    identity.set(KnownCluster { cluster: cluster.into(), ..KnownCluster::default() });
    identity
}

/// Whether a node takes a call.
fn takes(identity: &ClusterIdentity, path: &str, given: Option<&str>) -> Result<(), Status> {
    identity.check(path, given.map(|given| HeaderValue::from_str(given).unwrap()).as_ref())
}

#[test]
fn calls_of_the_own_cluster_are_taken() {
    for path in ALL {
        takes(&of("A"), path, Some("A")).unwrap();
    }
}

#[test]
fn calls_of_another_cluster_are_refused_with_both_identities() {
    for path in ALL {
        let refused = takes(&of("cluster-a"), path, Some("cluster-b")).unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{path}");
        assert!(refused.message().contains("cluster-a") && refused.message().contains("cluster-b"), "{refused}");
    }
}

#[test]
fn a_call_that_names_no_cluster_reaches_only_meta_and_raft() {
    for path in [RAFT, META] {
        takes(&of("A"), path, None).unwrap();
    }
    for path in [APPEND, QUERY, "/", "", "/pharos.meta.v1.Meta", "/pharos.meta.v1.Metal/Watch"] {
        assert_eq!(takes(&of("A"), path, None).unwrap_err().code(), Code::FailedPrecondition, "{path}");
    }
}

#[test]
fn while_the_cluster_has_older_members_calls_may_name_none() {
    let upgrading = of("A");
    upgrading.set(KnownCluster { has_older_members: true, ..upgrading.get() });
    for path in ALL {
        takes(&upgrading, path, None).unwrap();
        takes(&upgrading, path, Some("B")).unwrap_err();
    }
}

#[test]
fn nodes_of_a_restored_cluster_may_ask_meta_only() {
    let restored = of("B");
    restored.set(KnownCluster { former: vec!["A".into()], ..restored.get() });
    takes(&restored, META, Some("A")).unwrap();
    for path in [RAFT, APPEND, QUERY] {
        takes(&restored, path, Some("A")).unwrap_err();
    }
}

#[test]
fn a_node_without_a_cluster_can_be_found_and_nothing_more() {
    let alone = ClusterIdentity::default();
    for given in [None, Some("A")] {
        takes(&alone, RAFT, given).unwrap();
        takes(&alone, META, given).unwrap();
        assert_eq!(takes(&alone, APPEND, given).unwrap_err().code(), Code::Unavailable);
    }
}

#[test]
fn an_identity_that_no_header_can_carry_is_unreadable_and_refused() {
    let hostile = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    assert!(of("A").check(APPEND, Some(&hostile)).is_err());
    let long = HeaderValue::from_str(&"x".repeat(10_000)).unwrap();
    let refused = of("A").check(APPEND, Some(&long)).unwrap_err();
    assert!(refused.message().len() < 300, "{refused}");
}

/// A connection to a server that answers every call that passes the check of `server`.
fn connection(server: &ClusterIdentity) -> Connection {
    let answering =
        tower::service_fn(|_: http::Request<Body>| async { Ok::<_, Status>(http::Response::new(Body::default())) });
    Connection::new(IdentityCheck::new(server.clone()).layer(answering))
}

struct To(ClusterIdentity);

impl Connect for To {
    fn connect(&self, _address: &str) -> Result<Connection, Status> {
        Ok(connection(&self.0))
    }
}

/// The code that a call over these connections comes to.
async fn call(connect: &dyn Connect) -> Code {
    let request = http::Request::builder().uri(APPEND).body(Body::default()).unwrap();
    let answer = connect.connect("a:1").unwrap().oneshot(request).await.unwrap();
    Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn connections_name_the_cluster_of_their_node() {
    let server = of("A");
    assert_eq!(call(&To(server.clone())).await, Code::FailedPrecondition, "no identity");
    assert_eq!(call(&Identified::new(Arc::new(To(server.clone())), of("A"))).await, Code::Ok);
    assert_eq!(call(&Identified::new(Arc::new(To(server)), of("B"))).await, Code::FailedPrecondition);
}

#[tokio::test]
async fn a_connection_follows_the_identity_of_its_node() {
    let ours = ClusterIdentity::default();
    let connect = Identified::new(Arc::new(To(of("A"))), ours.clone());
    assert_eq!(call(&connect).await, Code::FailedPrecondition);
    ours.set(of("A").get());
    assert_eq!(call(&connect).await, Code::Ok);
    assert_eq!(connect.identity().get(), ours.get());
}
