//! A sink for tests that records what it receives.

use pharos_model::{Histogram, LabelsBuilder};

use super::{
    ExpositionError, Format, HistogramOptions, MetadataField, NO_TIMESTAMP, SampleIndex, SampleInfo, SeriesKey, Sink,
};

/// Lines such as `series{a="b"} 1 @5 st=3 # {trace="x"} 2 @1`.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) lines: Vec<String>,
    pub(crate) histograms: Vec<Histogram>,
    pub(crate) expected: Vec<u8>,
    pub(crate) expected_hits: usize,
}

impl Collect {
    fn describe(series: SeriesKey<'_>, value: String, info: SampleInfo<'_>) -> Result<String, ExpositionError> {
        let mut builder = LabelsBuilder::default();
        series.labels.read(&mut builder).map_err(ExpositionError::new)?;
        let mut line = format!("{} {value}", builder.build());
        if let Some(t) = info.t {
            line += &format!(" @{t}");
        }
        if info.st != 0 {
            line += &format!(" st={}", info.st);
        }
        for exemplar in info.exemplars {
            line += &format!(" # {} {}", exemplar.labels, exemplar.value);
            if exemplar.t != NO_TIMESTAMP {
                line += &format!(" @{}", exemplar.t);
            }
        }
        Ok(line)
    }
}

impl Sink for Collect {
    fn expected(&self) -> &[u8] {
        &self.expected
    }

    fn metadata(&mut self, family: &str, field: MetadataField<'_>) {
        self.lines.push(format!("# {family} {field:?}"));
    }

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        self.expected_hits += usize::from(series.is_expected);
        self.lines.push(Self::describe(series, v.to_string(), info)?);
        Ok(Some(self.lines.len() as u32 - 1))
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        self.lines.push(Self::describe(series, "histogram".into(), info)?);
        self.histograms.push(h);
        Ok(())
    }

    fn set_start(&mut self, index: SampleIndex, st: i64) {
        if let Some(index) = index {
            self.lines[index as usize] += &format!(" st={st}");
        }
    }
}

/// Parses a body with native histograms; returns the lines or the error.
pub(crate) fn read(format: Format, body: &[u8]) -> Result<Vec<String>, String> {
    let mut sink = Collect::default();
    let options = HistogramOptions { native: true, ..HistogramOptions::default() };
    format.parse(body, options, &mut sink).map_err(|e| e.to_string())?;
    Ok(sink.lines)
}

pub(crate) fn read_text(body: &str) -> Result<Vec<String>, String> {
    read(Format::Text, body.as_bytes())
}

pub(crate) fn read_openmetrics(body: &str) -> Result<Vec<String>, String> {
    read(Format::OpenMetrics, body.as_bytes())
}
