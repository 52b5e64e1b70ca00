//! Decodes remote write 1.0 (`prometheus.WriteRequest`) straight into a batch.
//!
//! This is the hottest loop on the receive path. A series costs no allocation: its labels are copied once, into the canonical form
//! in the batch, and hashed there.

use pharos_model::Metadata;

use crate::decode::{DecodeError, Decoder, exemplar_labels, metric_type, reject_series};
use crate::series_labels::{CanonicalWriter, write_any_order};
use crate::wire::{Reader, WireError};

/// Decodes a request. On an error the batch must not be used.
pub(super) fn decode(request: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(request);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => series(reader.chunk(field, kind)?, decoder)?,
            3 => metadata(reader.chunk(field, kind)?, decoder)?,
            _ => reader.skip(kind)?,
        }
    }
    decoder.batch.finish_series();
    Ok(())
}

/// The name and value in the request.
type RawLabel<'a> = (&'a [u8], &'a [u8]);

/// What the first pass over a series found besides its labels.
#[derive(Default)]
struct Rest<'a> {
    /// The message from the first field that is not a label.
    fields: Option<Reader<'a>>,
    samples: usize,
    exemplars: usize,
}

/// Why a series was not begun.
enum NotBegun {
    Rejected,
    Failed(DecodeError),
}

fn series(message: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut rest = Rest::default();
    let mut label_bytes = 0;
    let tenant = decoder.tenant;
    let begun = decoder.batch.try_begin_series(tenant, |out| {
        let start = out.len();
        let sorted = copy_labels(message, out, &mut rest).map_err(|error| NotBegun::Failed(error.into()))?;
        if rest.samples + rest.exemplars == 0 {
            return Err(NotBegun::Rejected);
        }
        if !sorted {
            let pairs = all_labels(message).map_err(|error| NotBegun::Failed(error.into()))?;
            if let Err(error) = write_any_order(pairs.into_iter(), out) {
                reject_series(&mut decoder.rejections, &error, rest.samples);
                return Err(NotBegun::Rejected);
            }
        }
        label_bytes = out.len() - start;
        Ok(())
    });
    match begun {
        Ok(()) => {}
        Err(NotBegun::Rejected) => return Ok(()),
        Err(NotBegun::Failed(error)) => return Err(error),
    }
    decoder.take(label_bytes + size_of::<pharos_model::write::BatchSeries>())?;
    match rest.fields {
        Some(fields) => samples(fields, decoder),
        None => Ok(()),
    }
}

/// Copies labels as long as they are sorted and valid, and counts the other fields. Returns false, with nothing copied, when
/// the labels have to take the slow path.
#[inline]
fn copy_labels<'a>(message: &'a [u8], out: &mut Vec<u8>, rest: &mut Rest<'a>) -> Result<bool, WireError> {
    let mut writer = CanonicalWriter::new(out, message.len());
    let mut reader = Reader::new(message);
    loop {
        if let Some(label) = reader.plain_label() {
            writer.push_plain(&label);
            continue;
        }
        let here = reader;
        let Some((field, kind)) = reader.key()? else { break };
        if field == 1 {
            let (name, value) = label(reader.chunk(field, kind)?)?;
            writer.push(name, value);
            continue;
        }
        match field {
            2 | 4 => rest.samples += 1,
            3 => rest.exemplars += 1,
            _ => {}
        }
        rest.fields.get_or_insert(here);
        reader.skip(kind)?;
    }
    Ok(writer.finish())
}

fn all_labels(message: &[u8]) -> Result<Vec<RawLabel<'_>>, WireError> {
    let mut pairs = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => pairs.push(label(reader.chunk(field, kind)?)?),
            _ => reader.skip(kind)?,
        }
    }
    Ok(pairs)
}

fn label(message: &[u8]) -> Result<RawLabel<'_>, WireError> {
    let mut name: &[u8] = &[];
    let mut value: &[u8] = &[];
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => name = reader.chunk(field, kind)?,
            2 => value = reader.chunk(field, kind)?,
            _ => reader.skip(kind)?,
        }
    }
    Ok((name, value))
}

fn samples(mut fields: Reader<'_>, decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    while let Some((field, kind)) = fields.key()? {
        match field {
            2 => decoder.sample(fields.chunk(field, kind)?)?,
            3 => exemplar(fields.chunk(field, kind)?, decoder)?,
            4 => decoder.histogram(fields.chunk(field, kind)?)?,
            _ => fields.skip(kind)?,
        }
    }
    Ok(())
}

fn exemplar(message: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut value = 0.0;
    let mut t = 0;
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            2 => value = reader.double(field, kind)?,
            3 => t = reader.number(field, kind)? as i64,
            _ => reader.skip(kind)?,
        }
    }
    decoder.exemplar(exemplar_labels(&all_labels(message)?), value, t)
}

fn metadata(message: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut metadata = Metadata::default();
    let mut family: &[u8] = &[];
    let mut reader = Reader::new(message);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => metadata.kind = metric_type(reader.number(field, kind)?),
            2 => family = reader.chunk(field, kind)?,
            4 => metadata.help = text(reader.chunk(field, kind)?),
            5 => metadata.unit = text(reader.chunk(field, kind)?),
            _ => reader.skip(kind)?,
        }
    }
    if !family.is_empty() {
        decoder.take(message.len() + size_of::<(String, Metadata)>())?;
        decoder.batch.metadata.push((text(family), metadata));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
