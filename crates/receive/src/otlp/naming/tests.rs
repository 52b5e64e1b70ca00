//! Tests of names, on the examples of the OpenTelemetry specification for Prometheus.

use super::*;
use Shape::*;
use TranslationStrategy::*;

fn name(strategy: TranslationStrategy, name: &str, unit: &str, shape: Shape) -> String {
    metric_name(strategy, name, unit, shape).unwrap()
}

#[test]
fn names_are_escaped_and_get_units_and_total() {
    for (given, unit, shape, expected) in [
        ("http.server.duration", "ms", Other, "http_server_duration_milliseconds"),
        ("system.network.io", "By", MonotonicSum, "system_network_io_bytes_total"),
        ("requests_total", "{request}", MonotonicSum, "requests_total"),
        ("total_requests", "", MonotonicSum, "requests_total"),
        ("system.cpu.utilization", "1", Gauge, "system_cpu_utilization_ratio"),
        ("system.cpu.load", "1", Other, "system_cpu_load"),
        ("disk.rate", "By/s", Gauge, "disk_rate_bytes_per_second"),
        ("disk_bytes_rate", "By/s", Gauge, "disk_bytes_rate_per_second"),
        ("fan.speed", "{rotation}/min", Gauge, "fan_speed_per_min"),
        ("uptime.seconds", "s", Gauge, "uptime_seconds"),
        ("2xx.responses", "", MonotonicSum, "_2xx_responses_total"),
        ("a..b__c", "", Gauge, "a_b_c"),
        ("größe", "m", Gauge, "gr_e_meters"),
        ("odd", "°/x%", Gauge, "odd_per_x"),
        ("ns:metric", "", Gauge, "ns:metric"),
    ] {
        assert_eq!(name(UnderscoreEscapingWithSuffixes, given, unit, shape), expected, "{given} {unit}");
    }
}

#[test]
fn other_strategies_leave_out_suffixes_or_escaping() {
    assert_eq!(name(UnderscoreEscapingWithoutSuffixes, "a.b__c-d", "s", MonotonicSum), "a_b__c_d");
    assert_eq!(name(UnderscoreEscapingWithoutSuffixes, "1a", "", Gauge), "_1a");
    assert_eq!(name(NoTranslation, "größe.x", "s", MonotonicSum), "größe.x");
    assert_eq!(name(NoUTF8EscapingWithSuffixes, "io.total", "By", MonotonicSum), "io_bytes_total");
    assert_eq!(name(NoUTF8EscapingWithSuffixes, "net.io", "By/s", MonotonicSum), "net.io_bytes_per_second_total");
    assert_eq!(name(NoUTF8EscapingWithSuffixes, "cpu.ratio", "1", Gauge), "cpu_ratio");
    assert_eq!(name(NoUTF8EscapingWithSuffixes, "größétotal", "", MonotonicSum), "größ_total");
}

#[test]
fn names_of_which_nothing_is_left_are_rejected() {
    assert!(metric_name(UnderscoreEscapingWithSuffixes, "...", "", Gauge).is_err());
    assert!(metric_name(UnderscoreEscapingWithoutSuffixes, "_._", "", Gauge).is_err());
    assert!(metric_name(NoTranslation, "", "", Gauge).is_err());
}

#[test]
fn units_in_metadata_are_spelled_out() {
    for (unit, expected) in
        [("By/s", "bytes_per_second"), ("1", ""), ("{x}", ""), ("ms", "milliseconds"), ("a b", "a_b")]
    {
        assert_eq!(unit_name(unit), expected);
    }
}

#[test]
fn label_names_follow_the_strategy() {
    let config = OtlpConfig::default();
    let collapsing = OtlpConfig { label_name_preserve_multiple_underscores: false, ..config.clone() };
    let unescaped = OtlpConfig { translation_strategy: NoTranslation, ..config.clone() };
    for (config, given, expected) in [
        (&config, "host.name", "host_name"),
        (&config, "1st", "key_1st"),
        (&config, "_private", "key_private"),
        (&config, "ü", "key_"),
        (&config, "__reserved", "__reserved"),
        (&config, "a..b", "a__b"),
        (&collapsing, "a..b", "a_b"),
        (&collapsing, "a__b", "a_b"),
        (&collapsing, "__a..b__", "__a_b__"),
        (&unescaped, "host.name", "host.name"),
    ] {
        assert_eq!(label_name(config, given).unwrap(), expected, "{given}");
    }
    for bad in ["", "...", "__"] {
        assert!(label_name(&config, bad).is_err(), "{bad}");
    }
}
