//! The loop of one target: wait for the next owned slot, fetch, parse, append, report.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};
use parking_lot::Mutex;
use pharos_config::{EscapingScheme, ResolvedScrapeConfig, ScrapeProtocol};
use pharos_http_client::{HttpError, ResponseHead};
use pharos_model::clock::sleep_towards_ms;
use pharos_model::{Hold, Purpose};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::append::{Appender, Counts, ExceededLimit, ScrapeContext};
use crate::cache::SeriesCache;
use crate::exposition::{ClassicToNative, ExpositionError, Format, HistogramOptions};
use crate::handoff::{Handoffs, Pending};
use crate::loop_state::{EndedLoop, LoopState};
use crate::ownership::{Owner, Plan};
use crate::report::{Report, ReportSeries};
use crate::schedule::{StepDetector, after_step_back, scrape_time};
use crate::shared::{Buffers, Fetch, Shared};
use crate::targets::{Health, Target, TargetStatus};

/// Longer bodies are parsed on a blocking thread, because they would keep the async threads for milliseconds. Bytes.
const LONG_BODY_BYTES: usize = 256 << 10;
/// The limit on a body when none is configured, bytes, so that no target can exhaust the memory.
const MAX_BODY_BYTES: u64 = 256 << 20;
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Waits until a loop is told to stop. A sender that is gone tells nothing.
async fn told(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// The error with which all targets of a pool fail, if they must; shared by the pool's loops.
pub(crate) type ForcedError = Arc<Mutex<Option<String>>>;

/// The loop of one target.
pub(crate) struct TargetLoop {
    shared: Arc<Shared>,
    config: Arc<ResolvedScrapeConfig>,
    fetch: Arc<dyn Fetch>,
    target: Arc<Target>,
    forced_error: ForcedError,
    state: LoopState,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl TargetLoop {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Arc<ResolvedScrapeConfig>,
        fetch: Arc<dyn Fetch>,
        target: Arc<Target>,
        forced_error: ForcedError,
    ) -> Self {
        let report = ReportSeries::new(&target.labels, &shared.tenant, config.extra_scrape_metrics);
        let headers = request_headers(&config, &target);
        let state = LoopState { cache: SeriesCache::default(), report, next_ms: None };
        TargetLoop { shared, config, fetch, target, forced_error, state, headers }
    }

    /// Scrapes in the slots that this agent owns, until it is told to stop. A scrape in progress is completed, unless the
    /// process stops. First waits for the end of the loop whose place this one takes.
    pub(crate) async fn run(
        mut self,
        handoffs: Arc<Handoffs>,
        predecessor: Option<JoinHandle<EndedLoop>>,
        mut stop: watch::Receiver<bool>,
    ) -> EndedLoop {
        let interval_ms = self.target.interval_ms();
        let placement = self.target.placement();
        let mut plans = self.shared.ownership.watch();
        let last_ms = self.succeed(predecessor).await;
        // The time up to which slots are scraped, and when the last scrape began.
        let mut done = last_ms.map_or(i64::MIN, |last_ms| last_ms.saturating_add(1));
        let mut began = self.shared.clock.monotonic();
        // The first slot that is neither scraped nor skipped.
        let mut from = self.shared.clock.now_ms().max(done);
        let mut steps = StepDetector::new(&*self.shared.clock);
        loop {
            let now_ms = self.shared.clock.now_ms();
            let has_stepped = steps.has_stepped(&*self.shared.clock);
            if has_stepped && done > now_ms.saturating_add(interval_ms) {
                done = i64::MIN;
                from = after_step_back(now_ms, interval_ms, self.shared.clock.monotonic().saturating_sub(began));
            } else if has_stepped || !self.target.is_owned() {
                // Slots that passed before this agent learned that it owns them are not made up for: the previous owner
                // did not know either, and scraped them. Nor are those that a step of the clock has left out.
                from = done.max(now_ms);
            }
            let planned = self.plan_next(&plans.borrow_and_update().clone(), from, &handoffs);
            let due = async {
                match planned {
                    Some(planned) => sleep_towards_ms(&*self.shared.clock, planned).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.shared.stopped() => break,
                () = told(&mut stop) => break,
                Ok(()) = plans.changed() => continue,
                () = due => {}
            }
            let Some(planned) = planned.filter(|planned| *planned <= self.shared.clock.now_ms()) else { continue };
            let _in_flight = self.shared.begin();
            tokio::select! {
                biased;
                () = self.shared.stopped() => break,
                () = self.shared.ownership.await_fresh_view() => {}
            }
            let now_ms = self.shared.clock.now_ms();
            if now_ms < planned {
                // The clock was set back during the wait.
                continue;
            }
            let time = scrape_time(planned, now_ms, interval_ms);
            // Slots that passed during the wait are skipped; this is the last one.
            let slot = time.next_slot - interval_ms;
            if self.shared.ownership.plan().owner_at(placement, slot) != Owner::Me {
                from = slot;
                continue;
            }
            for pending in handoffs.take(&self.target, self.state.next_ms.is_none()) {
                pending.merge_into(&mut self.state.cache, &self.target, &self.config);
            }
            (from, done) = (time.next_slot, time.next_slot);
            began = self.shared.clock.monotonic();
            self.state.next_ms = Some(time.next_slot);
            if !self.scrape(time.timestamp).await {
                break;
            }
        }
        self.set_owned(false);
        EndedLoop { config: self.config, target: self.target, state: self.state }
    }

    /// Waits for the end of the predecessor and continues with its state. Returns the last slot that it scraped.
    async fn succeed(&mut self, predecessor: Option<JoinHandle<EndedLoop>>) -> Option<i64> {
        let ended = predecessor?.await.inspect_err(|error| tracing::error!(%error, "scrape loop panicked")).ok()?;
        let next_ms = ended.state.next_ms?;
        let last_ms = next_ms - ended.target.interval_ms();
        self.state.next_ms = Some(next_ms);
        Pending::Local(Box::new(ended)).merge_into(&mut self.state.cache, &self.target, &self.config);
        Some(last_ms)
    }

    /// The next slot that this agent owns. When another agent scrapes before that, the target is released to it.
    fn plan_next(&mut self, plan: &Plan, from: i64, handoffs: &Arc<Handoffs>) -> Option<i64> {
        let placement = self.target.placement();
        let interval_ms = self.target.interval_ms();
        let owned = plan.next_owned_slot(placement, interval_ms, from);
        let next = plan.next_slot(placement, interval_ms, from);
        if owned != Some(next)
            && let Owner::Other(to) = plan.owner_at(placement, next)
        {
            self.release(to, plan.epoch, handoffs);
        }
        self.set_owned(owned.is_some());
        owned
    }

    /// Hands the target off and forgets its series without stale markers: they continue at the other agent.
    fn release(&mut self, to: String, epoch: u64, handoffs: &Arc<Handoffs>) {
        let Some(next_ms) = self.state.next_ms.take() else { return };
        let record = self.state.to_record(&self.target, self.config.extra_scrape_metrics, next_ms, epoch);
        handoffs.transfer(to, record);
        self.state.cache = SeriesCache::default();
        self.target.set_status(TargetStatus::default());
        *self.target.metadata_store().lock() = Default::default();
    }

    /// Records whether this agent scrapes the target, for the API and for the metric.
    pub(crate) fn set_owned(&self, owned: bool) {
        let was_owned = self.target.set_owned(owned);
        let count = self.shared.metrics.targets.with_label_values(&[&self.config.job_name]);
        count.add(i64::from(owned) - i64::from(was_owned));
    }

    /// Scrapes once, at time `t`. Returns false when it was aborted because the process ends.
    pub(crate) async fn scrape(&mut self, t: i64) -> bool {
        let start = self.shared.clock.monotonic();
        let mut buffers = self.shared.take_buffers();
        let hold = self.shared.memory.open(&self.shared.tenant, Purpose::Scrape);
        let forced = self.forced_error.lock().clone();
        let fetched = match forced {
            Some(error) => Err(HttpError::Failed(error)),
            None => tokio::select! {
                biased;
                fetched = self.fetch(&hold, &mut buffers.body) => fetched,
                () = self.shared.stopped() => return false,
            },
        };
        let (counts, outcome) = self.fill(t, &fetched, &mut buffers).await;
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
        let mut last_error = outcome.err().map_or(String::new(), |e| e.to_string());
        if let Err(error) = self.shared.append(&self.target.url, &buffers.batch).await {
            self.target.metadata_store().lock().resend();
            self.state.cache.roll_back(&buffers.batch);
            if last_error.is_empty() {
                last_error = format!("the scrape was not stored: {error}");
            }
        }
        let health = if last_error.is_empty() { Health::Up } else { Health::Down };
        self.target.set_status(TargetStatus { health, last_error, last_scrape_ms: Some(t), last_duration: duration });
        self.shared.return_buffers(buffers);
        true
    }

    /// Fetches the body, and draws as much again for the batch that it becomes.
    async fn fetch(&self, hold: &Hold, body: &mut Vec<u8>) -> Result<ResponseHead, HttpError> {
        let limit = match self.config.body_size_limit {
            0 => MAX_BODY_BYTES,
            limit => limit.min(MAX_BODY_BYTES),
        };
        let timeout = self.target.timeout.as_duration();
        let head = self.fetch.fetch(&self.target.url, &self.headers, timeout, limit, hold, body).await?;
        hold.draw(body.len() as u64).map_err(|full| HttpError::Failed(full.to_string()))?;
        Ok(head)
    }

    /// Parses the fetched body into the batch and adds stale markers.
    async fn fill(
        &mut self,
        t: i64,
        fetched: &Result<ResponseHead, HttpError>,
        buffers: &mut Buffers,
    ) -> (Counts, Result<(), ExpositionError>) {
        if matches!(fetched, Err(HttpError::BodySize)) {
            self.shared.metrics.exceeded.with_label_values(&["body_size"]).inc();
        }
        let fetched = fetched.as_ref().map(|answer| answer.content_type.clone()).map_err(HttpError::to_string);
        let (shared, config, target) = (self.shared.clone(), self.config.clone(), self.target.clone());
        let fill = move |buffers: &mut Buffers, cache: &mut SeriesCache| {
            fill(ScrapeContext { tenant: &shared.tenant, config: &config, target: &target, t }, fetched, buffers, cache)
        };
        let filled = match buffers.body.len() > LONG_BODY_BYTES {
            true => self.fill_long(fill, buffers).await,
            false => fill(buffers, &mut self.state.cache),
        };
        if let Some(exceeded) = filled.exceeded {
            self.shared.metrics.exceeded.with_label_values(&[limit_name(exceeded)]).inc();
        }
        if let Err(error) = &filled.outcome {
            tracing::debug!(target_url = self.target.url, %error, "scrape failed");
        }
        (filled.counts, filled.outcome)
    }

    /// Fills the batch on a blocking thread.
    async fn fill_long(
        &mut self,
        fill: impl FnOnce(&mut Buffers, &mut SeriesCache) -> Filled + Send + 'static,
        buffers: &mut Buffers,
    ) -> Filled {
        let (mut own_buffers, mut cache) = (std::mem::take(buffers), std::mem::take(&mut self.state.cache));
        let filled = tokio::task::spawn_blocking(move || {
            let filled = fill(&mut own_buffers, &mut cache);
            (filled, own_buffers, cache)
        });
        match filled.await {
            Ok((filled, own_buffers, cache)) => {
                (*buffers, self.state.cache) = (own_buffers, cache);
                filled
            }
            Err(error) => {
                tracing::error!(target_url = self.target.url, %error, "parsing a scraped body panicked");
                let outcome = Err(ExpositionError::new("the body could not be parsed"));
                Filled { counts: Counts::default(), outcome, exceeded: None }
            }
        }
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
                tracing::warn!(target_url = url, reason, count, "dropping scraped samples");
            }
        }
    }
}

/// What became of a body.
struct Filled {
    counts: Counts,
    outcome: Result<(), ExpositionError>,
    exceeded: Option<ExceededLimit>,
}

/// Parses the body into the batch and adds stale markers. `fetched` is the body's content type, or why there is none.
fn fill(
    context: ScrapeContext<'_>,
    fetched: Result<String, String>,
    buffers: &mut Buffers,
    cache: &mut SeriesCache,
) -> Filled {
    let Buffers { body, batch } = buffers;
    let (config, target) = (context.config, context.target);
    let is_empty = body.is_empty();
    let mut appender = Appender::new(context, cache, batch);
    let outcome = match fetched {
        Err(error) => Err(ExpositionError::new(error)),
        // A target without metrics may send any content type.
        Ok(_) if is_empty => Ok(()),
        Ok(content_type) => parse(&content_type, body, config, target, &mut appender),
    };
    let exceeded = appender.exceeded;
    let (counts, outcome) = appender.finish(outcome, is_empty);
    Filled { counts, outcome, exceeded }
}

fn limit_name(exceeded: ExceededLimit) -> &'static str {
    match exceeded {
        ExceededLimit::Samples => "samples",
        ExceededLimit::Buckets => "histogram_buckets",
        ExceededLimit::Labels => "labels",
    }
}

fn parse(
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

fn request_headers(config: &ResolvedScrapeConfig, target: &Target) -> Vec<(HeaderName, HeaderValue)> {
    let encoding = if config.enable_compression { "gzip" } else { "identity" };
    let values = [
        (ACCEPT, accept_header(&config.protocols, config.escaping)),
        (ACCEPT_ENCODING, encoding.to_string()),
        (TIMEOUT_HEADER, target.timeout.as_secs_f64().to_string()),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
}

/// The value of `Accept`: the formats with falling weights, most wanted first.
fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    let mut values = Vec::with_capacity(protocols.len() + 1);
    for protocol in protocols {
        use ScrapeProtocol::{OpenMetricsText1_0_0, OpenMetricsText2_0_0, PrometheusText1_0_0};
        let is_escapable = matches!(protocol, PrometheusText1_0_0 | OpenMetricsText1_0_0 | OpenMetricsText2_0_0);
        let escaping = if is_escapable { format!(";escaping={}", escaping.as_str()) } else { String::new() };
        values.push(format!("{}{escaping};q=0.{weight}", protocol.media_type()));
        weight -= 1;
    }
    values.push(format!("*/*;q=0.{weight}"));
    values.join(",")
}

#[cfg(test)]
mod tests;
