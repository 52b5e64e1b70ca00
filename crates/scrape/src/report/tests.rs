use pharos_model::is_stale_nan;

use super::*;

fn report_series(with_extra: bool) -> ReportSeries {
    ReportSeries::new(&Labels::from_pairs([("job", "j")]), &TenantId::default(), with_extra)
}

/// The series of a batch as `name value`.
fn lines(batch: &WriteBatch) -> Vec<String> {
    let line = |series| {
        let labels = Labels::from_canonical(batch.labels_of(series)).unwrap();
        assert_eq!(labels.get("job"), Some("j"));
        format!("{} {}", labels.metric_name(), batch.samples_of(series)[0].v)
    };
    batch.series().iter().map(line).collect()
}

fn written(with_extra: bool) -> Vec<String> {
    let counts = Counts { scraped: 4, added: 3, series_added: 2, ..Counts::default() };
    let report = Report { is_up: true, duration: 0.5, counts, timeout: 10.0, sample_limit: 100, body_bytes: 2048 };
    let mut batch = WriteBatch::default();
    report_series(with_extra).write(&report, 1000, &mut batch);
    batch.finish_series();
    lines(&batch)
}

const BASIC_LINES: [&str; 5] = [
    "up 1",
    "scrape_duration_seconds 0.5",
    "scrape_samples_scraped 4",
    "scrape_samples_post_metric_relabeling 3",
    "scrape_series_added 2",
];

#[test]
fn a_scrape_reports_five_series() {
    assert_eq!(written(false), BASIC_LINES);
}

#[test]
fn extra_metrics_follow_the_basic_ones() {
    let all = written(true);
    assert_eq!(all[..BASIC], BASIC_LINES);
    assert_eq!(all[BASIC..], ["scrape_timeout_seconds 10", "scrape_sample_limit 100", "scrape_body_size_bytes 2048"]);
}

#[test]
fn a_stale_report_has_a_marker_for_each_series() {
    let mut batch = WriteBatch::default();
    report_series(true).write_stale(1000, &mut batch);
    batch.finish_series();
    assert_eq!(batch.samples.len(), NAMES.len());
    assert!(batch.samples.iter().all(|sample| is_stale_nan(sample.v) && sample.t == 1000));
}
