use std::time::Instant;

use super::*;
use crate::catalogue::CatalogueCommand;
use crate::state::{MemberState, Refusal, Role};

fn delete(n: u64) -> CatalogueCommand {
    CatalogueCommand::Delete {
        tenant: "t".into(),
        selector: format!("{{a=\"{n}\"}}"),
        start: 1,
        end: 2,
        id: String::new(),
    }
}

fn deletions(view: &View) -> usize {
    view.catalogue.tenant("t").map_or(0, |tenant| tenant.deletions.len())
}

#[tokio::test]
async fn a_proposal_is_durable_and_seen_by_watchers() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let mut watch = meta.watch();
    let before = watch.borrow_and_update().version;
    let outcome = meta.propose(delete(1)).await.unwrap();
    assert_eq!(deletions(&outcome.view), 1);
    assert_eq!(outcome.response, Response::Done);
    watch.changed().await.unwrap();
    assert!(watch.borrow().version > before);
    meta.shutdown().await;
    drop(meta);
    let again = Meta::open(folder.path(), "A").await.unwrap();
    assert_eq!(deletions(&again.view()), 1);
    again.shutdown().await;
    assert!(matches!(again.propose(delete(2)).await, Err(MetaError::Stopped(_))));
    assert_eq!(deletions(&again.view()), 1, "the view stays");
}

#[tokio::test]
async fn a_single_node_starts_at_once_even_with_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = MetaConfig::alone("A");
    config.timing.commands_per_snapshot = 20;
    let parts =
        || MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
    for round in 1..=3 {
        #[allow(clippy::disallowed_methods, reason = "the test is about real time")]
        let began = Instant::now();
        let meta = Meta::start(folder.path(), config.clone(), parts()).await.unwrap();
        assert!(began.elapsed().as_millis() < 900, "{:?} in round {round}", began.elapsed());
        for n in 0..33 {
            meta.propose(delete(round * 100 + n)).await.unwrap();
        }
        assert_eq!(deletions(&meta.view()), round as usize * 33);
        meta.shutdown().await;
    }
}

#[tokio::test]
async fn a_failing_disk_is_reported_and_a_stop_is_not() {
    let patience = std::time::Duration::from_millis(300);
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    assert!(tokio::time::timeout(patience, meta.failed()).await.is_err(), "all is well");
    // From now on every write fails.
    let Backend::Group(group) = &meta.backend else { panic!("it has the meta role") };
    group.disk.close();
    assert!(matches!(meta.propose(delete(1)).await, Err(MetaError::Stopped(_))));
    let reason = tokio::time::timeout(std::time::Duration::from_secs(10), meta.failed()).await.unwrap();
    assert!(reason.contains("log is closed"), "{reason}");
    meta.shutdown().await;
    drop(meta);
    let again = Meta::open(folder.path(), "A").await.unwrap();
    again.shutdown().await;
    assert!(tokio::time::timeout(patience, again.failed()).await.is_err(), "it was told to stop");
}

#[tokio::test]
async fn a_folder_belongs_to_one_node() {
    let folder = tempfile::tempdir().unwrap();
    Meta::open(folder.path(), "A").await.unwrap().shutdown().await;
    let error = Meta::open(folder.path(), "B").await.err().unwrap().to_string();
    assert!(error.ends_with("belongs to node A, this is node B"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_holds_all_shards_and_refusals_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Arc::new(Meta::open(folder.path(), "A").await.unwrap());
    let member = Member {
        id: "A".into(),
        roles: Role::ALL.into(),
        weight: 100,
        state: MemberState::Active,
        ..Member::default()
    };
    meta.join(member).await.unwrap();
    let placed = |view: &View| view.shards.iter().all(|shard| shard.leader.as_deref() == Some("A"));
    let view = meta.watch().wait_for(placed).await.unwrap().clone();
    assert_eq!(view.shards.len(), 64);
    assert_eq!(view.ownership_epoch, 1);
    let refused = meta.propose(Command::RemoveReplica { shard: 0, node: "A".into() }).await.unwrap_err();
    assert!(matches!(refused, MetaError::Refused(Refusal::LastInSync { .. })), "{refused}");
    let shared = meta.clone();
    let blocked = tokio::task::spawn_blocking(move || shared.propose_blocking(delete(1)));
    assert_eq!(deletions(&blocked.await.unwrap().unwrap().view), 1);
    meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_is_down_at_once_and_is_forgotten_if_it_was_drained() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let member = |id: &str, roles: &[Role]| Member {
        id: id.into(),
        roles: roles.iter().copied().collect(),
        weight: 100,
        state: MemberState::Active,
        ..Member::default()
    };
    meta.join(member("A", &Role::ALL)).await.unwrap();
    let before = meta.clock().monotonic();
    let contact = *meta.contact().wait_for(|contact| contact.is_some_and(|at| at >= before)).await.unwrap();
    assert!(contact >= Some(before));
    meta.join(member("B", &[Role::Agent])).await.unwrap();
    let left = meta.leave("B").await.unwrap();
    assert_eq!(left.member("B").unwrap().state, MemberState::Down);
    assert_eq!(left.assignments.last().unwrap().agents.len(), 1);
    meta.propose(Command::Join { member: member("B", &[Role::Agent]), at_ms: 0 }).await.unwrap();
    let draining = Command::SetMemberState { node: "B".into(), state: MemberState::Draining, at_ms: 0 };
    meta.propose(draining).await.unwrap();
    assert!(meta.leave("B").await.unwrap().member("B").is_none());
    meta.shutdown().await;
}

#[tokio::test]
async fn a_command_that_a_member_cannot_read_is_refused_until_it_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let member = |protocol| Member {
        id: "B".into(),
        roles: [Role::Agent].into(),
        version: "0.1.0".into(),
        weight: 100,
        state: MemberState::Active,
        protocol,
        ..Member::default()
    };
    let new = CatalogueCommand::CondemnBlocks { tenant: "t".into(), ids: vec!["X".into()], at_ms: 0 };
    meta.propose(Command::Join { member: member(0), at_ms: 1 }).await.unwrap();
    let refused = meta.propose(new.clone()).await.unwrap_err().to_string();
    let expected = "node B (version \"0.1.0\") cannot read commands of protocol 1, only up to 0: upgrade it, or remove it from the cluster";
    assert_eq!(refused, expected);
    meta.propose(delete(1)).await.unwrap();
    meta.propose(Command::Join { member: member(crate::PROTOCOL), at_ms: 2 }).await.unwrap();
    let view = meta.propose(new).await.unwrap().view;
    assert!(view.catalogue.tenant("t").unwrap().removal("X").unwrap().at_ms > 0, "the leader's clock counts");
    meta.shutdown().await;
}
