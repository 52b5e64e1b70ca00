use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{ClusterState, Command, HANDOFF_MS, Member, MemberState, Role, VIEW_TIMEOUT};
use pharos_model::{Clock, Labels};

use super::*;
use crate::targets::Placement;
use crate::tests::TokioClock;

/// Records the agents to which handoffs go.
#[derive(Default)]
struct RecordingPeers(Mutex<Vec<String>>);

#[async_trait]
impl Peers for RecordingPeers {
    async fn hand_off(&self, to: &str, _: &HandoffRecord) -> Result<(), String> {
        self.0.lock().push(to.to_string());
        Ok(())
    }
}

fn record() -> HandoffRecord {
    HandoffRecord {
        labels: Labels::from_pairs([("job", "j")]),
        url: "http://h:1/metrics".into(),
        placement: Placement { owner: 7, slot: 7 },
        interval_ms: 5000,
        next_ms: 0,
        extra: false,
        series: Vec::new(),
        hops: 0,
        epoch: 0,
    }
}

/// The ownership of `agent-0` and what steers it.
struct Fixture {
    clock: Arc<TokioClock>,
    state: ClusterState,
    views: watch::Sender<View>,
    contact: watch::Sender<Option<Duration>>,
    steps: watch::Sender<Option<i64>>,
    peers: Arc<RecordingPeers>,
    ownership: Arc<Ownership>,
}

impl Fixture {
    fn new(agents: u8) -> Self {
        let clock = TokioClock::new();
        let mut state = ClusterState::default();
        for agent in 0..agents {
            state.apply(&join(agent, clock.now_ms() - 60_000)).unwrap();
        }
        let views = watch::Sender::new(View::new(Arc::new(state.clone())));
        let contact = watch::Sender::new(Some(clock.monotonic()));
        let peers = Arc::new(RecordingPeers::default());
        let steps = watch::Sender::new(None);
        let (seen, heard, stepped) = (views.subscribe(), contact.subscribe(), steps.subscribe());
        let owner = SlotOwner::new("agent-0", Slots::Targets, seen.clone(), heard, clock.clone());
        let ownership = Ownership::from_parts(owner, seen, stepped, peers.clone());
        Fixture { clock, state, views, contact, steps, peers, ownership }
    }

    fn apply(&mut self, command: &Command) {
        self.state.apply(command).unwrap();
        self.views.send_replace(View::new(Arc::new(self.state.clone())));
    }

    fn drain(&mut self) {
        let node = "agent-0".to_string();
        self.apply(&Command::SetMemberState { node, state: MemberState::Draining, at_ms: self.clock.now_ms() });
    }
}

fn join(agent: u8, at_ms: i64) -> Command {
    let id = format!("agent-{agent}");
    let roles = [Role::Agent].into();
    let member = Member { id, roles, weight: 100, state: MemberState::Active, ..Member::default() };
    Command::Join { member, at_ms }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_view_needs_no_wait() {
    let fixture = Fixture::new(1);
    fixture.ownership.await_fresh_view().await;
    assert_eq!(fixture.clock.monotonic(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stale_view_is_waited_for_until_contact_is_back() {
    let fixture = Fixture::new(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (contact, clock) = (fixture.contact.clone(), fixture.clock.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        contact.send_replace(Some(clock.monotonic()));
    });
    fixture.ownership.await_fresh_view().await;
    assert_eq!(fixture.clock.monotonic(), Duration::from_millis(10_100));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_view_times_out_once() {
    let fixture = Fixture::new(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    fixture.ownership.await_fresh_view().await;
    assert_eq!(fixture.clock.monotonic(), Duration::from_secs(10) + VIEW_TIMEOUT);
    fixture.ownership.await_fresh_view().await;
    assert_eq!(fixture.clock.monotonic(), Duration::from_secs(10) + VIEW_TIMEOUT, "a detached agent does not wait");
}

#[tokio::test(start_paused = true)]
async fn an_agent_waits_again_after_contact_was_back() {
    let fixture = Fixture::new(1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    fixture.ownership.await_fresh_view().await;
    fixture.contact.send_replace(Some(fixture.clock.monotonic()));
    fixture.ownership.await_fresh_view().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = fixture.clock.monotonic();
    fixture.ownership.await_fresh_view().await;
    assert_eq!(fixture.clock.monotonic(), before + VIEW_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_alone_never_waits_and_hands_nothing_off() {
    let ownership = Ownership::everything("");
    ownership.await_fresh_view().await;
    assert!(!ownership.await_release().await);
    assert_eq!(ownership.hand_off("agent-1", &record()).await, Err("there is no other agent".into()));
}

#[tokio::test(start_paused = true)]
async fn records_go_to_the_peer() {
    let fixture = Fixture::new(2);
    fixture.ownership.hand_off("agent-1", &record()).await.unwrap();
    assert_eq!(*fixture.peers.0.lock(), ["agent-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_agent_is_not_released() {
    let mut fixture = Fixture::new(1);
    fixture.drain();
    assert!(!fixture.ownership.await_release().await);
}

#[tokio::test(start_paused = true)]
async fn a_draining_agent_is_released_after_the_handoff_margin() {
    let mut fixture = Fixture::new(2);
    fixture.drain();
    assert!(fixture.ownership.await_release().await);
    let margin = Duration::from_millis(HANDOFF_MS as u64);
    assert_eq!(fixture.clock.monotonic(), margin + VIEW_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_new_view_publishes_a_new_plan() {
    let mut fixture = Fixture::new(1);
    let mut plans = fixture.ownership.watch();
    let epoch = plans.borrow_and_update().epoch;
    let at_ms = fixture.clock.now_ms();
    fixture.apply(&join(1, at_ms));
    plans.changed().await.unwrap();
    assert_ne!(plans.borrow_and_update().epoch, epoch);
    assert!(fixture.ownership.plan().epoch > epoch);
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_clusters_time_publishes_the_plan_again() {
    let fixture = Fixture::new(1);
    let mut plans = fixture.ownership.watch();
    plans.mark_unchanged();
    fixture.steps.send_replace(Some(7));
    plans.changed().await.unwrap();
}
