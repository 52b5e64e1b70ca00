//! The formats of bodies, and how a response names its own.

use pharos_config::ScrapeProtocol;

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
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_openmetrics2 = media_type == "application/openmetrics-text"
            && parts.filter_map(|part| part.split_once('=')).any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("version") && value.trim().trim_matches('"') == "2.0.0"
            });
        match (media_type.as_str(), fallback) {
            // As in Prometheus without the feature openmetrics2.
            _ if is_openmetrics2 && fallback.is_none() => Err(ExpositionError::new(format!(
                "received OpenMetrics 2.0 Content-Type {content_type:?}, which is experimental and not supported yet, and no fallback_scrape_protocol specified for target"
            ))),
            (_, Some(fallback)) if is_openmetrics2 => Ok(Format::of(fallback)),
            ("text/plain", _) => Ok(Format::Text),
            ("application/openmetrics-text", _) => Ok(Format::OpenMetrics),
            ("application/vnd.google.protobuf", _) => Ok(Format::Protobuf),
            (_, Some(fallback)) => Ok(Format::of(fallback)),
            ("", None) => Err(ExpositionError::new(
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
            )),
            _ => Err(ExpositionError::new(format!(
                "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target"
            ))),
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
