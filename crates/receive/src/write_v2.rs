//! Decodes remote write 2.0 (`io.prometheus.write.v2.Request`) straight into a batch.
//!
//! Every string is a reference into the request's table of symbols. The table may follow the series that use it, so it is
//! read first. References can repeat a long symbol any number of times; the decoder's limit bounds what they expand to.

use std::collections::HashSet;

use pharos_model::labels::MAX_LABEL_BYTES;
use pharos_model::write::BatchSeries;
use pharos_model::{Labels, METRIC_NAME, Metadata, MetricType, RejectReason};

use crate::decode::{DecodeError, Decoder, exemplar_labels, metric_type, reject_series};
use crate::series_labels::{CanonicalWriter, LabelError, display, write_any_order};
use crate::wire::{Reader, WireError};

/// Decodes a request. On an error the batch must not be used.
pub(super) fn decode(request: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut symbols: Vec<&[u8]> = Vec::new();
    let mut reader = Reader::new(request);
    while let Some((field, kind)) = reader.key()? {
        match field {
            4 => {
                let symbol = reader.chunk(field, kind)?;
                decoder.take(size_of::<&[u8]>())?;
                symbols.push(symbol);
            }
            _ => reader.skip(kind)?,
        }
    }
    let mut request_decoder = RequestDecoder { symbols, refs: Vec::new(), families: HashSet::new(), decoder };
    let mut reader = Reader::new(request);
    while let Some((field, kind)) = reader.key()? {
        match field {
            5 => request_decoder.series(reader.chunk(field, kind)?)?,
            _ => reader.skip(kind)?,
        }
    }
    decoder.batch.finish_series();
    Ok(())
}

struct RequestDecoder<'a, 'd, 'b> {
    symbols: Vec<&'a [u8]>,
    /// The references of the current labels.
    refs: Vec<u32>,
    /// The metric families whose metadata is in the batch.
    families: HashSet<Vec<u8>>,
    decoder: &'d mut Decoder<'b>,
}

/// What the first pass over a series found.
#[derive(Default)]
struct Contents {
    samples: usize,
    metadata: SentMetadata,
}

#[derive(Default, Clone, Copy)]
struct SentMetadata {
    kind: MetricType,
    help: u32,
    unit: u32,
}

impl<'a> RequestDecoder<'a, '_, '_> {
    fn series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let contents = self.scan(message)?;
        if let Err(error) = self.begin(&contents)? {
            reject_series(&mut self.decoder.rejections, &error, contents.samples);
            return Ok(());
        }
        self.metadata(contents.metadata)?;
        let mut reader = Reader::new(message);
        while let Some((field, kind)) = reader.key()? {
            match field {
                2 => self.decoder.sample(reader.chunk(field, kind)?)?,
                3 => self.decoder.histogram(reader.chunk(field, kind)?)?,
                4 => self.exemplar(reader.chunk(field, kind)?)?,
                _ => reader.skip(kind)?,
            }
        }
        Ok(())
    }

    /// Reads the references of labels and metadata, and counts samples.
    fn scan(&mut self, message: &[u8]) -> Result<Contents, WireError> {
        let mut contents = Contents::default();
        self.refs.clear();
        let mut reader = Reader::new(message);
        while let Some((field, kind)) = reader.key()? {
            match field {
                1 => reader.numbers(field, kind, |number| self.refs.push(reference(number)))?,
                5 => contents.metadata = sent_metadata(reader.chunk(field, kind)?)?,
                _ => {
                    contents.samples += usize::from(matches!(field, 2 | 3));
                    reader.skip(kind)?;
                }
            }
        }
        Ok(contents)
    }

    /// Begins the series that `refs` names. The inner error rejects the series, the outer one the request.
    fn begin(&mut self, contents: &Contents) -> Result<Result<(), LabelError>, DecodeError> {
        let symbols = &self.symbols;
        if let Err(error) = check_refs(symbols, &self.refs).and_then(|()| check_metadata(symbols, contents.metadata)) {
            return Ok(Err(LabelError::Reference(error)));
        }
        let pairs = || pairs(symbols, &self.refs);
        // Checked before anything is copied, because references may repeat a long symbol.
        let bytes: usize = pairs().map(|(name, value)| name.len() + value.len() + 2).sum();
        if bytes > MAX_LABEL_BYTES {
            return Ok(Err(LabelError::TooLong { bytes, labels: display(&pairs().collect::<Vec<_>>()) }));
        }
        self.decoder.take(bytes + size_of::<BatchSeries>())?;
        if contents.samples == 0 {
            return Ok(Err(no_samples(pairs())));
        }
        Ok(self.decoder.batch.try_begin_series(self.decoder.tenant, |out| {
            let mut writer = CanonicalWriter::new(out, bytes);
            for (name, value) in pairs() {
                writer.push(name, value);
            }
            if writer.finish() { Ok(()) } else { write_any_order(pairs(), out) }
        }))
    }

    fn exemplar(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut value = 0.0;
        let mut t = 0;
        self.refs.clear();
        let mut reader = Reader::new(message);
        while let Some((field, kind)) = reader.key()? {
            match field {
                1 => reader.numbers(field, kind, |number| self.refs.push(reference(number)))?,
                2 => value = reader.double(field, kind)?,
                3 => t = reader.number(field, kind)? as i64,
                _ => reader.skip(kind)?,
            }
        }
        if let Err(error) = check_refs(&self.symbols, &self.refs) {
            self.decoder.rejections.reject(RejectReason::InvalidExemplar, || format!("parsing exemplar: {error}"));
            return Ok(());
        }
        let bytes: usize = self.refs.iter().map(|&at| self.symbols[at as usize].len()).sum();
        self.decoder.take(bytes)?;
        let labels = exemplar_labels(&pairs(&self.symbols, &self.refs).collect::<Vec<_>>());
        self.decoder.exemplar(labels, value, t)
    }

    /// Adds the metadata of the series' metric family, once for each family.
    fn metadata(&mut self, sent: SentMetadata) -> Result<(), DecodeError> {
        if sent.kind == MetricType::Unknown && sent.help == 0 && sent.unit == 0 {
            return Ok(());
        }
        let name = pairs(&self.symbols, &self.refs).find(|(name, _)| *name == METRIC_NAME.as_bytes());
        let Some((_, name)) = name else { return Ok(()) };
        let family = family(name, sent.kind);
        if self.families.contains(family) {
            return Ok(());
        }
        let text = |at: u32| String::from_utf8_lossy(self.symbols[at as usize]).into_owned();
        let metadata = Metadata { kind: sent.kind, unit: text(sent.unit), help: text(sent.help) };
        let bytes = 2 * family.len() + metadata.unit.len() + metadata.help.len() + size_of::<(String, Metadata)>();
        self.decoder.take(bytes)?;
        self.families.insert(family.to_vec());
        self.decoder.batch.metadata.push((String::from_utf8_lossy(family).into_owned(), metadata));
        Ok(())
    }
}

/// The error of a series without samples, which is about its labels if those are invalid too.
fn no_samples<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> LabelError {
    let mut labels = Vec::new();
    match write_any_order(pairs, &mut labels) {
        Ok(()) => LabelError::NoSamples(Labels::from_canonical_unchecked(&labels).to_string()),
        Err(error) => error,
    }
}

/// A reference. One that does not fit is invalid, as is any other beyond the table.
fn reference(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn check_refs(symbols: &[&[u8]], refs: &[u32]) -> Result<(), String> {
    let (refs, odd) = refs.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(format!("invalid labelRefs length {}", 2 * refs.len() + 1));
    }
    let size = symbols.len();
    match refs.iter().find(|pair| pair.iter().any(|&at| at as usize >= size)) {
        Some([name, value]) => {
            Err(format!("labelRefs {name} (name) = {value} (value) outside of symbols table (size {size})"))
        }
        None => Ok(()),
    }
}

fn check_metadata(symbols: &[&[u8]], sent: SentMetadata) -> Result<(), String> {
    let size = symbols.len();
    for (name, at) in [("unit_ref", sent.unit), ("help_ref", sent.help)] {
        if at as usize >= size {
            return Err(format!("metadata {name} {at} outside of symbols table (size {size})"));
        }
    }
    Ok(())
}

/// The names and values of checked references.
fn pairs<'a>(symbols: &[&'a [u8]], refs: &[u32]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    refs.as_chunks::<2>().0.iter().map(|[name, value]| (symbols[*name as usize], symbols[*value as usize]))
}

fn sent_metadata(message: &[u8]) -> Result<SentMetadata, WireError> {
    let mut sent = SentMetadata::default();
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => sent.kind = metric_type(reader.number(field, kind)?),
            3 => sent.help = reference(reader.number(field, kind)?),
            4 => sent.unit = reference(reader.number(field, kind)?),
            _ => reader.skip(kind)?,
        }
    }
    Ok(sent)
}

/// The metric family of a series. All series of a classic histogram or summary belong to one family.
fn family(name: &[u8], kind: MetricType) -> &[u8] {
    let suffixes: &[&[u8]] = match kind {
        MetricType::Histogram => &[b"_bucket", b"_count", b"_sum"],
        MetricType::GaugeHistogram => &[b"_bucket", b"_gcount", b"_gsum"],
        MetricType::Summary => &[b"_count", b"_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|family| !family.is_empty()).unwrap_or(name)
}

#[cfg(test)]
mod tests;
