use std::net::{IpAddr, Ipv4Addr};

use axum::body::Bytes;
use axum::http::Request;
use object_store::memory::InMemory;
use pharos_cluster::{Member, Role};
use pharos_model::SystemClock;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

/// A single node with its API.
struct Node {
    _folder: tempfile::TempDir,
    api: Arc<ClusterApi>,
}

impl Node {
    async fn start(access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let meta = Arc::new(Meta::open(folder.path(), "A").await.unwrap());
        let roles = Role::ALL.into();
        let member = Member { id: "A".into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
        meta.join(member).await.unwrap();
        let placed = |view: &pharos_cluster::View| view.shards.iter().all(|shard| shard.leader.is_some());
        meta.watch().wait_for(placed).await.unwrap();
        let (objects, clock) = (Arc::new(InMemory::new()), Arc::new(SystemClock::new()));
        let copies = Copies { ingester: None, connect: Arc::new(pharos_transport::Channels::new()) };
        let api = Arc::new(ClusterApi { meta, node: "A".into(), objects, clock, access, copies });
        Node { _folder: folder, api }
    }

    async fn commit_block(&self, tenant: &str, id: &str) {
        let block = pharos_cluster::BlockEntry {
            id: id.into(),
            window_end: 100,
            max_t: 99,
            shards: vec![0],
            bytes: 1,
            series: 1,
            samples: 1,
            ..pharos_cluster::BlockEntry::default()
        };
        let commit = CatalogueCommand::CommitBlocks { tenant: tenant.into(), blocks: vec![block], flushed_until: None };
        self.api.meta.propose(commit).await.unwrap();
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Bytes) {
        let answer = self.api.clone().router().oneshot(request).await.unwrap();
        let status = answer.status();
        (status, axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap())
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], from: [u8; 4]) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(format!("/api/v1/cluster{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = ClientAddress(IpAddr::V4(Ipv4Addr::from(from)));
        let (status, bytes) = self.send(request.extension(peer).body(Body::empty()).unwrap()).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [10, 0, 0, 7];

#[tokio::test(flavor = "multi_thread")]
async fn everyone_may_read_the_status() {
    let node = Node::start(Access::default()).await;
    let (status, answer) = node.ask("GET", "", &[], THERE).await;
    assert_eq!(status, StatusCode::OK);
    let shown: ClusterStatus = serde_json::from_value(answer["data"].clone()).unwrap();
    assert_eq!((shown.node.as_str(), shown.shards.len(), shown.moves), ("A", 64, 0));
    assert_eq!((shown.meta.leader.as_deref(), shown.members[0].leads), (Some("A"), 64));
    assert_eq!(shown.problems, []);
    node.api.meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_elsewhere_sees_only_its_own_blocks() {
    let node = Node::start(Access { token: Some("secret".into()), ..Access::default() }).await;
    node.commit_block("a", "A").await;
    node.commit_block("b", "B").await;
    let as_a = ("x-scope-orgid", "a");
    for (headers, from, tenants) in [
        (&[as_a][..], THERE, vec!["a"]),
        (&[], THERE, vec![]),
        (&[as_a, (TOKEN_HEADER, "secret")], THERE, vec!["a", "b"]),
        (&[as_a], HERE, vec!["a", "b"]),
        (&[as_a, ("x-forwarded-for", "10.0.0.7")], HERE, vec!["a"]),
    ] {
        let (_, answer) = node.ask("GET", "", headers, from).await;
        let shown: ClusterStatus = serde_json::from_value(answer["data"].clone()).unwrap();
        assert_eq!(shown.catalogue.tenants.keys().collect::<Vec<_>>(), tenants, "{headers:?} from {from:?}");
        assert_eq!(shown.catalogue.blocks, tenants.len());
    }
    node.api.meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_need_the_token_or_the_admin_api() {
    let node = Node::start(Access { token: Some("secret".into()), ..Access::default() }).await;
    let token = |text| [(TOKEN_HEADER, text)];
    for path in ["/drain?node=A", "/remove?node=B", "/snapshot", "/restore", "/rebuild", "/quarantine"] {
        let (status, answer) = node.ask("POST", path, &token("secre"), THERE).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer["error"].as_str().unwrap().contains("--token-file"), "{answer}");
    }
    let (_, answer) = node.ask("POST", "/remove?node=B", &token("secret"), THERE).await;
    assert_eq!(answer["error"], "node B is not a member");
    let (status, answer) = node.ask("POST", "/remove?node=A", &token("secret"), THERE).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    // A node's own drain is open to the machine, but not to browsers and proxies.
    for (headers, from) in
        [(vec![], THERE), (vec![("origin", "http://x")], HERE), (vec![("x-forwarded-for", "::1")], HERE)]
    {
        let (status, _) = node.ask("POST", "/drain", &headers, from).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{headers:?}");
    }
    let (status, answer) = node.ask("POST", "/drain", &[], HERE).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().starts_with("nothing can take over from node A"), "{answer}");
    let roles = [Role::Store].into();
    let other = Member { id: "B".into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
    node.api.meta.join(other).await.unwrap();
    let (status, answer) = node.ask("POST", "/drain", &[], HERE).await;
    assert_eq!(
        (status, &answer["data"]["state"], &answer["data"]["replicas"]),
        (StatusCode::OK, &"draining".into(), &64.into())
    );
    let stuck = answer["data"]["stuck"].as_array().unwrap();
    assert_eq!(stuck.len(), 3, "{stuck:?}");
    let (_, answer) = node.ask("POST", "/drain?cancel=true", &[], HERE).await;
    assert_eq!(answer["data"]["state"], "active");
    let (status, _) = node.ask("GET", "/drain?node=Z", &[], HERE).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    node.api.meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_restored() {
    let node = Node::start(Access { everyone: true, ..Access::default() }).await;
    let post = |path: &str, body: Body| {
        Request::builder().method("POST").uri(format!("/api/v1/cluster{path}")).body(body).unwrap()
    };
    let (status, snapshot) = node.send(post("/snapshot", Body::empty())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(codec::decode(&snapshot).unwrap().members.len(), 1);
    let before = node.api.meta.view().incarnation;
    let (status, _) = node.send(post("/restore", Body::from(snapshot.slice(..20)))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, answer) = node.send(post("/restore", Body::from(snapshot))).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    assert_eq!(node.api.meta.view().incarnation, before + 1);
    let (status, _) = node.send(post("/restore?export=true", Body::empty())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    export::write(&*node.api.objects, &node.api.meta.view()).await.unwrap();
    let (status, _) = node.send(post("/restore?export=true", Body::empty())).await;
    assert_eq!((status, node.api.meta.view().incarnation), (StatusCode::OK, before + 2));
    let (status, answer) = node.send(post("/rebuild", Body::empty())).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["data"]["blocks"]), (StatusCode::OK, &0.into()));
    node.api.meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_taken_out_of_the_catalogue() {
    let node = Node::start(Access { everyone: true, ..Access::default() }).await;
    let (status, answer) = node.ask("POST", "/quarantine?tenant=t&block=B", &[], THERE).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &"the catalogue lists no block B of tenant t".into())
    );
    node.commit_block("t", "B").await;
    let (status, _) = node.ask("POST", "/quarantine?tenant=t&block=B", &[], THERE).await;
    assert_eq!(status, StatusCode::OK);
    let view = node.api.meta.view();
    let tenant = view.catalogue.tenant("t").unwrap();
    assert!(tenant.blocks.is_empty());
    assert_eq!(tenant.removal("B").unwrap().reason, RemovalReason::Quarantine);
    let (_, answer) = node.ask("POST", "/quarantine?tenant=t&block=B", &[], THERE).await;
    assert_eq!(answer["error"], "block B of tenant t was removed already (Quarantine)");
    node.api.meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_refused_before_its_body_is_read() {
    let node = Node::start(Access::default()).await;
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, _) = node.send(Request::post("/api/v1/cluster/restore").body(never).unwrap()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    node.api.meta.shutdown().await;
}
