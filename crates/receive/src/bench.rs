//! The decoders of remote write without HTTP, for benchmarks.

use pharos_model::{MemoryAccount, Purpose, TenantId, WriteBatch};

use crate::decode::Decoder;
use crate::{write_v1, write_v2};

/// A reused batch.
#[derive(Default)]
pub struct Bench {
    tenant: TenantId,
    batch: WriteBatch,
}

impl Bench {
    /// Decodes a decompressed request of remote write 1.0; returns the number of series in the batch.
    pub fn decode_v1(&mut self, request: &[u8]) -> usize {
        self.batch.clear();
        let hold = MemoryAccount::unlimited().open(&self.tenant, Purpose::Push);
        let mut decoder = Decoder::new(&self.tenant, &mut self.batch, usize::MAX, &hold);
        let decoded = write_v1::decode(request, &mut decoder);
        decoded.map_or(0, |()| self.batch.series().len())
    }

    /// Decodes a decompressed request of remote write 2.0; returns the number of series in the batch.
    pub fn decode_v2(&mut self, request: &[u8]) -> usize {
        self.batch.clear();
        let hold = MemoryAccount::unlimited().open(&self.tenant, Purpose::Push);
        let mut decoder = Decoder::new(&self.tenant, &mut self.batch, usize::MAX, &hold);
        let decoded = write_v2::decode(request, &mut decoder);
        decoded.map_or(0, |()| self.batch.series().len())
    }
}
