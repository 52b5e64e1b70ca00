use NotificationReason::*;

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(at: i64, firing: &[u64], resolved: &[u64]) -> Entry {
    Entry {
        group_key: "g".into(),
        integration: IntegrationKey { receiver: "team".into(), name: "webhook".into(), index: 0 },
        timestamp: time(at),
        firing: firing.to_vec(),
        resolved: resolved.to_vec(),
        data: BTreeMap::new(),
        expires_at: time(at + 1000),
    }
}

fn hashes(firing: &[u64], resolved: &[u64]) -> Hashes {
    Hashes { firing: firing.to_vec(), resolved: resolved.to_vec() }
}

const HOUR: Duration = Duration::from_secs(3600);

fn why(entry: Option<Entry>, firing: &[u64], resolved: &[u64]) -> Option<NotificationReason> {
    reason(entry.as_ref(), &hashes(firing, resolved), true, HOUR, time(100))
}

#[test]
fn a_group_is_announced_once_an_alert_fires() {
    assert_eq!(why(None, &[1], &[]), Some(FirstNotification));
    assert_eq!(why(None, &[], &[1]), None);
    // It was resolved before.
    assert_eq!(why(Some(entry(99, &[], &[1])), &[1], &[]), Some(FirstNotification));
}

#[test]
fn a_change_of_the_group_is_announced() {
    assert_eq!(why(Some(entry(99, &[1], &[])), &[1, 2], &[]), Some(NewAlertsInGroup));
    assert_eq!(why(Some(entry(99, &[1, 2], &[])), &[1], &[2]), Some(NewResolvedAlerts));
    assert_eq!(why(Some(entry(99, &[1], &[])), &[], &[1]), Some(AllAlertsResolved));
}

#[test]
fn nothing_new_is_not_announced_before_the_repeat_interval() {
    assert_eq!(why(Some(entry(99, &[1], &[2])), &[1], &[2]), None);
    assert_eq!(why(Some(entry(99, &[], &[1])), &[], &[1]), None);
    let old = entry(0, &[1], &[]);
    assert_eq!(reason(Some(&old), &hashes(&[1], &[]), true, HOUR, time(3600)), None);
    assert_eq!(reason(Some(&old), &hashes(&[1], &[]), true, HOUR, time(3601)), Some(RepeatIntervalElapsed));
}

#[test]
fn an_integration_without_resolved_alerts_learns_of_the_last_one_only() {
    let known = entry(99, &[1, 2], &[]);
    assert_eq!(reason(Some(&known), &hashes(&[1], &[2]), false, HOUR, time(100)), None);
    assert_eq!(reason(Some(&known), &hashes(&[], &[1, 2]), false, HOUR, time(100)), Some(AllAlertsResolved));
}

#[test]
fn the_youngest_entry_wins_in_any_order() {
    let mut log = NotificationLog::default();
    assert!(log.merge(entry(5, &[1], &[]), time(5)));
    assert!(!log.merge(entry(4, &[2], &[]), time(5)) && !log.merge(entry(5, &[2], &[]), time(5)));
    assert!(log.merge(entry(6, &[3], &[]), time(6)));
    let key = entry(0, &[], &[]).integration;
    assert_eq!(log.get("g", &key).unwrap().firing, [3]);
    assert!(log.get("h", &key).is_none());
    assert_eq!(log.len(), 1);
}

#[test]
fn entries_past_their_time_are_removed_and_refused() {
    let mut log = NotificationLog::default();
    assert!(!log.merge(entry(5, &[1], &[]), time(2000)));
    assert!(log.merge(entry(5, &[1], &[]), time(5)));
    assert_eq!(log.collect_garbage(time(1004)), 0);
    assert_eq!(log.collect_garbage(time(1005)), 1);
    assert!(log.is_empty());
}

#[test]
fn an_entry_lives_for_two_repeat_intervals_within_the_retention() {
    assert_eq!(expiry(time(0), HOUR, HOUR * 120), time(7200));
    assert_eq!(expiry(time(0), HOUR * 100, HOUR * 120), time(120 * 3600));
    assert_eq!(expiry(time(0), Duration::MAX, Duration::MAX), Timestamp::MAX);
}
