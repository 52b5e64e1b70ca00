use proptest::prelude::*;

use super::*;

#[test]
fn byte_sizes_are_read_as_prometheus_does() {
    for (text, bytes) in [
        ("0", 0),
        ("1MB", 1 << 20),
        ("512KB", 512 << 10),
        ("1MiB", 1 << 20),
        ("1.5GB", 3 << 29),
        ("15B", 15),
        ("1KiB512B", 1536),
        ("+1KB", 1024),
    ] {
        assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
    }
}

#[test]
fn malformed_byte_sizes_are_rejected() {
    for bad in ["", "100", "10 MB", "1kB", "-1MB", ".B", "9999999EB", "1XB"] {
        assert!(ByteSize::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn errors_of_byte_sizes_are_those_of_prometheus() {
    assert_eq!(ByteSize::parse("15"), Err("units: unknown unit  in 15".into()));
    assert_eq!(ByteSize::parse("-1MB"), Err("units: invalid -1MB".into()));
    assert_eq!(ByteSize::parse("8EB"), Err("units: overflow parsing unit".into()));
}

#[test]
fn a_byte_size_is_printed_with_binary_units() {
    assert_eq!(ByteSize(0).to_string(), "0B");
    assert_eq!(ByteSize(1536).to_string(), "1KiB512B");
}

/// The longest duration: the nanoseconds that fit into 63 bits.
const MAX_DURATION_MS: u64 = i64::MAX as u64 / 1_000_000;

#[test]
fn durations_are_printed_as_prometheus_does() {
    assert_eq!(PromDuration::from_secs(90).to_string(), "1m30s");
    assert_eq!(PromDuration::from_millis(1500).to_string(), "1s500ms");
    assert_eq!(PromDuration::default().to_string(), "0s");
}

#[test]
fn a_duration_may_be_written_as_a_number() {
    let zero: PromDuration = serde_saphyr::from_str("0").unwrap();
    assert!(zero.is_zero());
    assert!(serde_saphyr::from_str::<PromDuration>("5").is_err(), "only zero needs no unit");
}

#[test]
fn durations_convert_to_seconds() {
    assert_eq!(PromDuration::from_millis(1500).as_secs_f64(), 1.5);
    assert_eq!(Duration::from(PromDuration::from_secs(2)), Duration::from_secs(2));
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    assert_eq!(serde_json::to_string(&Secret::new("hunter2")).unwrap(), "\"<secret>\"");
}

#[test]
fn secrets_are_read_as_plain_text() {
    let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
    assert_eq!(secret.reveal(), "hunter2");
}

/// A URL as the configuration prints it.
fn printed(url: &str) -> String {
    #[derive(Serialize)]
    struct Section<'a>(#[serde(serialize_with = "without_password")] &'a str);
    serde_json::to_string(&Section(url)).unwrap()
}

#[test]
fn passwords_in_urls_are_not_printed() {
    assert_eq!(printed("http://user:hunter2@host/path"), "\"http://user:xxxxx@host/path\"");
}

#[test]
fn passwords_are_masked_whatever_they_contain() {
    for (url, shown) in [
        ("http://u:p:@q@h:1/x?y=a:b@c", "http://u:xxxxx@h:1/x?y=a:b@c"),
        ("http://u@h/", "http://u@h/"),
        ("http://h/a:b@c", "http://h/a:b@c"),
        ("http://u:p@h", "http://u:xxxxx@h"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(masked_url(url), shown);
    }
}

#[test]
fn a_url_without_a_password_is_printed_as_it_is_written() {
    assert_eq!(printed("http://host"), "\"http://host\"");
    assert_eq!(printed("not a url"), "\"not a url\"");
}

proptest! {
    #[test]
    fn printed_byte_sizes_parse_back(bytes in 0u64..(1 << 50)) {
        prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).to_string()), Ok(ByteSize(bytes)));
    }

    #[test]
    fn printed_durations_parse_back(ms in 0..MAX_DURATION_MS) {
        let duration = PromDuration::from_millis(ms);
        prop_assert_eq!(PromDuration::parse(&duration.to_string()), Ok(duration));
    }
}
