use super::*;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn too_few_latencies_have_the_default_percentile() {
    let latencies = Latencies::with_floor(Duration::ZERO);
    assert_eq!(latencies.p95(), DEFAULT_P95);
    (1..MIN_LATENCIES).for_each(|_| latencies.add(millis(1)));
    assert_eq!(latencies.p95(), DEFAULT_P95);
    latencies.add(millis(1));
    assert_eq!(latencies.p95(), millis(1));
}

#[test]
fn the_percentile_separates_the_slowest_twentieth() {
    let latencies = Latencies::with_floor(Duration::ZERO);
    (0..100).for_each(|i| latencies.add(millis(if i < 4 { 900 } else { 10 })));
    assert_eq!(latencies.p95(), millis(10));
    (0..8).for_each(|_| latencies.add(millis(900)));
    assert_eq!(latencies.p95(), millis(900));
}

#[test]
fn old_latencies_are_forgotten() {
    let latencies = Latencies::with_floor(Duration::ZERO);
    (0..1000).for_each(|_| latencies.add(millis(900)));
    (0..MAX_LATENCIES).for_each(|_| latencies.add(millis(5)));
    assert_eq!(latencies.p95(), millis(5));
}

#[test]
fn a_quarantine_ends_after_its_time() {
    let quarantine = Quarantine::default();
    quarantine.add("a", Duration::from_secs(1));
    assert_eq!(quarantine.nodes(Duration::from_secs(2)), ["a".to_string()].into());
    assert!(quarantine.nodes(Duration::from_secs(6)).is_empty());
}

#[test]
fn a_second_failure_extends_the_quarantine() {
    let quarantine = Quarantine::default();
    quarantine.add("a", Duration::from_secs(1));
    quarantine.add("a", Duration::from_secs(4));
    assert_eq!(quarantine.nodes(Duration::from_secs(8)).len(), 1);
}
