use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pharos_cluster::{ClusterState, Command, Member, MemberState, Role};
use pharos_transport::append::{Appended, ShardTarget, Shipment};

use super::*;

/// A replica that is only told apart by its allocation.
struct Idle(#[allow(dead_code, reason = "types without size share an address")] u8);

#[async_trait]
impl Replica for Idle {
    async fn append(&self, _: &Shipment<'_>, _: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        Err(ReplicaError::Unreachable("idle".into()))
    }
}

/// A view with one ingester at an address.
fn view(node: &str, address: &str) -> View {
    let member = Member {
        id: node.into(),
        address: address.into(),
        roles: [Role::Ingester].into(),
        weight: 100,
        state: MemberState::Active,
        ..Member::default()
    };
    let mut state = ClusterState::default();
    state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    View::new(Arc::new(state))
}

/// Replicas that count how often they connect.
fn replicas(local: Option<&str>) -> (Replicas, Arc<AtomicUsize>) {
    let connects = Arc::new(AtomicUsize::new(0));
    let counter = connects.clone();
    let connect = move |address: &str| -> Result<Arc<dyn Replica>, String> {
        counter.fetch_add(1, Ordering::Relaxed);
        match address {
            "bad" => Err("bad address".into()),
            _ => Ok(Arc::new(Idle(0))),
        }
    };
    let local = local.map(|node| (node.to_string(), Arc::new(Idle(1)) as Arc<dyn Replica>));
    (Replicas::new(local, Box::new(connect)), connects)
}

fn error(replicas: &Replicas, view: &View, node: &str) -> String {
    replicas.get(view, node).err().unwrap().to_string()
}

#[test]
fn a_connection_is_kept() {
    let (replicas, connects) = replicas(None);
    let view = view("a", "host:1");
    let first = replicas.get(&view, "a").unwrap();
    assert!(Arc::ptr_eq(&first, &replicas.get(&view, "a").unwrap()));
    assert_eq!(connects.load(Ordering::Relaxed), 1);
}

#[test]
fn a_new_address_is_connected_to() {
    let (replicas, connects) = replicas(None);
    replicas.get(&view("a", "host:1"), "a").unwrap();
    replicas.get(&view("a", "host:2"), "a").unwrap();
    assert_eq!(connects.load(Ordering::Relaxed), 2);
}

#[test]
fn the_local_replica_needs_no_connection() {
    let (replicas, connects) = replicas(Some("a"));
    assert!(replicas.is_local("a"));
    assert!(replicas.get(&view("b", "host:1"), "a").is_ok());
    assert_eq!(connects.load(Ordering::Relaxed), 0);
}

#[test]
fn a_node_that_is_not_a_member_is_unreachable() {
    let (replicas, _) = replicas(None);
    assert!(error(&replicas, &view("a", "host:1"), "b").contains("b is not a member"));
}

#[test]
fn a_failed_connection_names_its_cause() {
    let (replicas, connects) = replicas(None);
    let view = view("a", "bad");
    assert!(error(&replicas, &view, "a").contains("bad address"));
    assert!(error(&replicas, &view, "a").contains("bad address"));
    assert_eq!(connects.load(Ordering::Relaxed), 2, "a failure is not kept");
}

#[test]
fn connections_of_removed_members_are_closed() {
    let (replicas, _) = replicas(None);
    let first = replicas.get(&view("a", "host:1"), "a").unwrap();
    replicas.get(&view("b", "host:2"), "b").unwrap();
    assert_eq!(Arc::strong_count(&first), 1);
}
