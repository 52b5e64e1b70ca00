//! Walks over an export request without decoding it as a whole. Generated types only decode one data point, resource or
//! scope at a time, so that memory stays proportional to the size of the request.

use pharos_transport::otlp::common::v1::InstrumentationScope;
use pharos_transport::otlp::resource::v1::Resource;
use prost::Message;

use crate::decode::{DecodeError, Decoder};
use crate::wire::{Reader, WireError};

/// The limit on one data point, resource or scope, bytes.
const MAX_PART_BYTES: usize = 1 << 20;
/// How many times the size of a part its decoded form may take. An attribute of two bytes becomes a structure.
const PART_RATIO: usize = 32;

/// Decodes a part with its generated type.
pub(super) fn part<M: Message + Default>(decoder: &mut Decoder<'_>, bytes: &[u8]) -> Result<M, DecodeError> {
    if bytes.len() > MAX_PART_BYTES {
        return Err(DecodeError::PartTooLarge { bytes: bytes.len(), limit: MAX_PART_BYTES });
    }
    decoder.reserve(PART_RATIO * bytes.len())?;
    M::decode(bytes).map_err(|error| DecodeError::Message(error.to_string()))
}

/// Calls `each` for every value of a message field.
pub(super) fn each_message<'a>(
    message: &'a [u8],
    wanted: u32,
    mut each: impl FnMut(&'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        if field == wanted {
            each(reader.chunk(field, kind)?)?;
        } else {
            reader.skip(kind)?;
        }
    }
    Ok(())
}

/// The resource of a `ResourceMetrics`, empty when it has none.
pub(super) fn resource_of(decoder: &mut Decoder<'_>, resource_metrics: &[u8]) -> Result<Resource, DecodeError> {
    let mut resource = Resource::default();
    each_message(resource_metrics, 1, |bytes| {
        resource = part(decoder, bytes)?;
        Ok(())
    })?;
    Ok(resource)
}

/// The scope of a `ScopeMetrics` and its schema URL.
pub(super) fn scope_of(
    decoder: &mut Decoder<'_>,
    scope_metrics: &[u8],
) -> Result<(InstrumentationScope, String), DecodeError> {
    let mut scope = InstrumentationScope::default();
    let mut schema_url = String::new();
    each_message(scope_metrics, 1, |bytes| {
        scope = part(decoder, bytes)?;
        Ok(())
    })?;
    each_message(scope_metrics, 3, |bytes| {
        schema_url = text(bytes)?.to_string();
        Ok(())
    })?;
    Ok((scope, schema_url))
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

/// A metric without its points.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricHead<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) unit: &'a str,
    /// `None` for an unknown kind.
    pub(super) kind: Option<Kind>,
    /// The message of that kind, with points and temporality.
    pub(super) data: &'a [u8],
    /// The value of the enum.
    pub(super) temporality: u64,
    pub(super) monotonic: bool,
}

impl<'a> MetricHead<'a> {
    /// Reads everything except the points.
    pub(super) fn read(metric: &'a [u8]) -> Result<Self, DecodeError> {
        let mut head =
            MetricHead { name: "", description: "", unit: "", kind: None, data: &[], temporality: 0, monotonic: false };
        let mut reader = Reader::new(metric);
        while let Some((field, kind)) = reader.key()? {
            match field {
                1 => head.name = text(reader.chunk(field, kind)?)?,
                2 => head.description = text(reader.chunk(field, kind)?)?,
                3 => head.unit = text(reader.chunk(field, kind)?)?,
                5 => (head.kind, head.data) = (Some(Kind::Gauge), reader.chunk(field, kind)?),
                7 => (head.kind, head.data) = (Some(Kind::Sum), reader.chunk(field, kind)?),
                9 => (head.kind, head.data) = (Some(Kind::Histogram), reader.chunk(field, kind)?),
                10 => (head.kind, head.data) = (Some(Kind::ExponentialHistogram), reader.chunk(field, kind)?),
                11 => (head.kind, head.data) = (Some(Kind::Summary), reader.chunk(field, kind)?),
                _ => reader.skip(kind)?,
            }
        }
        head.read_data()?;
        Ok(head)
    }

    fn read_data(&mut self) -> Result<(), WireError> {
        let mut reader = Reader::new(self.data);
        while let Some((field, kind)) = reader.key()? {
            match (field, self.kind) {
                (2, Some(Kind::Sum | Kind::Histogram | Kind::ExponentialHistogram)) => {
                    self.temporality = reader.number(field, kind)?;
                }
                (3, Some(Kind::Sum)) => self.monotonic = reader.number(field, kind)? != 0,
                _ => reader.skip(kind)?,
            }
        }
        Ok(())
    }

    /// The number of points.
    pub(super) fn points(&self) -> Result<usize, DecodeError> {
        let mut points = 0;
        each_message(self.data, 1, |_| {
            points += 1;
            Ok(())
        })?;
        Ok(points)
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Message("proto: invalid UTF-8 in a string".into()))
}
