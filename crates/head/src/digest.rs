//! Digests of a window's samples: what a replica compares with those of the blocks that a leader has shipped.

use std::collections::BTreeMap;

use pharos_model::time::window_start;
use pharos_model::{ShardDigest, ShardSet, TenantId};

use crate::cut::{WindowCut, place};
use crate::head::Head;
use crate::series::Series;
use crate::tenant::Tenant;
use crate::window::Flushed;

/// The digests of some shards of a window at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowDigest {
    /// First millisecond of the window.
    pub window: i64,
    /// The number of the cut that the samples are below; see [`Head::mark_flushed_cut`].
    pub number: u32,
    /// By shard, those without samples left out.
    pub shards: BTreeMap<u32, HeldDigest>,
}

/// The digests of the samples of a shard of a window that are in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldDigest {
    /// Of those that are not flushed.
    pub unflushed: ShardDigest,
    /// Of all.
    pub all: ShardDigest,
}

impl Head {
    /// Digests the samples of some shards of a window. The epoch ends here, so that exactly what was digested, and what is
    /// flushed already, can be marked with the number in the answer; if nothing came since the last cut, its number is given again and
    /// nothing is logged.
    pub fn digest(&self, tenant_id: &TenantId, window: i64, shards: &ShardSet) -> WindowDigest {
        let start = window_start(window, self.config.window_ms);
        let mut digest = WindowDigest { window: start, number: 0, shards: BTreeMap::new() };
        let Some(tenant) = self.tenants.get(tenant_id) else { return digest };
        let mut state = tenant.append.lock();
        let Some(known) = state.windows.get(&start) else { return digest };
        digest.number = known.cuts;
        if known.grew_since_cut(shards) {
            digest.number = self.end_epoch(&tenant, &mut state, start);
        }
        let flushed = state.windows.get(&start).map(|w| w.flushed.clone()).unwrap_or_default();
        drop(state);
        self.digest_below(&tenant, &flushed, shards, &mut digest);
        digest
    }

    /// The digests of what a cut holds and of all that was in memory when it was made, for the shards of the cut.
    pub fn digest_of_cut(&self, cut: &WindowCut) -> WindowDigest {
        let (window, number) = (cut.window().start, cut.number());
        let mut digest = WindowDigest { window, number, shards: BTreeMap::new() };
        if let Some(tenant) = self.tenants.get(cut.tenant()) {
            self.digest_below(&tenant, &cut.flushed(), cut.shards(), &mut digest);
        }
        digest
    }

    fn digest_below(&self, tenant: &Tenant, flushed: &Flushed, shards: &ShardSet, out: &mut WindowDigest) {
        for series in tenant.series_of(shards) {
            let of_series = self.digest_series(&series, flushed, out);
            if of_series.all.samples > 0 {
                let of_shard = out.shards.entry(series.shard.into()).or_default();
                of_shard.unflushed.absorb(of_series.unflushed);
                of_shard.all.absorb(of_series.all);
            }
        }
    }

    fn digest_series(&self, series: &Series, flushed: &Flushed, of: &WindowDigest) -> HeldDigest {
        let flushed_below = flushed.of(series.shard);
        let mut held = HeldDigest::default();
        series.data.lock().parts(|part| {
            let (t, epoch) = place(part);
            if epoch >= of.number || window_start(t, self.config.window_ms) != of.window {
                return;
            }
            let mut digest = ShardDigest::default();
            part.values(|t, value| digest.add(series.hash, t, value));
            held.all.absorb(digest);
            if epoch >= flushed_below {
                held.unflushed.absorb(digest);
            }
        });
        held
    }
}
