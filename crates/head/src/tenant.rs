//! One tenant of the head: its series, index, windows, exemplars and metadata.
//!
//! Locks are taken in this order: `append`, the log's ticket, `index`, `exemplars`, the data of a series. Readers hold `index`
//! while matchers are resolved and the data of a series while it is decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{Labels, ShardSet, TenantId};

use crate::config::TenantSettings;
use crate::contents::SegmentContents;
use crate::exemplars::ExemplarRing;
use crate::families::Families;
use crate::index::Index;
use crate::series::{Series, SeriesData, WindowGeneration};
use crate::tenants::share;
use crate::wal::record::{
    SPLIT_BYTES, Step, TenantRecord, WindowCuts, put_append, put_step, put_survivors, put_tenant,
};
use crate::window::{FlushedWindows, ShardCounts, WindowPlan, WindowSchedule, WindowState};

pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// The number of the tenant in the log, for the lifetime of this process.
    pub(crate) number: u32,
    /// How many shards the cluster has.
    pub(crate) shards: u32,
    pub(crate) plan: Arc<WindowPlan>,
    pub(crate) append: Mutex<AppendState>,
    pub(crate) index: RwLock<Index>,
    /// A copy of the flushed masks in [`AppendState::windows`], for readers.
    pub(crate) flushed: RwLock<FlushedWindows>,
    pub(crate) exemplars: Mutex<ExemplarRing>,
}

/// The state of a tenant that only one writer at a time may touch.
pub(crate) struct AppendState {
    /// Replaced by a reload of the configuration.
    pub(crate) settings: TenantSettings,
    /// How many of the tenant's shards this head holds.
    pub(crate) held_shards: u32,
    pub(crate) table: HashTable<Arc<Series>>,
    /// The newest timestamp of the tenant.
    pub(crate) newest: Option<i64>,
    /// Keyed by the start of the window.
    pub(crate) windows: BTreeMap<i64, WindowState>,
    /// Samples of the batch in progress that are not counted in `windows` yet.
    pub(crate) uncounted: ShardCounts,
    pub(crate) metadata: Families,
    /// The number of the newest deletion that was applied; 0 for none.
    pub(crate) last_deletion: u64,
    pub(crate) segments: SegmentContents,
    pub(crate) wal: TenantLog,
}

/// Log records of a tenant that are being put together.
#[derive(Default)]
pub(crate) struct TenantLog {
    /// The segment in which the tenant was declared last.
    pub(crate) segment: u32,
    /// The reference that the next series declared in that segment gets.
    pub(crate) next_ref: u32,
    pub(crate) encoder: AppendEncoder,
    /// Complete records that are not pushed to the log yet.
    pub(crate) staged: Vec<u8>,
    /// How many of the staged bytes declare the tenant and its series.
    pub(crate) declared_bytes: u64,
}

impl Tenant {
    /// Creates a tenant of a cluster with some shards, of which this head holds some.
    pub(crate) fn new(
        id: TenantId,
        number: u32,
        (shards, held_shards): (u32, u32),
        plan: Arc<WindowPlan>,
        settings: TenantSettings,
    ) -> Self {
        Tenant {
            id,
            number,
            shards,
            append: Mutex::new(AppendState {
                settings,
                held_shards,
                table: HashTable::new(),
                newest: None,
                windows: BTreeMap::new(),
                uncounted: ShardCounts::new(shards),
                metadata: Families::default(),
                last_deletion: 0,
                segments: SegmentContents::default(),
                wal: TenantLog::default(),
            }),
            index: RwLock::default(),
            flushed: RwLock::new(FlushedWindows::new(plan.schedule())),
            exemplars: Mutex::new(ExemplarRing::new(share(settings.max_exemplars, held_shards, shards))),
            plan,
        }
    }

    /// Creates a series and returns it with the number of bytes by which the head grew; `None` once the tenant has used up
    /// its series numbers.
    pub(crate) fn create(&self, state: &mut AppendState, canonical: &[u8], hash: u64) -> Option<(Arc<Series>, usize)> {
        let mut index = self.index.write();
        let series = Arc::new(Series {
            id: index.next_id()?,
            shard: shard_of(hash, self.shards) as u16,
            hash,
            labels: Labels::from_canonical_unchecked(canonical),
            data: Mutex::new(SeriesData::new()),
        });
        let before = index.bytes();
        index.add(&series);
        let index_bytes = index.bytes() - before;
        drop(index);
        state.table.insert_unique(hash, series.clone(), |s| s.hash);
        Some((series, index_bytes + series_bytes(canonical.len())))
    }

    /// The series of some shards, by ascending number.
    pub(crate) fn series_of(&self, shards: &ShardSet) -> Vec<Arc<Series>> {
        self.index.read().iter().filter(|s| shards.contains(s.shard.into())).cloned().collect()
    }

    /// Raises the newest cut of a window. Cuts are numbered one by one, so a greater step means that the log does not know what
    /// was cut in between.
    pub(crate) fn raise_newest_cut(&self, state: &mut AppendState, window: i64, cut: u32) {
        self.plan.note_generation(cut);
        let window = state.windows.entry(window).or_insert_with(|| WindowState::new(self.shards, cut));
        let is_step = cut <= window.newest_cut.saturating_add(1);
        window.newest_cut = window.newest_cut.max(cut);
        if !is_step {
            window.begin_again(|_| true);
        }
    }

    /// Raises the flushed cut of some shards of a window, and makes that visible to readers.
    pub(crate) fn raise_flushed_cut(&self, state: &mut AppendState, start: i64, cut: u32, shards: &ShardSet) {
        self.raise_newest_cut(state, start, cut);
        let Some(window) = state.windows.get_mut(&start) else { return };
        window.flushed.raise(shards, cut);
        let mask = window.flushed.clone();
        Arc::make_mut(&mut self.flushed.write().masks).insert(start, mask);
    }
}

/// The memory of a series in bytes, without its samples and its entries in the index.
pub(crate) fn series_bytes(labels: usize) -> usize {
    size_of::<Series>() + 16 + labels + 16 + 10
}

impl AppendState {
    #[inline]
    pub(crate) fn find(&self, hash: u64, canonical: &[u8]) -> Option<&Arc<Series>> {
        self.table.find(hash, |s| s.hash == hash && s.labels.as_bytes() == canonical)
    }

    /// A series with this hash. Others may have it, too.
    #[inline]
    pub(crate) fn find_hash(&self, hash: u64) -> Option<&Arc<Series>> {
        self.table.find(hash, |s| s.hash == hash)
    }

    /// The window that contains `t` and its current generation; 0 for a window that is not known.
    pub(crate) fn window_at(&self, t: i64, schedule: &WindowSchedule) -> WindowGeneration {
        let start = schedule.start_of(t);
        WindowGeneration { start, generation: self.windows.get(&start).map_or(0, |w| w.newest_cut) }
    }

    /// Declares the tenant in a segment unless it is declared there. Call this before encoding anything for the segment.
    pub(crate) fn declare_tenant(&mut self, tenant: &Tenant, segment: u32) {
        if self.wal.segment == segment {
            return;
        }
        let cuts_of = |(&window, w): (&i64, &WindowState)| WindowCuts {
            window,
            newest: w.newest_cut,
            flushed: w.flushed.by_cut().into_iter().collect(),
        };
        let record = TenantRecord {
            number: tenant.number,
            tenant: tenant.id.clone(),
            newest: self.newest,
            shards: tenant.shards,
            windows: self.windows.iter().filter(|(_, w)| w.newest_cut > 0).map(cuts_of).collect(),
            metadata: Vec::new(),
            last_deletion: self.last_deletion,
        };
        let before = self.wal.staged.len();
        put_tenant(&mut self.wal.staged, &record);
        self.wal.segment = segment;
        self.wal.next_ref = 0;
        for (family, metadata) in self.metadata.take_all(segment) {
            self.wal.encoder.metadata(family, metadata);
            self.wal.close_long_record(tenant.number, None);
        }
        self.wal.close_record(tenant.number, None);
        self.wal.declared_bytes += (self.wal.staged.len() - before) as u64;
    }

    /// Logs the metadata of a family, unless the segment has a record of it.
    pub(crate) fn log_metadata(&mut self, tenant: &Tenant, segment: u32, family: &str) {
        self.declare_tenant(tenant, segment);
        if let Some(metadata) = self.metadata.take_changed(family, segment) {
            self.wal.encoder.metadata(family, metadata);
            self.wal.close_long_record(tenant.number, None);
        }
    }

    /// The reference of a series in a segment, declaring it there unless it is.
    #[inline]
    pub(crate) fn wal_ref(&mut self, tenant: &Tenant, series: &Series, data: &mut SeriesData, segment: u32) -> u32 {
        if data.wal_segment != segment {
            self.declare_tenant(tenant, segment);
            let before = self.wal.encoder.declared_bytes();
            self.wal.encoder.series(series.labels.as_bytes());
            self.wal.declared_bytes += (self.wal.encoder.declared_bytes() - before) as u64;
            data.wal_segment = segment;
            data.wal_ref = self.wal.next_ref;
            self.wal.next_ref += 1;
        }
        data.wal_ref
    }

    /// The current generation of a window. A window that is not known begins now, and its first generation is logged.
    pub(crate) fn begin_window(&mut self, tenant: &Tenant, segment: u32, start: i64, now_ms: i64) -> u32 {
        if let Some(window) = self.windows.get(&start) {
            return window.newest_cut;
        }
        let first = tenant.plan.first_generation(now_ms);
        self.declare_tenant(tenant, segment);
        put_step(&mut self.wal.staged, Step::Cut, tenant.number, start, first, &ShardSet::new());
        self.windows.insert(start, WindowState::new(tenant.shards, first));
        first
    }
}

impl TenantLog {
    /// Makes a record of what has been encoded, if anything: an append, or survivors of a generation.
    pub(crate) fn close_record(&mut self, tenant: u32, generation: Option<u32>) {
        match generation {
            None => put_append(&mut self.staged, tenant, &mut self.encoder),
            Some(generation) => put_survivors(&mut self.staged, tenant, generation, &mut self.encoder),
        }
    }

    /// Like [`TenantLog::close_record`], once the record is long. To be called after every entry that may be long.
    #[inline]
    pub(crate) fn close_long_record(&mut self, tenant: u32, generation: Option<u32>) {
        if self.encoder.bytes() >= SPLIT_BYTES {
            self.close_record(tenant, generation);
        }
    }
}
