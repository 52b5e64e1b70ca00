use super::*;
use crate::routing::{GroupBy, Route};

const EPOCH: i64 = 1_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wall(second: i64) -> Timestamp {
    Timestamp::from_second(EPOCH + second).unwrap()
}

/// A tree of one route: groups by `a`, waits 10 s, interval 60 s.
fn tree() -> RouteTree {
    let group_by = GroupBy::Labels(BTreeSet::from(["a".to_string()]));
    RouteTree(vec![Route { group_by, group_wait: seconds(10), group_interval: seconds(60), ..Route::defaults() }])
}

fn alert(a: &str, b: &str, starts: i64, ends: i64) -> Arc<Alert> {
    let labels = [("a", a), ("b", b)].map(|(name, value)| (name.to_string(), value.to_string()));
    Arc::new(Alert {
        labels: labels.into(),
        annotations: LabelMap::new(),
        starts_at: wall(starts),
        ends_at: Some(wall(ends)),
        updated_at: wall(starts),
        generator_url: String::new(),
        timed_out: false,
    })
}

/// Groups at a second that both clocks show.
struct World {
    groups: Groups,
    tree: RouteTree,
}

impl World {
    fn new() -> World {
        World { groups: Groups::default(), tree: tree() }
    }

    fn put(&mut self, alert: &Arc<Alert>, second: u64) {
        self.groups.put(alert, &[0], &self.tree, seconds(second), wall(second as i64));
    }

    fn due(&mut self, second: u64) -> Vec<Flush> {
        self.groups.take_due(&self.tree, seconds(second), wall(second as i64))
    }
}

#[test]
fn a_new_group_waits_for_more_alerts() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 500), 0);
    world.put(&alert("1", "y", 5, 500), 5);
    world.put(&alert("2", "x", 5, 500), 5);
    assert!(world.due(9).is_empty());
    let flushes = world.due(10);
    assert_eq!(flushes.len(), 1);
    assert_eq!(flushes[0].key, "{}:{a=\"1\"}");
    assert_eq!(flushes[0].alerts.len(), 2);
    assert!(flushes[0].alerts.iter().all(|alert| alert.ends_at.is_none()));
    assert_eq!(world.groups.next_due(), Some(seconds(15)));
}

#[test]
fn an_alert_that_is_old_is_announced_at_once() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 500), 11);
    assert_eq!(world.due(11).len(), 1);
}

#[test]
fn a_group_is_flushed_at_its_interval() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 500), 0);
    let flush = world.due(10).remove(0);
    world.groups.finish(&flush, true);
    assert!(world.due(69).is_empty());
    assert_eq!(world.due(70).len(), 1);
}

#[test]
fn a_flush_that_takes_long_is_not_overtaken() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 5000), 0);
    let flush = world.due(10).remove(0);
    assert!(world.due(500).is_empty());
    world.groups.finish(&flush, true);
    assert_eq!(world.due(500).len(), 1);
}

#[test]
fn a_group_ends_with_its_last_alert() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 5), 0);
    let flush = world.due(10).remove(0);
    assert_eq!(flush.alerts[0].ends_at, Some(wall(5)));
    world.groups.finish(&flush, true);
    assert!(world.groups.is_empty() && world.groups.next_due().is_none());
}

#[test]
fn resolved_alerts_stay_until_a_flush_succeeds() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 5), 0);
    let flush = world.due(10).remove(0);
    world.groups.finish(&flush, false);
    assert_eq!(world.due(70)[0].alerts.len(), 1);
}

#[test]
fn an_alert_that_fires_again_during_the_flush_stays() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 5), 0);
    let flush = world.due(10).remove(0);
    world.put(&alert("1", "x", 11, 500), 11);
    world.groups.finish(&flush, true);
    assert_eq!(world.due(70)[0].alerts.len(), 1);
}

#[test]
fn a_flush_of_groups_that_were_replaced_changes_nothing() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 5), 0);
    let flush = world.due(10).remove(0);
    world.groups.clear();
    world.put(&alert("1", "x", 0, 5), 11);
    world.groups.finish(&flush, true);
    assert_eq!(world.groups.len(), 1);
    assert_eq!(world.due(11).len(), 1);
}

#[test]
fn a_step_of_the_wall_clock_does_not_move_deadlines() {
    let mut world = World::new();
    world.put(&alert("1", "x", 0, 500), 0);
    let day = 86_400;
    assert!(world.groups.take_due(&world.tree, seconds(9), wall(day)).is_empty());
    assert_eq!(world.groups.take_due(&world.tree, seconds(10), wall(-day)).len(), 1);
}
