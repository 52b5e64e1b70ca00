//! The formats of bodies, and how a response names its own.

use pharos_config::ScrapeProtocol;

use super::media_type::parse_media_type;
use super::openmetrics::parse_openmetrics;
use super::protobuf::parse_protobuf;
use super::sink::{ExpositionError, HistogramOptions, Sink};
use super::text::parse_text;

/// The formats that one parser reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format.
    Text,
    /// The text format of OpenMetrics.
    OpenMetrics,
    /// Length-delimited protobuf messages.
    Protobuf,
}

impl Format {
    /// The format of a body with this `Content-Type`, or of the fallback protocol when the type is missing or unknown.
    pub fn negotiate(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Format, ExpositionError> {
        let fall_back = |reason: &str| match fallback {
            Some(protocol) => Ok(Format::of(protocol)),
            None => Err(ExpositionError::new(reason)),
        };
        if content_type.is_empty() {
            return fall_back(
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
            );
        }
        let media_type = match parse_media_type(content_type) {
            Ok(media_type) => media_type,
            Err(error) => {
                return fall_back(&format!(
                    "cannot parse Content-Type {content_type:?} and no fallback_scrape_protocol for target: {error}"
                ));
            }
        };
        match (media_type.name.as_str(), media_type.version.as_str()) {
            // As in Prometheus without the feature openmetrics2.
            ("application/openmetrics-text", "2.0.0") => fall_back(&format!(
                "received OpenMetrics 2.0 Content-Type {content_type:?}, which is experimental and not supported yet, and no fallback_scrape_protocol specified for target"
            )),
            ("text/plain", _) => Ok(Format::Text),
            ("application/openmetrics-text", _) => Ok(Format::OpenMetrics),
            ("application/vnd.google.protobuf", _) => Ok(Format::Protobuf),
            _ => fall_back(&format!(
                "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target"
            )),
        }
    }

    fn of(protocol: ScrapeProtocol) -> Format {
        match protocol {
            ScrapeProtocol::PrometheusProto => Format::Protobuf,
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Format::Text,
            ScrapeProtocol::OpenMetricsText0_0_1
            | ScrapeProtocol::OpenMetricsText1_0_0
            | ScrapeProtocol::OpenMetricsText2_0_0 => Format::OpenMetrics,
        }
    }

    /// Parses a body into a sink. `histograms` only matters for protobuf, the one format with native histograms.
    pub fn parse(self, body: &[u8], histograms: HistogramOptions, sink: &mut impl Sink) -> Result<(), ExpositionError> {
        match self {
            Format::Text => parse_text(body, sink),
            Format::OpenMetrics => parse_openmetrics(body, sink),
            Format::Protobuf => parse_protobuf(body, histograms, sink),
        }
    }
}

#[cfg(test)]
mod tests;
