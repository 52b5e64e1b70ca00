//! Digests of the samples of a window, by which a replica compares its memory with the blocks that a leader has shipped.

use std::collections::BTreeMap;

use pharos_model::{ShardDigest, ShardSet, TenantId};

use crate::head::Head;
use crate::series::Series;
use crate::tenant::Tenant;
use crate::window::FlushedMask;

/// The digests of some shards of a window at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowDigest {
    /// First millisecond of the window.
    pub window: i64,
    /// The number to pass to [`Head::mark_flushed_cut`]: the digested samples are those of lower generations.
    pub number: u32,
    /// The number of the newest deletion that was applied before; 0 for none.
    pub deletions: u64,
    /// Keyed by shard. Shards without samples are omitted.
    pub shards: BTreeMap<u32, HeldDigest>,
}

/// The digests of the samples that memory holds of one shard of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldDigest {
    /// The samples that are not flushed.
    pub unflushed: ShardDigest,
    /// All samples, flushed or not.
    pub all: ShardDigest,
}

impl HeldDigest {
    fn absorb(&mut self, other: HeldDigest) {
        self.unflushed.absorb(other.unflushed);
        self.all.absorb(other.all);
    }
}

impl Head {
    /// Digests the samples of some shards of a window. This ends the window's generation, so that the number in the answer
    /// marks exactly what was digested and what is flushed already. If these shards have not grown since the last cut, its
    /// number is reused and nothing is logged.
    pub fn digest(&self, tenant_id: &TenantId, window: i64, shards: &ShardSet) -> WindowDigest {
        let start = self.schedule.start_of(window);
        let mut digest = WindowDigest { window: start, number: 0, deletions: 0, shards: BTreeMap::new() };
        let Some(tenant) = self.tenants.get(tenant_id) else { return digest };
        let mut state = tenant.append.lock();
        let Some(known) = state.windows.get(&start) else { return digest };
        digest.deletions = state.last_deletion;
        digest.number = known.newest_cut;
        if known.grew_since_cut(shards) {
            digest.number = self.start_generation(&tenant, &mut state, start);
        }
        let flushed = state.windows.get(&start).map(|w| w.flushed.clone()).unwrap_or_default();
        drop(state);
        self.digest_shards(&tenant, &flushed, shards, &mut digest);
        digest
    }

    fn digest_shards(&self, tenant: &Tenant, flushed: &FlushedMask, shards: &ShardSet, out: &mut WindowDigest) {
        for series in tenant.series_of(shards) {
            let of_series = self.digest_series(&series, flushed, out);
            if of_series.all.samples > 0 {
                out.shards.entry(series.shard.into()).or_default().absorb(of_series);
            }
        }
    }

    fn digest_series(&self, series: &Series, flushed: &FlushedMask, of: &WindowDigest) -> HeldDigest {
        let mut held = HeldDigest::default();
        series.data.lock().for_each_run(|run| {
            let generation = run.generation();
            if generation >= of.number || self.schedule.start_of(run.window_t()) != of.window {
                return;
            }
            let mut digest = ShardDigest::default();
            run.values(|t, value| digest.add(series.hash, t, value));
            held.all.absorb(digest);
            if !flushed.covers(series.shard, generation) {
                held.unflushed.absorb(digest);
            }
        });
        held
    }
}
