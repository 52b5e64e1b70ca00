use super::*;

#[test]
fn the_format_follows_from_the_content_type() {
    for (content_type, format) in [
        ("text/plain; version=0.0.4; charset=utf-8", Format::Text),
        ("TEXT/PLAIN", Format::Text),
        ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
        (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Format::Protobuf,
        ),
    ] {
        assert_eq!(Format::negotiate(content_type, None), Ok(format), "{content_type}");
    }
}

#[test]
fn a_missing_content_type_is_refused() {
    assert!(Format::negotiate("", None).unwrap_err().reason.contains("blank Content-Type"));
}

#[test]
fn an_unknown_content_type_is_refused() {
    assert!(Format::negotiate("text/html", None).unwrap_err().reason.contains("unsupported Content-Type"));
}

#[test]
fn the_fallback_protocol_replaces_a_missing_or_unknown_type() {
    let fallback = Some(ScrapeProtocol::PrometheusProto);
    assert_eq!(Format::negotiate("text/html", fallback), Ok(Format::Protobuf));
    assert_eq!(Format::negotiate("", fallback), Ok(Format::Protobuf));
}

#[test]
fn a_malformed_content_type_is_refused_unless_there_is_a_fallback_protocol() {
    for content_type in
        ["text/plain; =x", "text/plain; version=1; version=2", "application/openmetrics-text; version=\"1.0.0"]
    {
        let error = Format::negotiate(content_type, None).unwrap_err().reason;
        assert!(error.starts_with("cannot parse Content-Type"), "{error}");
        assert_eq!(Format::negotiate(content_type, Some(ScrapeProtocol::PrometheusProto)), Ok(Format::Protobuf));
    }
}

#[test]
fn a_known_content_type_wins_over_the_fallback_protocol() {
    assert_eq!(Format::negotiate("text/plain", Some(ScrapeProtocol::PrometheusProto)), Ok(Format::Text));
}

#[test]
fn openmetrics_2_needs_a_fallback_protocol() {
    for content_type in
        ["application/openmetrics-text; version=2.0.0", "application/openmetrics-text;Version=\"2.0.0\""]
    {
        let error = Format::negotiate(content_type, None).unwrap_err().reason;
        assert!(error.starts_with("received OpenMetrics 2.0 Content-Type"), "{error}");
        let fallback = Some(ScrapeProtocol::PrometheusText0_0_4);
        assert_eq!(Format::negotiate(content_type, fallback), Ok(Format::Text));
    }
}
