//! The head: opening and replay, appends, and state that is shared by all tenants.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pharos_model::shards::MAX_SHARDS;
use pharos_model::{Clock, TenantId, WriteBatch, WriteError, WriteOutcome};
use prometheus::Registry;

use crate::append::{AppendError, AppendOutcome, AppendTargets, Appended, Appender, Origin, Outcomes};
use crate::config::{HeadConfig, SettingsByTenant};
use crate::error::HeadError;
use crate::fs::{DirLock, Fs};
use crate::metrics::HeadMetrics;
use crate::restore::{Restored, Restorer};
use crate::tenant::Tenant;
use crate::tenants::Tenants;
use crate::wal::lock::lock_dir;
use crate::wal::record::Record;
use crate::wal::replay::{ReplayProgress, Segments, replay, segment_path};
use crate::wal::{Commit, Log, LogConfig, incomplete};

/// A tenant keeps a staging buffer of at most this size between appends.
const MAX_KEPT_STAGING_BYTES: usize = 4 << 20;

/// The newest samples of all tenants, in memory and in the write-ahead log. All methods take `&self`: threads share one head.
pub struct Head {
    pub(crate) config: HeadConfig,
    pub(crate) clock: Arc<dyn Clock>,
    fs: Arc<dyn Fs>,
    pub(crate) metrics: Arc<HeadMetrics>,
    pub(crate) tenants: Tenants,
    pub(crate) log: Log,
    memory: AtomicI64,
    /// The oldest segment that may still exist.
    first_segment: parking_lot::Mutex<u32>,
    is_incomplete: AtomicBool,
    _lock: Box<dyn DirLock>,
}

impl Head {
    /// Opens the log in `config.dir`, creating the directory if needed, and replays it, reporting to `progress` on the way.
    ///
    /// # Errors
    ///
    /// Fails when another process holds the directory, or when the log is damaged in a place where a crash cannot have
    /// damaged it.
    pub fn open(
        config: HeadConfig,
        clock: Arc<dyn Clock>,
        fs: Arc<dyn Fs>,
        registry: &Registry,
        progress: &mut dyn FnMut(ReplayProgress),
    ) -> Result<Head, HeadError> {
        if config.window_ms <= 0 || config.out_of_order_window_ms < 0 {
            return Err(HeadError::Config(format!(
                "window of {} ms or out-of-order window of {} ms is out of range: the first must be positive, the second must not be negative",
                config.window_ms, config.out_of_order_window_ms
            )));
        }
        if !(1..=MAX_SHARDS).contains(&config.shards) {
            return Err(HeadError::Config(format!(
                "{} shards are out of range: there must be 1 to {MAX_SHARDS}",
                config.shards
            )));
        }
        let metrics = Arc::new(HeadMetrics::register(registry)?);
        let dir = config.dir.clone();
        let io = |action, source| HeadError::Io { action, path: dir.clone(), source };
        fs.create_dir_all(&dir).map_err(|e| io("create", e))?;
        let lock = lock_dir(&*fs, &dir)?;
        let segments = Segments::list(&*fs, &dir)?;
        if let Some(segment) = segments.gap() {
            return Err(HeadError::MissingSegment { dir, segment });
        }
        if segments.files.is_empty() {
            incomplete::mark(&*fs, &dir)?;
        }
        let is_incomplete = incomplete::is_marked(&*fs, &dir)?;
        let next_segment = segments.files.last().map_or(1, |(number, ..)| number + 1);
        let first_segment = segments.files.first().map_or(next_segment, |(number, ..)| *number);
        let log_config = LogConfig {
            dir: dir.clone(),
            first_segment: next_segment,
            segment_bytes: config.segment_bytes,
            max_pending_bytes: config.max_pending_bytes,
        };
        let tenants = Tenants::new(&config);
        let log = Log::open(log_config, fs.clone(), metrics.clone()).map_err(|e| io("start the writer of", e))?;
        let head = Head {
            config,
            clock,
            fs,
            metrics,
            tenants,
            log,
            memory: AtomicI64::new(0),
            first_segment: parking_lot::Mutex::new(first_segment),
            is_incomplete: AtomicBool::new(is_incomplete),
            _lock: lock,
        };
        head.restore(&segments, progress)?;
        Ok(head)
    }

    fn restore(&self, segments: &Segments, progress: &mut dyn FnMut(ReplayProgress)) -> Result<(), HeadError> {
        let started = self.clock.monotonic();
        let restored = Restored::default();
        let workers = self.config.replay_threads.clamp(1, 64) as u64;
        let restorer = |worker| Restorer {
            tenants: &self.tenants,
            restored: &restored,
            worker,
            workers,
            window_ms: self.config.window_ms,
            now_ms: self.clock.now_ms(),
            declared: HashMap::new(),
        };
        // Control records name tenants by number, which the tenant records of the same segment assign.
        let mut numbers: HashMap<(u32, u32), Arc<Tenant>> = HashMap::new();
        let control = |segment: u32, record: Record<'_>| self.control(segment, record, &mut numbers);
        replay(&*self.fs, &self.config.dir, segments, (0..workers).map(restorer).collect(), control, progress)?;
        let samples = restored.samples.load(Ordering::Relaxed);
        let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        self.grow(restored.bytes.load(Ordering::Relaxed) as isize);
        self.metrics.replay_seconds.observe(seconds);
        self.metrics.replayed_samples.inc_by(samples);
        self.remove_empty_series();
        if !segments.files.is_empty() {
            tracing::info!(segments = segments.files.len(), samples, seconds, "write-ahead log replayed");
        }
        self.update_gauges();
        Ok(())
    }

    /// Appends a batch to memory and to the log's queue. The outcome tells which samples were rejected and why; an error means
    /// that nothing was appended. Acknowledge the batch only when the commit has resolved.
    pub fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<(WriteOutcome, Commit), WriteError> {
        let AppendOutcome { counted, commit, .. } = self.append_from(tenant, batch, Origin::Sender, None, None)?;
        Ok((counted, commit))
    }

    /// Like [`Head::append`], for some shards of the batch only, and only if the deletion that the targets name was applied
    /// last. All of the batch's metadata is taken.
    pub fn append_shards(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        targets: AppendTargets<'_>,
    ) -> Result<AppendOutcome, AppendError> {
        self.append_from(tenant, batch, Origin::Sender, Some(targets), targets.deletions)
    }

    /// Like [`Head::append_shards`], for samples that another head has accepted, which decides. They are taken whatever their
    /// age, and the limits of the tenant do not apply. Where memory has another value for a timestamp, flushed or not, the
    /// batch wins: its value is a new, unflushed sample.
    pub fn force(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        targets: AppendTargets<'_>,
    ) -> Result<AppendOutcome, AppendError> {
        self.append_from(tenant, batch, Origin::Head, Some(targets), targets.deletions)
    }

    /// Like [`Head::force`], for a batch of [`Head::export`]. `deletions` is the number of the newest deletion that the batch
    /// takes into account: the newest that was applied here, or nothing is appended.
    pub fn append_copy(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        deletions: u64,
    ) -> Result<AppendOutcome, AppendError> {
        self.append_from(tenant, batch, Origin::Head, None, Some(deletions))
    }

    fn append_from(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        origin: Origin,
        targets: Option<AppendTargets<'_>>,
        deletions: Option<u64>,
    ) -> Result<AppendOutcome, AppendError> {
        self.check_memory().and_then(|()| self.log.check()).inspect_err(|_| self.metrics.refused.inc())?;
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        let applied = state.last_deletion;
        if let Some(expected) = deletions.filter(|expected| *expected != applied) {
            return Err(AppendError::Deletions { expected, applied });
        }
        let ticket = self.log.ticket();
        let appender = Appender::new(&self.config, &tenant, &mut state, ticket.segment(), self.clock.now_ms(), origin);
        let Appended { outcomes, grown } = appender.with_targets(targets).run(batch);
        let wal = &mut state.wal;
        let commit = self.log.push(ticket, &wal.staged, std::mem::take(&mut wal.declared_bytes));
        wal.staged.clear();
        wal.staged.shrink_to(MAX_KEPT_STAGING_BYTES);
        drop(state);
        self.grow(grown);
        let Outcomes { counted, uncounted, refused, replaced, .. } = outcomes;
        self.metrics.count(&counted);
        self.metrics.count(&uncounted);
        self.metrics.series.add((counted.new_series + uncounted.new_series) as i64);
        Ok(AppendOutcome { counted, uncounted, refused, replaced, commit })
    }

    /// Replaces the settings of all tenants, present and future.
    pub fn set_settings(&self, settings: SettingsByTenant) {
        self.tenants.set_settings(settings);
    }

    fn check_memory(&self) -> Result<(), WriteError> {
        let limit = self.config.max_memory_bytes;
        if limit > 0 && self.memory_bytes() >= limit {
            return Err(WriteError::Overloaded(format!(
                "head uses {} bytes of memory, its limit max_head_memory is {limit}",
                self.memory_bytes()
            )));
        }
        Ok(())
    }

    /// Resolves when everything appended so far is durable.
    pub fn commit(&self) -> Commit {
        self.log.commit()
    }

    /// Whether the log may lack acknowledged samples, because it was created empty, at this start or an earlier one, or a
    /// repair truncated it. It remains incomplete until [`Head::set_complete`].
    pub fn is_incomplete(&self) -> bool {
        self.is_incomplete.load(Ordering::Relaxed)
    }

    /// Records durably that nobody relies on samples that the log lacks. Blocks on the file system.
    pub fn set_complete(&self) -> Result<(), HeadError> {
        incomplete::unmark(&*self.fs, &self.config.dir)?;
        self.is_incomplete.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Approximate memory of the head in bytes, without the log's queue.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.load(Ordering::Relaxed).max(0) as u64
    }

    /// Bytes in the log's queue that are not durable yet.
    pub fn pending_bytes(&self) -> u64 {
        self.log.pending_bytes()
    }

    /// All tenants, in no particular order.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.all().iter().map(|t| t.id.clone()).collect()
    }

    pub(crate) fn grow(&self, bytes: isize) {
        let memory = self.memory.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        self.metrics.memory.set(memory.max(0));
    }

    pub(crate) fn update_gauges(&self) {
        let series: usize = self.tenants.all().iter().map(|t| t.index.read().len()).sum();
        self.metrics.series.set(series as i64);
    }

    /// Removes the oldest log segments, up to the first that a sample in memory may have come from; returns the oldest one left.
    pub(crate) fn trim_log(&self) -> Result<u32, HeadError> {
        let mut first = self.first_segment.lock();
        let mut keep = self.log.oldest_open();
        for tenant in self.tenants.all() {
            let state = tenant.append.lock();
            let alive = |start: &i64| state.windows.get(start).is_some_and(|w| w.total() > 0);
            let oldest = state.segment_windows.iter().find(|(_, windows)| windows.iter().any(alive));
            keep = oldest.map_or(keep, |(segment, _)| keep.min(*segment));
        }
        while *first < keep {
            let path = segment_path(&self.config.dir, *first);
            let removed = match self.fs.remove(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            // One at a time, oldest first, each made durable: a crash must not leave a gap.
            let removed = removed.and_then(|()| self.fs.sync_dir(&self.config.dir));
            removed.map_err(|source| HeadError::Io { action: "remove", path, source })?;
            self.metrics.wal_segments_removed.inc();
            *first += 1;
        }
        Ok(*first)
    }
}
