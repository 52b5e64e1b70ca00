use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn alert(ends_at: Option<i64>) -> Alert {
    Alert {
        labels: labels(&[("alertname", "Down")]),
        annotations: BTreeMap::new(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: ends_at.and_then(|second| Timestamp::from_second(second).ok()),
        updated_at: Timestamp::UNIX_EPOCH,
        generator_url: String::new(),
        timed_out: false,
    }
}

#[test]
fn fingerprints_are_those_of_alertmanager() {
    assert_eq!(Fingerprint::of(&labels(&[])).to_string(), "cbf29ce484222325");
    // Computed with model.LabelSet.Fingerprint of prometheus/common.
    assert_eq!(
        Fingerprint::of(&labels(&[("alertname", "HighLatency"), ("job", "api")])).to_string(),
        "144419c8ae624785"
    );
}

#[test]
fn an_alert_is_resolved_from_its_end_on() {
    let now = Timestamp::from_second(10).unwrap();
    assert_eq!(alert(None).status(now), Status::Firing);
    assert_eq!(alert(Some(11)).status(now), Status::Firing);
    assert_eq!(alert(Some(10)).status(now), Status::Resolved);
}

#[test]
fn a_group_fires_as_long_as_one_alert_does() {
    let now = Timestamp::from_second(10).unwrap();
    assert_eq!(Status::of_group(&[alert(Some(1)), alert(None)], now), Status::Firing);
    assert_eq!(Status::of_group(&[alert(Some(1))], now), Status::Resolved);
    assert_eq!(Status::of_group(&[], now), Status::Resolved);
}
