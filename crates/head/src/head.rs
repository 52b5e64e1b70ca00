//! The head: opening and replay, appends, and state that is shared by all tenants.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use pharos_model::shards::MAX_SHARDS;
use pharos_model::{Clock, ShardSet, TenantId, WriteBatch, WriteError, WriteOutcome};
use prometheus::Registry;

use crate::append::{AppendError, AppendOutcome, AppendTargets, Appended, Appender, Origin, Outcomes};
use crate::config::{HeadConfig, SettingsByTenant};
use crate::error::HeadError;
use crate::fs::{DirLock, Fs};
use crate::metrics::HeadMetrics;
use crate::restore::{Restored, Restorer};
use crate::tenant::{AppendState, Tenant};
use crate::tenants::Tenants;
use crate::trim::Retained;
use crate::wal::lock::lock_dir;
use crate::wal::record::{Record, Step, put_opening};
use crate::wal::replay::{ReplayProgress, Segments, Source, replay};
use crate::wal::{Commit, Log, LogConfig, Ticket, incomplete};
use crate::window::{WindowPlan, WindowSchedule};

/// A tenant keeps a staging buffer of at most this size between appends.
const MAX_KEPT_STAGING_BYTES: usize = 4 << 20;

/// A width of windows is remembered for at least this long after it applied, for samples that come late.
const KEPT_WIDTHS_MS: i64 = 31 * 86_400_000;

/// The newest samples of all tenants, in memory and in the write-ahead log. All methods take `&self`: threads share one head.
pub struct Head {
    pub(crate) config: HeadConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) metrics: Arc<HeadMetrics>,
    pub(crate) plan: Arc<WindowPlan>,
    /// The schedule of the plan.
    pub(crate) schedule: Arc<WindowSchedule>,
    pub(crate) tenants: Tenants,
    pub(crate) log: Log,
    memory: AtomicI64,
    pub(crate) retained: Mutex<Retained>,
    is_incomplete: AtomicBool,
    _lock: Box<dyn DirLock>,
}

impl Head {
    /// Opens the log in `config.dir`, creating the directory if needed, and replays it, reporting to `progress` on the way.
    ///
    /// Windows that the log knows keep their width. If `config.window_ms` is another one, it applies from a boundary of windows
    /// on that lies behind all of them and is not in the past.
    ///
    /// # Errors
    ///
    /// Fails when another process holds the directory, or when the log is damaged in a place where a crash cannot have
    /// damaged it and no other node has its samples.
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
        let next_segment = segments.files.last().map_or(1, |(number, ..)| number + 1);
        let log_config = LogConfig {
            dir: dir.clone(),
            first_segment: next_segment,
            segment_bytes: config.segment_bytes,
            max_pending_bytes: config.max_pending_bytes,
        };
        // Logs of version 2 do not say how wide their windows are. They were written with this setting.
        let schedule = segments.schedule(&*fs).unwrap_or_else(|| WindowSchedule::new(config.window_ms));
        let plan = Arc::new(WindowPlan::new(schedule));
        let tenants = Tenants::new(&config, plan.clone());
        let opened = plan.clone();
        let opening = move |out: &mut Vec<u8>| put_opening(out, &opened.schedule(), opened.newest_generation());
        let log = Log::open(log_config, fs.clone(), metrics.clone(), Box::new(opening));
        let log = log.map_err(|e| io("start the writer of", e))?;
        let mut head = Head {
            config,
            clock,
            fs,
            metrics,
            schedule: plan.schedule(),
            plan,
            tenants,
            log,
            memory: AtomicI64::new(0),
            retained: Mutex::new(Retained::of(&segments, next_segment)),
            is_incomplete: AtomicBool::new(false),
            _lock: lock,
        };
        head.restore(&segments, progress)?;
        // Only now, since the replay marks a log of which it truncates anything.
        head.is_incomplete = AtomicBool::new(incomplete::is_marked(&*head.fs, &dir)?);
        head.plan_windows();
        Ok(head)
    }

    /// Makes windows as wide as the configuration says, behind those that exist.
    fn plan_windows(&mut self) {
        let mut schedule = WindowSchedule::clone(&self.schedule);
        let now_ms = self.clock.now_ms();
        let (mut oldest, mut after) = (i64::MAX, now_ms);
        for tenant in self.tenants.all() {
            let state = tenant.append.lock();
            oldest = state.windows.keys().next().map_or(oldest, |start| oldest.min(*start));
            after = state.windows.keys().next_back().map_or(after, |start| after.max(schedule.end_of(*start)));
        }
        let width = self.config.window_ms;
        let was = schedule.newest();
        if !schedule.change(width, after) {
            tracing::warn!(
                width_ms = was.1,
                configured_ms = width,
                "windows keep their width, since there are samples at the end of time; set it again once they are flushed"
            );
        } else if schedule.newest() != was {
            tracing::info!(
                from_ms = schedule.newest().0,
                width_ms = width,
                before_ms = was.1,
                "the width of windows was changed; windows that exist keep theirs"
            );
        }
        schedule.forget_before(oldest.min(now_ms.saturating_sub(KEPT_WIDTHS_MS)));
        self.schedule = Arc::new(schedule);
        self.tenants.set_schedule(&self.schedule);
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
            schedule: &self.schedule,
            now_ms: self.clock.now_ms(),
            declared: HashMap::new(),
        };
        // Control records name tenants by number, which the tenant records of the same segment assign.
        let mut numbers: HashMap<(u32, u32), Arc<Tenant>> = HashMap::new();
        let control = |segment: u32, record: Record<'_>| self.control(segment, record, &mut numbers);
        let before_damage = Mutex::new(BTreeMap::new());
        let damaged = || self.note_deletions(&mut before_damage.lock());
        let (fs, dir, has_replicas) = (&*self.fs, &*self.config.dir, self.config.has_replicas);
        let source = Source { fs, dir, segments, has_replicas, damaged: &damaged };
        replay(source, (0..workers).map(restorer).collect(), control, progress)?;
        self.reset_deletions(&before_damage.into_inner());
        segments.sync_last(&*self.fs, &self.config.dir)?;
        let samples = restored.samples.load(Ordering::Relaxed);
        let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        self.grow(restored.bytes.load(Ordering::Relaxed) as isize);
        self.log.add_declarable(restored.declarable.load(Ordering::Relaxed));
        self.metrics.replay_seconds.observe(seconds);
        self.metrics.replayed_samples.inc_by(samples);
        self.remove_empty_series();
        if !segments.files.is_empty() {
            tracing::info!(segments = segments.files.len(), samples, seconds, "write-ahead log replayed");
        }
        self.update_gauges();
        Ok(())
    }

    /// Notes the newest deletion of each tenant, by the tenant's number, unless it is known from earlier damage.
    fn note_deletions(&self, before_damage: &mut BTreeMap<u32, u64>) {
        for tenant in self.tenants.all() {
            before_damage.entry(tenant.number).or_insert_with(|| tenant.append.lock().last_deletion);
        }
    }

    /// Goes back to the deletions before the first damage: later ones may have been in what was truncated, and the samples
    /// before it have not seen them. They are applied again, also to what was behind the damage, which other nodes have.
    fn reset_deletions(&self, before_damage: &BTreeMap<u32, u64>) {
        for tenant in self.tenants.all() {
            if let Some(number) = before_damage.get(&tenant.number) {
                tenant.append.lock().last_deletion = *number;
            }
        }
    }

    /// Appends a batch to memory and to the log's queue. The outcome tells which samples were rejected and why. After an error
    /// samples are missing, and the sender must send the batch again. Acknowledge the batch only when the commit has resolved.
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
        let (segment, now_ms) = (ticket.segment(), self.clock.now_ms());
        let appender = Appender::new(&self.config, &self.schedule, &tenant, &mut state, segment, now_ms, origin);
        let Appended { outcomes, declarable, grown, overload } = appender.with_targets(targets).run(batch);
        let commit = self.push(ticket, &mut state);
        drop(state);
        self.log.add_declarable(declarable);
        self.grow(grown);
        let Outcomes { counted, uncounted, refused, replaced, .. } = outcomes;
        self.metrics.count(&counted);
        self.metrics.count(&uncounted);
        self.metrics.series.add((counted.new_series + uncounted.new_series) as i64);
        if let Some(overload) = overload {
            self.metrics.refused.inc();
            return Err(WriteError::Overloaded(overload).into());
        }
        Ok(AppendOutcome { counted, uncounted, refused, replaced, commit })
    }

    /// Queues the staged records of a tenant for the log.
    pub(crate) fn push(&self, ticket: Ticket<'_>, state: &mut AppendState) -> Commit {
        let wal = &mut state.wal;
        let commit = self.log.push(ticket, &wal.staged, std::mem::take(&mut wal.declared_bytes));
        wal.staged.clear();
        wal.staged.shrink_to(MAX_KEPT_STAGING_BYTES);
        commit
    }

    /// Makes the numbers of all cuts from now on exceed `number`. Call it before the first append with the greatest number of
    /// this head's cuts that anyone remembers: after the loss of the log, or of a part of it, the numbers before it must not
    /// be used again.
    pub fn number_cuts_above(&self, number: u32) {
        self.plan.note_generation(number);
        if !self.is_incomplete() {
            return;
        }
        let number = self.plan.first_generation(self.clock.now_ms());
        for tenant in self.tenants.all() {
            let mut state = tenant.append.lock();
            let lagging = state.windows.iter().filter(|(_, window)| window.newest_cut < number);
            for (start, newest) in lagging.map(|(start, window)| (*start, window.newest_cut)).collect::<Vec<_>>() {
                let number = number.max(newest.saturating_add(2));
                tenant.raise_newest_cut(&mut state, start, number);
                drop(self.log_step(&tenant, &mut state, Step::Cut, start, number, &ShardSet::new()));
            }
        }
    }

    /// Replaces the settings of all tenants, present and future.
    pub fn set_settings(&self, settings: SettingsByTenant) {
        self.tenants.set_settings(settings);
    }

    /// Sets how many of the cluster's shards this head holds. Its share of `max_series` and `max_exemplars` of each tenant
    /// follows from it, so that these limits are the tenant's, however many heads there are.
    pub fn set_held_shards(&self, held_shards: u32) {
        self.tenants.set_held_shards(held_shards);
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

    /// Why the log cannot be written at present; none while it can.
    pub fn log_failure(&self) -> Option<WriteError> {
        self.log.failure()
    }

    /// Whether the log may lack acknowledged samples, because it was created empty, at this start or an earlier one, or
    /// because a start or a repair truncated it. It remains incomplete until [`Head::set_complete`].
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

    /// Whether a tenant has had samples in memory since the start.
    pub fn has_tenant(&self, tenant: &TenantId) -> bool {
        self.tenants.get(tenant).is_some()
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
}
