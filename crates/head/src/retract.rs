//! Takes back samples that this head accepted and another one, which decides, rejected or has another value for.

use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{ShardSet, TenantId, WriteBatch};

use crate::append::{AppendError, encode};
use crate::head::Head;
use crate::series::{AnySample, Series, SeriesData, Stored};
use crate::tenant::{AppendState, Tenant};
use crate::wal::Commit;
use crate::wal::record::{SPLIT_BYTES, put_retracted, put_yielded};
use crate::window::WindowSchedule;

/// A retraction in progress, while its caller holds the tenant's lock and the log's segment.
struct Retraction<'a> {
    tenant: &'a Tenant,
    state: &'a mut AppendState,
    segment: u32,
    schedule: &'a WindowSchedule,
    /// How a held sample compares with that of the batch if it is removed.
    unwanted: Stored,
    retracted: AppendEncoder,
    samples: u64,
    freed: isize,
}

impl Head {
    /// Removes the floats and histograms of a batch from memory, where memory holds exactly them and has not flushed them.
    /// Samples of shards outside `taken` are skipped, and all of them if the newest deletion that was applied has another
    /// number than `deletions`. Returns how many were removed. The removal is durable once the commit resolves.
    pub fn retract(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        taken: &ShardSet,
        deletions: Option<u64>,
    ) -> Result<(u64, Commit), AppendError> {
        self.remove_unwanted(tenant, batch, taken, deletions, Stored::Same)
    }

    /// Removes what memory holds at the timestamps of a batch, where it is another value that is not flushed: the values of the
    /// batch are in blocks. `deletions` is the number of the newest
    /// deletion that the batch takes into account: the newest that was applied here, or nothing is removed. Returns how many
    /// were removed.
    pub fn yield_to(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        deletions: u64,
    ) -> Result<(u64, Commit), AppendError> {
        self.remove_unwanted(tenant, batch, &ShardSet::all(self.config.shards), Some(deletions), Stored::Other)
    }

    fn remove_unwanted(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        taken: &ShardSet,
        deletions: Option<u64>,
        unwanted: Stored,
    ) -> Result<(u64, Commit), AppendError> {
        self.log.check()?;
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        let applied = state.last_deletion;
        if let Some(expected) = deletions.filter(|expected| *expected != applied) {
            return Err(AppendError::Deletions { expected, applied });
        }
        let ticket = self.log.ticket();
        let mut retraction = Retraction {
            tenant: &tenant,
            state: &mut state,
            segment: ticket.segment(),
            schedule: &self.schedule,
            unwanted,
            retracted: AppendEncoder::default(),
            samples: 0,
            freed: 0,
        };
        let mut emptied = Vec::new();
        for entry in batch.series().iter().filter(|entry| taken.contains(shard_of(entry.hash, tenant.shards))) {
            let Some(series) = retraction.state.find(entry.hash, batch.labels_of(entry)).cloned() else { continue };
            let mut data = series.data.lock();
            let floats = batch.samples_of(entry).iter().map(AnySample::Float);
            let histograms = batch.histograms_of(entry).iter().map(AnySample::Histogram);
            floats.chain(histograms).for_each(|sample| retraction.remove(&series, &mut data, sample));
            if data.is_empty() {
                drop(data);
                emptied.push(series);
            }
        }
        retraction.write_out();
        let Retraction { samples, freed, .. } = retraction;
        let commit = self.push(ticket, &mut state);
        emptied.sort_by_key(|series| series.id);
        let removed = self.remove_series(&tenant, &mut state, &emptied);
        drop(state);
        self.grow(-freed - removed as isize);
        Ok((samples, commit))
    }
}

impl Retraction<'_> {
    /// Removes what the series holds at the timestamp of a sample, if it is unwanted and not flushed.
    fn remove(&mut self, series: &Series, data: &mut SeriesData, sample: AnySample<'_>) {
        let Some((_, generation)) = data.locate(sample).filter(|(held, _)| *held == self.unwanted) else { return };
        let start = self.schedule.start_of(sample.t());
        let Some(window) = self.state.windows.get_mut(&start) else { return };
        if window.flushed.covers(series.shard, generation) {
            return;
        }
        let freed = data.remove(sample.t(), |generation, count| window.subtract(generation, series.shard, count));
        window.bytes -= freed as i64;
        self.freed += freed;
        self.samples += 1;
        let reference = self.state.wal_ref(self.tenant, series, data, self.segment);
        encode(&mut self.retracted, reference, sample);
        if self.state.wal.encoder.bytes() + self.retracted.bytes() >= SPLIT_BYTES {
            self.write_out();
        }
    }

    /// Turns what has been encoded into log records: the declarations of the series, then what was removed of them.
    fn write_out(&mut self) {
        let wal = &mut self.state.wal;
        wal.close_record(self.tenant.number, None);
        match self.unwanted {
            Stored::Same => put_retracted(&mut wal.staged, self.tenant.number, &mut self.retracted),
            Stored::Other => put_yielded(&mut wal.staged, self.tenant.number, &mut self.retracted),
        }
    }
}
