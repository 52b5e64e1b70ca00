//! The series that each scrape writes about itself, such as `up` and `scrape_duration_seconds`.

use pharos_model::{
    Labels, LabelsBuilder, METRIC_NAME, STALE_NAN, Sample, SeriesHash, TenantId, WriteBatch, series_hash,
};

use crate::append::Counts;

const NAMES: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
/// The number of names that are always written; the others need `extra_scrape_metrics`.
const BASIC: usize = 5;

/// The values of one scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) is_up: bool,
    /// Seconds.
    pub(crate) duration: f64,
    pub(crate) counts: Counts,
    /// Seconds.
    pub(crate) timeout: f64,
    pub(crate) sample_limit: u64,
    /// The size of the body, bytes; -1 when it exceeded the limit.
    pub(crate) body_bytes: i64,
}

/// The series of one target, with prepared labels.
pub(crate) struct ReportSeries {
    series: Vec<(Box<[u8]>, SeriesHash)>,
}

impl ReportSeries {
    pub(crate) fn new(target: &Labels, tenant: &TenantId, with_extra: bool) -> Self {
        let names = if with_extra { &NAMES[..] } else { &NAMES[..BASIC] };
        let prepare = |name: &&str| {
            let mut labels = LabelsBuilder::from_labels(target);
            labels.set(METRIC_NAME, name);
            let mut canonical = Vec::new();
            labels.write_canonical(&mut canonical);
            let hash = series_hash(tenant, &canonical);
            (canonical.into_boxed_slice(), hash)
        };
        ReportSeries { series: names.iter().map(prepare).collect() }
    }

    /// Adds the values of a scrape to the batch.
    pub(crate) fn write(&self, report: &Report, t: i64, batch: &mut WriteBatch) {
        let values = [
            f64::from(u8::from(report.is_up)),
            report.duration,
            report.counts.scraped as f64,
            report.counts.added as f64,
            report.counts.series_added as f64,
            report.timeout,
            report.sample_limit as f64,
            report.body_bytes as f64,
        ];
        self.write_values(&values, t, batch);
    }

    /// Adds stale markers to the batch.
    pub(crate) fn write_stale(&self, t: i64, batch: &mut WriteBatch) {
        batch.stale_in_order = true;
        self.write_values(&[STALE_NAN; NAMES.len()], t, batch);
    }

    fn write_values(&self, values: &[f64], t: i64, batch: &mut WriteBatch) {
        for ((canonical, hash), v) in self.series.iter().zip(values) {
            batch.begin_known_series(canonical, *hash);
            batch.samples.push(Sample { t, v: *v, st: 0 });
        }
    }
}

#[cfg(test)]
mod tests;
