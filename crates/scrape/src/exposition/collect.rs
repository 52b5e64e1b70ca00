//! A sink that writes down what it gets, for tests.

use pharos_model::{Histogram, LabelsBuilder};

use super::{ExpositionError, MetadataField, NO_TIMESTAMP, SampleInfo, SampleSlot, SeriesKey, Sink};

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

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleSlot, ExpositionError> {
        self.expected_hits += usize::from(series.is_expected);
        self.lines.push(Self::describe(series, v.to_string(), info)?);
        Ok(Some(self.lines.len() as u32 - 1))
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        self.lines.push(Self::describe(series, "histogram".into(), info)?);
        self.histograms.push(h);
        Ok(())
    }

    fn set_start(&mut self, slot: SampleSlot, st: i64) {
        if let Some(slot) = slot {
            self.lines[slot as usize] += &format!(" st={st}");
        }
    }
}
