//! Replays the records that concern a tenant as a whole: cuts, flushes, evictions and deletions.

use std::collections::HashMap;
use std::sync::Arc;

use pharos_model::wire::Malformed;

use crate::head::Head;
use crate::tenant::Tenant;
use crate::wal::record::Record;
use crate::window::FlushedMask;

impl Head {
    /// Replays a record that concerns a tenant as a whole, a cut, flush, eviction or deletion, or one that concerns all of them.
    pub(crate) fn control(
        &self,
        segment: u32,
        record: Record<'_>,
        numbers: &mut HashMap<(u32, u32), Arc<Tenant>>,
    ) -> Result<(), Malformed> {
        let tenant_of = |number: u32| {
            numbers
                .get(&(segment, number))
                .cloned()
                .ok_or(Malformed("names a tenant that its segment does not declare"))
        };
        match record {
            Record::Tenant(record) => {
                numbers.retain(|(other, _), _| *other == segment);
                numbers.insert((segment, record.number), self.tenants.get_or_create(&record.tenant));
            }
            Record::Cut { tenant, window, cut } => {
                let tenant = tenant_of(tenant)?;
                let mut state = tenant.append.lock();
                tenant.raise_newest_cut(&mut state, window, cut);
                state.segments.note_window(segment, window);
            }
            Record::Flushed { tenant, window, cut, shards } => {
                let tenant = tenant_of(tenant)?;
                let mut state = tenant.append.lock();
                tenant.raise_flushed_cut(&mut state, window, cut, &shards);
                state.segments.note_window(segment, window);
            }
            Record::Delete { tenant, range, matchers, number } => {
                let tenant = tenant_of(tenant)?;
                let mut state = tenant.append.lock();
                state.last_deletion = state.last_deletion.max(number);
                // Series without samples stay until the end of the replay, since later records may name them.
                self.delete_in_memory(&tenant, &mut state, &matchers, range);
            }
            Record::Evicted { tenant, window, cut, shards } => {
                let tenant = tenant_of(tenant)?;
                let mut state = tenant.append.lock();
                let mut evicted = FlushedMask::default();
                evicted.raise(&shards, cut);
                self.evict_replayed(&tenant, &mut state, window, &evicted);
                state.segments.note_window(segment, window);
            }
            Record::Forget { tenant, shards } => {
                let tenant = tenant_of(tenant)?;
                let mut state = tenant.append.lock();
                self.forget_in_memory(&tenant, &mut state, &shards);
            }
            Record::Opening { newest_generation, .. } => self.plan.note_generation(newest_generation),
            Record::Durable => {}
            // The workers apply them.
            Record::Append { .. }
            | Record::Survivors { .. }
            | Record::Replaced { .. }
            | Record::Retracted { .. }
            | Record::Yielded { .. } => {}
        }
        Ok(())
    }
}
