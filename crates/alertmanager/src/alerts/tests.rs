use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn alert(name: &str, instance: &str, starts: i64, ends: i64, updated: i64) -> Alert {
    Alert {
        labels: labels(&[(ALERT_NAME, name), ("instance", instance)]),
        annotations: labels(&[("updated", &updated.to_string())]),
        starts_at: time(starts),
        ends_at: Some(time(ends)),
        updated_at: time(updated),
        generator_url: String::new(),
        timed_out: false,
    }
}

#[test]
fn reports_about_an_incident_are_merged() {
    let mut alerts = Alerts::new(0);
    alerts.put(alert("a", "1", 10, 100, 20), time(20)).unwrap();
    let merged = alerts.put(alert("a", "1", 15, 120, 30), time(30)).unwrap();
    assert_eq!((merged.starts_at, merged.ends_at), (time(10), Some(time(120))));
    assert_eq!(merged.annotations["updated"], "30");
    assert_eq!(alerts.iter().count(), 1);
}

#[test]
fn an_alert_that_fires_again_later_starts_anew() {
    let mut alerts = Alerts::new(0);
    alerts.put(alert("a", "1", 10, 20, 20), time(20)).unwrap();
    let again = alerts.put(alert("a", "1", 30, 100, 30), time(30)).unwrap();
    assert_eq!(again.starts_at, time(30));
}

#[test]
fn a_resolution_ends_an_alert_early() {
    let mut alerts = Alerts::new(0);
    alerts.put(alert("a", "1", 10, 100, 20), time(20)).unwrap();
    let resolved = alerts.put(alert("a", "1", 10, 25, 30), time(30)).unwrap();
    assert_eq!(resolved.ends_at, Some(time(25)));
}

#[test]
fn an_end_that_follows_from_a_timeout_does_not_last() {
    let timed_out = Alert { timed_out: true, ..alert("a", "1", 10, 300, 20) };
    let mut alerts = Alerts::new(0);
    alerts.put(timed_out.clone(), time(20)).unwrap();
    assert_eq!(alerts.put(alert("a", "1", 10, 200, 30), time(30)).unwrap().ends_at, Some(time(200)));
    // An end that the sender gave does.
    let shorter = Alert { ends_at: Some(time(150)), updated_at: time(40), ..timed_out };
    assert_eq!(alerts.put(shorter, time(40)).unwrap().ends_at, Some(time(200)));
}

#[test]
fn a_report_that_arrives_late_does_not_decide() {
    let mut alerts = Alerts::new(0);
    alerts.put(alert("a", "1", 10, 100, 30), time(30)).unwrap();
    let merged = alerts.put(alert("a", "1", 5, 90, 20), time(30)).unwrap();
    assert_eq!((merged.starts_at, merged.annotations["updated"].as_str()), (time(5), "30"));
}

#[test]
fn resolved_alerts_are_removed() {
    let mut alerts = Alerts::new(0);
    alerts.put(alert("a", "1", 10, 100, 20), time(20)).unwrap();
    alerts.put(alert("a", "2", 10, 200, 20), time(20)).unwrap();
    assert_eq!(alerts.collect_garbage(time(100)), 1);
    assert_eq!(alerts.iter().next().unwrap().1.alert.labels["instance"], "2");
}

#[test]
fn a_name_has_a_limit_of_alerts_that_fire() {
    let mut alerts = Alerts::new(2);
    alerts.put(alert("a", "1", 10, 100, 20), time(20)).unwrap();
    alerts.put(alert("a", "2", 10, 200, 20), time(20)).unwrap();
    alerts.put(alert("b", "1", 10, 200, 20), time(20)).unwrap();
    assert_eq!(alerts.put(alert("a", "3", 10, 200, 20), time(20)), Err(Limited));
    alerts.put(alert("a", "2", 10, 300, 30), time(30)).unwrap();
    // The first one is resolved by now.
    alerts.put(alert("a", "3", 10, 300, 101), time(101)).unwrap();
    assert_eq!(alerts.put(alert("a", "4", 10, 300, 101), time(101)), Err(Limited));
}

#[test]
fn alerts_are_shown_by_job_instance_and_labels() {
    let with = |pairs: &[(&str, &str)]| Alert { labels: labels(pairs), ..alert("", "", 1, 2, 3) };
    let mut alerts = [
        with(&[("b", "1")]),
        with(&[("instance", "2"), ("job", "x")]),
        with(&[("a", "1")]),
        with(&[("instance", "1"), ("job", "x"), ("z", "1")]),
        with(&[("instance", "0")]),
    ];
    alerts.sort_by(display_order);
    let shown: Vec<String> = alerts.iter().map(|alert| crate::routing::label_text(&alert.labels)).collect();
    assert_eq!(
        shown,
        [
            "{instance=\"1\", job=\"x\", z=\"1\"}",
            "{instance=\"2\", job=\"x\"}",
            "{instance=\"0\"}",
            "{b=\"1\"}",
            "{a=\"1\"}",
        ]
    );
}
