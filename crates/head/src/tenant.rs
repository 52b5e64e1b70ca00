//! One tenant of the head: its series, index, windows, exemplars and metadata.
//!
//! Locks, in the order in which they may be taken: `append`, the log's ticket, `index`, `exemplars`, a series' data. Readers take
//! `index` for as long as matchers need, and each series for as long as decoding it takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use pharos_model::hash::shard_of;
use pharos_model::time::window_start;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{Labels, Metadata, ShardSet, TenantId};

use crate::config::TenantSettings;
use crate::exemplars::ExemplarRing;
use crate::index::Index;
use crate::series::{Series, SeriesData};
use crate::wal::record::{Step, TenantRecord, WindowCuts, put_step, put_tenant};
use crate::window::{FlushMap, Tally, WindowState, first_epoch};

/// A tenant.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// Its number in the log, as long as this process runs.
    pub(crate) number: u32,
    /// How many shards there are.
    pub(crate) shards: u32,
    pub(crate) append: Mutex<AppendState>,
    pub(crate) index: RwLock<Index>,
    pub(crate) flush: RwLock<FlushMap>,
    pub(crate) exemplars: Mutex<ExemplarRing>,
}

/// What writers of a tenant need, one at a time.
pub(crate) struct AppendState {
    /// What the tenant may do; a reload replaces it.
    pub(crate) settings: TenantSettings,
    pub(crate) table: HashTable<Arc<Series>>,
    /// The newest timestamp of the tenant.
    pub(crate) newest: Option<i64>,
    pub(crate) windows: BTreeMap<i64, WindowState>,
    /// Samples of the window at hand that are not counted in `windows` yet.
    pub(crate) tally: Tally,
    pub(crate) metadata: HashMap<String, Metadata>,
    /// The number of the newest deletion that was carried out; 0 for none.
    pub(crate) deleted: u64,
    /// Which windows have samples or marks in which segment of the log.
    pub(crate) segment_windows: BTreeMap<u32, BTreeSet<i64>>,
    pub(crate) wal: TenantLog,
}

/// A tenant's records in the making.
#[derive(Default)]
pub(crate) struct TenantLog {
    /// The segment in which the tenant was last declared, and how many of its series were since.
    pub(crate) segment: u32,
    pub(crate) next_ref: u32,
    pub(crate) encoder: AppendEncoder,
    /// Finished records.
    pub(crate) staged: Vec<u8>,
    pub(crate) declared_bytes: u64,
}

impl Tenant {
    pub(crate) fn new(id: TenantId, number: u32, shards: u32, window_ms: i64, settings: TenantSettings) -> Self {
        Tenant {
            id,
            number,
            shards,
            append: Mutex::new(AppendState {
                settings,
                table: HashTable::new(),
                newest: None,
                windows: BTreeMap::new(),
                tally: Tally::new(shards),
                metadata: HashMap::new(),
                deleted: 0,
                segment_windows: BTreeMap::new(),
                wal: TenantLog::default(),
            }),
            index: RwLock::default(),
            flush: RwLock::new(FlushMap::new(window_ms)),
            exemplars: Mutex::new(ExemplarRing::new(settings.max_exemplars)),
        }
    }

    /// Creates a series; nothing when the tenant has used all numbers. Returns by how many bytes the head grew.
    pub(crate) fn create(&self, state: &mut AppendState, canonical: &[u8], hash: u64) -> Option<(Arc<Series>, usize)> {
        let mut index = self.index.write();
        let labels = Labels::from_canonical_unchecked(canonical);
        let data = Mutex::new(SeriesData::new());
        let series =
            Arc::new(Series { id: index.next_id()?, shard: shard_of(hash, self.shards) as u16, hash, labels, data });
        let before = index.bytes();
        index.add(&series);
        let index_bytes = index.bytes() - before;
        drop(index);
        state.table.insert_unique(hash, series.clone(), |s| s.hash);
        Some((series, index_bytes + series_bytes(canonical.len())))
    }

    /// The series of some shards, by number.
    pub(crate) fn series_of(&self, shards: &ShardSet) -> Vec<Arc<Series>> {
        self.index.read().iter().filter(|s| shards.contains(s.shard.into())).cloned().collect()
    }

    /// Raises the newest cut of a window.
    pub(crate) fn set_cuts(&self, state: &mut AppendState, window: i64, cut: u32) {
        let entry = state.windows.entry(window).or_insert_with(|| WindowState::new(self.shards, cut));
        entry.cuts = entry.cuts.max(cut);
    }

    /// Raises the newest flushed cut of some shards of a window, for readers too.
    pub(crate) fn set_flushed(&self, state: &mut AppendState, window: i64, cut: u32, shards: &ShardSet) {
        let entry = state.windows.entry(window).or_insert_with(|| WindowState::new(self.shards, cut));
        entry.cuts = entry.cuts.max(cut);
        entry.flushed.raise(shards, cut);
        let flushed = entry.flushed.clone();
        let mut flush = self.flush.write();
        Arc::make_mut(&mut flush.flushed).insert(window, flushed);
    }
}

/// What a series takes besides its samples and its part of the index, bytes.
pub(crate) fn series_bytes(labels: usize) -> usize {
    size_of::<Series>() + 16 + labels + 16 + 10
}

impl AppendState {
    /// The series with those labels.
    #[inline]
    pub(crate) fn find(&self, hash: u64, canonical: &[u8]) -> Option<&Arc<Series>> {
        self.table.find(hash, |s| s.hash == hash && s.labels.as_bytes() == canonical)
    }

    /// The epoch of the window that holds `t`, with its start.
    pub(crate) fn window_of(&self, t: i64, width: i64) -> crate::series::WindowCtx {
        let start = window_start(t, width);
        crate::series::WindowCtx { start, epoch: self.windows.get(&start).map_or(0, |w| w.cuts) }
    }

    /// Declares the tenant in a segment where it is not yet. Must come before anything else is encoded for the segment.
    pub(crate) fn declare_tenant(&mut self, tenant: &Tenant, segment: u32) {
        if self.wal.segment == segment {
            return;
        }
        let cut = self.windows.iter().filter(|(_, w)| w.cuts > 0);
        let cuts_of = |(&window, w): (&i64, &WindowState)| WindowCuts {
            window,
            cuts: w.cuts,
            flushed: w.flushed.by_cut(|_| true).into_iter().collect(),
        };
        let record = TenantRecord {
            number: tenant.number,
            tenant: tenant.id.clone(),
            newest: self.newest,
            shards: tenant.shards,
            windows: cut.map(cuts_of).collect(),
            metadata: self.metadata.iter().map(|(family, m)| (family.clone(), m.clone())).collect(),
            deleted: self.deleted,
        };
        put_tenant(&mut self.wal.staged, &record);
        (self.wal.segment, self.wal.next_ref) = (segment, 0);
    }

    /// The reference of a series in a segment; declares it there when it is not.
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

    /// The newest cut of a window, of which there may be nothing yet: then its first epoch is noted and logged.
    pub(crate) fn begin_window(&mut self, tenant: &Tenant, segment: u32, start: i64, now_ms: i64) -> u32 {
        if let Some(window) = self.windows.get(&start) {
            return window.cuts;
        }
        let first = first_epoch(now_ms);
        self.declare_tenant(tenant, segment);
        put_step(&mut self.wal.staged, Step::Cut, tenant.number, start, first, &ShardSet::new());
        self.windows.insert(start, WindowState::new(tenant.shards, first));
        first
    }

    /// Notes that a segment of the log says something about a window.
    pub(crate) fn note_segment(&mut self, segment: u32, window: i64) {
        self.segment_windows.entry(segment).or_default().insert(window);
    }
}
