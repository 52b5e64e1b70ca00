use pharos_config::ScrapeProtocol::*;

use super::*;
use crate::targets::tests::{resolved, target};

/// The value of a request header for a section with these settings.
fn header(yaml: &str, name: HeaderName) -> String {
    let config = resolved(&format!("job_name: j\n{yaml}"));
    let headers = request_headers(&config, &target(&config));
    headers.iter().find(|(other, _)| *other == name).unwrap().1.to_str().unwrap().to_string()
}

#[test]
fn formats_are_accepted_in_order_of_preference() {
    assert_eq!(
        accept_header(&ScrapeProtocol::DEFAULT, EscapingScheme::AllowUtf8),
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,\
         application/openmetrics-text;version=0.0.1;q=0.6,\
         text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,\
         text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
    );
}

#[test]
fn the_escaping_scheme_is_only_named_for_formats_that_know_it() {
    let accepted = accept_header(&[PrometheusText0_0_4, PrometheusText1_0_0], EscapingScheme::Dots);
    assert_eq!(accepted, "text/plain;version=0.0.4;q=0.7,text/plain;version=1.0.0;escaping=dots;q=0.6,*/*;q=0.5");
    let openmetrics2 = accept_header(&[ScrapeProtocol::OpenMetricsText2_0_0], EscapingScheme::Dots);
    assert_eq!(openmetrics2, "application/openmetrics-text;version=2.0.0;escaping=dots;q=0.7,*/*;q=0.6");
}

#[test]
fn gzip_is_asked_for_unless_compression_is_disabled() {
    assert_eq!(header("", ACCEPT_ENCODING), "gzip");
    assert_eq!(header("enable_compression: false", ACCEPT_ENCODING), "identity");
}

#[test]
fn targets_are_told_the_timeout_in_seconds() {
    assert_eq!(header("scrape_timeout: 1500ms", TIMEOUT_HEADER), "1.5");
}
