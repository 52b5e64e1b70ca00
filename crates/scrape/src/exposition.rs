//! Parsers of the formats in which targets expose metrics. They write into a [`Sink`] without copying.
//!
//! A parser finds the series and samples of a body but does not look into the labels of a series. The sink names the
//! series that it expects next, so a line that starts with the same bytes as in the previous scrape costs one comparison.
//! Only for a new series does the sink ask for labels ([`LabelSource`]). Parsing stops at the first error, which names the
//! line; the caller then discards what the sink holds.

mod convert;
mod float;
mod format;
mod media_type;
mod openmetrics;
mod protobuf;
mod series;
mod sink;
mod text;

pub use convert::ClassicToNative;
pub use format::Format;
pub use openmetrics::parse_openmetrics;
pub use protobuf::parse_protobuf;
pub use sink::{
    ExpositionError, HistogramOptions, LabelSource, MetadataField, NO_TIMESTAMP, SampleIndex, SampleInfo, SeriesKey,
    Sink,
};
pub use text::parse_text;

#[cfg(test)]
mod collect;
#[cfg(test)]
mod tests;
