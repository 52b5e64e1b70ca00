//! The loop of one target: wait for its moment, fetch, read, hand on, report.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{Clock, WriteBatch};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::append::{Appender, Counts, Exceeded, ScrapeContext};
use crate::cache::SeriesCache;
use crate::departed::Departed;
use crate::exposition::{ClassicToNative, ExpositionError, Format, HistogramOptions};
use crate::handed::Handed;
use crate::ownership::{Owner, Plan};
use crate::report::{Report, ReportSeries};
use crate::schedule::scrape_time;
use crate::shared::{Buffers, Fetch, Shared};
use crate::targets::{Health, Target, TargetStatus};
use pharos_config::{EscapingScheme, ResolvedScrapeConfig, ScrapeProtocol};
use pharos_http_client::{Answer, HttpError};

/// Most bytes of a body when no limit is configured, so that no target can exhaust the memory.
const MAX_BODY_BYTES: u64 = 256 << 20;
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// How a loop is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Not.
    No,
    /// After the scrape that runs.
    AfterScrape,
    /// At once: the process ends.
    Now,
}

/// Why all targets of a pool fail, if they do; shared by its loops.
pub(crate) type ForcedError = Arc<Mutex<Option<String>>>;

/// What the loop of one target needs.
pub(crate) struct TargetLoop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<ResolvedScrapeConfig>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) target: Arc<Target>,
    pub(crate) forced_error: ForcedError,
    state: LoopState,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is known of a target's series. It survives the loop.
pub(crate) struct LoopState {
    pub(crate) cache: SeriesCache,
    pub(crate) report: ReportSeries,
    /// When the next scrape is or would be, milliseconds; `None` before the first.
    pub(crate) next_ms: Option<i64>,
}

/// A loop that has ended.
pub(crate) struct Ended {
    pub(crate) config: Arc<ResolvedScrapeConfig>,
    pub(crate) target: Arc<Target>,
    pub(crate) state: LoopState,
}

impl TargetLoop {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Arc<ResolvedScrapeConfig>,
        fetch: Arc<dyn Fetch>,
        target: Arc<Target>,
        forced_error: ForcedError,
        cache: SeriesCache,
    ) -> Self {
        let report = ReportSeries::new(&target.labels, &shared.tenant, config.extra_scrape_metrics);
        let headers = request_headers(&config, &target);
        let state = LoopState { cache, report, next_ms: None };
        TargetLoop { shared, config, fetch, target, forced_error, state, headers }
    }

    /// Scrapes at the moments that are this agent's, until it is asked to stop.
    pub(crate) async fn run(mut self, departed: Arc<Departed>, mut stop: watch::Receiver<Stop>) -> Ended {
        let interval_ms = self.target.interval.as_millis() as i64;
        let mut plans = self.shared.ownership.watch();
        // The first moment that was not dealt with.
        let mut from = self.shared.clock.now_ms();
        loop {
            if !self.target.is_owned() {
                // Moments that passed before this agent knew of them were not left out: the owner of before did not know either.
                from = from.max(self.shared.clock.now_ms());
            }
            let planned = self.look_ahead(&plans.borrow_and_update().clone(), from, &departed);
            let due = async {
                match planned {
                    Some(planned) => sleep_until(&*self.shared.clock, planned).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop != Stop::No) => break,
                Ok(()) = plans.changed() => continue,
                () = due => {}
            }
            let Some(planned) = planned else { continue };
            let _busy = self.shared.busy();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop == Stop::Now) => break,
                () = self.shared.ownership.settle() => {}
            }
            let (t, next) = scrape_time(planned, self.shared.clock.now_ms(), interval_ms);
            // Moments that passed by are skipped; this is the last one.
            let moment = next - interval_ms;
            if self.shared.ownership.plan().owner_at(self.target.hash, moment) != Owner::Me {
                from = moment;
                continue;
            }
            if let Some(left) = departed.take(&self.target.labels) {
                left.add_to(&mut self.state.cache, &self.target, &self.config);
            }
            (from, self.state.next_ms) = (next, Some(next));
            if !self.scrape(t, &mut stop).await {
                break;
            }
        }
        self.set_owned(false);
        Ended { config: self.config, target: self.target, state: self.state }
    }

    /// The next moment that is this agent's. If another agent scrapes before, it gets what is known of the target.
    fn look_ahead(&mut self, plan: &Plan, from: i64, departed: &Arc<Departed>) -> Option<i64> {
        let (hash, interval_ms) = (self.target.hash, self.target.interval.as_millis() as i64);
        let own = plan.next_own(hash, interval_ms, from);
        let next = plan.next_moment(hash, interval_ms, from);
        if own != Some(next)
            && let Owner::Other(to) = plan.owner_at(hash, next)
        {
            self.let_go(to, plan.epoch, departed);
        }
        self.set_owned(own.is_some());
        own
    }

    /// Forgets the target without a word to its series: they go on at another agent.
    fn let_go(&mut self, to: String, epoch: u64, departed: &Arc<Departed>) {
        let Some(next_ms) = self.state.next_ms.take() else { return };
        let handed = self.state.handed(&self.target, self.config.extra_scrape_metrics, next_ms, epoch);
        departed.pass_on(to, handed);
        self.state.cache = SeriesCache::default();
        self.target.report(TargetStatus::default());
        *self.target.metadata_store().lock() = Default::default();
    }

    /// Notes whether the target is this agent's, for the API and for the count.
    pub(crate) fn set_owned(&self, owned: bool) {
        let was = self.target.set_owned(owned);
        let count = self.shared.metrics.targets.with_label_values(&[&self.config.job_name]);
        count.add(i64::from(owned) - i64::from(was));
    }

    /// One scrape at time `t`. False when it was broken off because the process ends.
    pub(crate) async fn scrape(&mut self, t: i64, stop: &mut watch::Receiver<Stop>) -> bool {
        let start = self.shared.clock.monotonic();
        let mut buffers = self.shared.take_buffers();
        let forced = self.forced_error.lock().clone();
        let fetched = match forced {
            Some(error) => Err(HttpError::Failed(error)),
            None => tokio::select! {
                biased;
                fetched = self.fetch(&mut buffers.body) => fetched,
                _ = stop.wait_for(|stop| *stop == Stop::Now) => return false,
            },
        };
        let (counts, outcome) = self.fill(t, &fetched, &mut buffers);
        let duration = self.shared.clock.monotonic().saturating_sub(start).as_secs_f64();
        let body_bytes = match &fetched {
            Ok(_) => buffers.body.len() as i64,
            Err(HttpError::BodySize) => -1,
            Err(_) => 0,
        };
        let report = Report {
            is_up: outcome.is_ok(),
            duration,
            counts,
            timeout: self.target.timeout.as_secs_f64(),
            sample_limit: self.config.sample_limit,
            body_bytes,
        };
        self.count(&report);
        self.state.report.write(&report, t, &mut buffers.batch);
        buffers.batch.finish_series();
        self.target.report(TargetStatus {
            health: if report.is_up { Health::Up } else { Health::Down },
            last_error: outcome.err().map_or(String::new(), |e| e.to_string()),
            last_scrape_ms: Some(t),
            last_duration: duration,
        });
        if !self.shared.append(&self.target.url, &buffers.batch).await {
            self.target.metadata_store().lock().resend();
        }
        self.shared.give_back(buffers);
        true
    }

    async fn fetch(&self, body: &mut Vec<u8>) -> Result<Answer, HttpError> {
        let limit = match self.config.body_size_limit {
            0 => MAX_BODY_BYTES,
            limit => limit.min(MAX_BODY_BYTES),
        };
        let timeout = self.target.timeout.as_duration();
        self.fetch.fetch(&self.target.url, &self.headers, timeout, limit, body).await
    }

    /// Reads what was fetched into the batch, stale markers included.
    fn fill(
        &mut self,
        t: i64,
        fetched: &Result<Answer, HttpError>,
        buffers: &mut Buffers,
    ) -> (Counts, Result<(), ExpositionError>) {
        let context = ScrapeContext { tenant: &self.shared.tenant, config: &self.config, target: &self.target, t };
        let Buffers { body, batch } = buffers;
        let mut appender = Appender::new(context, &mut self.state.cache, batch);
        let outcome = match fetched {
            Err(error) => Err(ExpositionError::new(error.to_string())),
            // A target without metrics may send anything as its type.
            Ok(_) if body.is_empty() => Ok(()),
            Ok(answer) => read(&answer.content_type, body, &self.config, &self.target, &mut appender),
        };
        if matches!(fetched, Err(HttpError::BodySize)) {
            self.shared.metrics.exceeded.with_label_values(&["body_size"]).inc();
        }
        if let Some(exceeded) = appender.exceeded {
            self.shared.metrics.exceeded.with_label_values(&[limit_name(exceeded)]).inc();
        }
        if let Err(error) = &outcome {
            tracing::debug!(target_url = self.target.url, %error, "scrape failed");
        }
        appender.finish(outcome)
    }

    fn count(&self, report: &Report) {
        let metrics = &self.shared.metrics;
        metrics.scrapes.with_label_values(&[if report.is_up { "up" } else { "down" }]).inc();
        metrics.duration.observe(report.duration);
        metrics.samples.inc_by(report.counts.scraped);
        metrics.body_bytes.inc_by(report.body_bytes.max(0) as u64);
        let url = &self.target.url;
        for (reason, count) in
            [("duplicate_in_scrape", report.counts.duplicates), ("too_far_in_future", report.counts.out_of_bounds)]
        {
            if count > 0 {
                metrics.rejected.with_label_values(&[reason]).inc_by(count);
                tracing::warn!(target_url = url, reason, count, "scraped samples were left out");
            }
        }
    }
}

impl LoopState {
    /// What another agent has to know to go on.
    pub(crate) fn handed(&self, target: &Target, extra: bool, next_ms: i64, epoch: u64) -> Handed {
        Handed {
            labels: target.labels.clone(),
            url: target.url.clone(),
            hash: target.hash,
            interval_ms: target.interval.as_millis() as i64,
            next_ms,
            extra,
            series: self.cache.tracked_series(),
            hops: 0,
            epoch,
        }
    }

    /// Writes stale markers for all series of the target, its report included.
    pub(crate) fn write_stale(&mut self, t: i64, batch: &mut WriteBatch) {
        for series in self.cache.tracked_series() {
            super::append::push_stale(batch, &series.canonical, series.hash, series.is_histogram, t);
        }
        self.report.write_stale(t, batch);
        batch.finish_series();
    }
}

fn limit_name(exceeded: Exceeded) -> &'static str {
    match exceeded {
        Exceeded::Samples => "samples",
        Exceeded::Buckets => "histogram_buckets",
        Exceeded::Labels => "labels",
    }
}

fn read(
    content_type: &str,
    body: &[u8],
    config: &ResolvedScrapeConfig,
    target: &Target,
    appender: &mut Appender<'_>,
) -> Result<(), ExpositionError> {
    let format = Format::negotiate(content_type, config.fallback_protocol)?;
    let options = HistogramOptions {
        native: target.native_histograms,
        always_classic: target.always_classic_histograms,
        classic_to_nhcb: target.classic_to_nhcb,
    };
    if !target.classic_to_nhcb {
        return format.parse(body, options, appender);
    }
    let mut converter = ClassicToNative::new(appender, target.always_classic_histograms);
    format.parse(body, options, &mut converter)?;
    converter.finish()
}

/// Waits until the clock shows `planned_ms`.
pub(crate) async fn sleep_until(clock: &dyn Clock, planned_ms: i64) {
    loop {
        let left = planned_ms - clock.now_ms();
        if left <= 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left as u64)).await;
    }
}

fn request_headers(config: &ResolvedScrapeConfig, target: &Target) -> Vec<(HeaderName, HeaderValue)> {
    let encoding = if config.enable_compression { "gzip" } else { "identity" };
    let values = [
        (ACCEPT, accept_header(&config.protocols, config.escaping)),
        (ACCEPT_ENCODING, encoding.to_string()),
        (TIMEOUT_HEADER, target.timeout.as_secs_f64().to_string()),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
}

/// The formats in order of preference.
fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    let mut values = Vec::with_capacity(protocols.len() + 1);
    for protocol in protocols {
        let is_escapable =
            matches!(protocol, ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0);
        let escaping = if is_escapable { format!(";escaping={}", escaping.as_str()) } else { String::new() };
        values.push(format!("{}{escaping};q=0.{weight}", protocol.media_type()));
        weight -= 1;
    }
    values.push(format!("*/*;q=0.{weight}"));
    values.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_asked_for_in_order() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, EscapingScheme::AllowUtf8),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,\
             application/openmetrics-text;version=0.0.1;q=0.6,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
        );
    }
}
