//! Writing the samples of rules: one batch a rule, repeated until it is durable or its time is over.

use std::time::Duration;

use pharos_model::write::{HistogramSample, RejectReason};
use pharos_model::{Clock, Sample, TenantId, WriteBatch, WriteOutcome};
use pharos_promql::{SampleValue, VectorSample};
use pharos_transport::Ingest;

/// The wait before a write is repeated; it doubles up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Samples as a batch of the write path.
pub(crate) fn batch(tenant: &TenantId, samples: &[VectorSample]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for sample in samples {
        batch.begin_series(tenant, |out| out.extend_from_slice(sample.labels.as_bytes()));
        match &sample.value {
            SampleValue::Float(v) => batch.samples.push(Sample { t: sample.t, v: *v, st: 0 }),
            SampleValue::Histogram(h) => {
                batch.histograms.push(HistogramSample { t: sample.t, st: 0, h: h.clone() });
            }
        }
    }
    batch.finish_series();
    batch
}

/// Writes samples. A write that fails is repeated until the clock shows `until_ms` or `is_stopped` says so.
///
/// # Errors
/// The samples are not durable.
pub(crate) async fn write(
    ingest: &dyn Ingest,
    clock: &dyn Clock,
    tenant: &TenantId,
    samples: &[VectorSample],
    until_ms: i64,
    is_stopped: impl Fn() -> bool + Send,
) -> Result<WriteOutcome, String> {
    if samples.is_empty() {
        return Ok(WriteOutcome::default());
    }
    let batch = batch(tenant, samples);
    let mut wait = FIRST_WAIT;
    loop {
        let error = match ingest.append(tenant, &batch).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let left_ms = until_ms - clock.now_ms();
        if left_ms <= wait.as_millis() as i64 || is_stopped() {
            return Err(error.to_string());
        }
        clock.sleep(wait).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

/// Why samples of an outcome were rejected, in Prometheus's words where it has some; `None` if none were.
pub(crate) fn rejection(outcome: &WriteOutcome) -> Option<String> {
    let (reason, rejected) = outcome.rejected.iter().max_by_key(|(_, rejected)| rejected.count)?;
    Some(match reason {
        RejectReason::DuplicateTimestamp => "duplicate sample for timestamp".into(),
        RejectReason::TooOld => "too old sample".into(),
        _ => rejected.first.clone(),
    })
}
