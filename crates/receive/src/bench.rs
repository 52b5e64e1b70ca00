//! The decoders without HTTP, for benchmarks.

use pharos_model::{TenantId, WriteBatch};

use crate::decode::Decoder;
use crate::{write_v1, write_v2};

/// A batch that is decoded into again and again.
#[derive(Default)]
pub struct Bench {
    tenant: TenantId,
    batch: WriteBatch,
}

impl Bench {
    /// Decodes a decompressed request of remote write 1.0; says how many series are good.
    pub fn decode_v1(&mut self, request: &[u8]) -> usize {
        self.batch.clear();
        let mut decoder = Decoder::new(&self.tenant, &mut self.batch, usize::MAX);
        let decoded = write_v1::decode(request, &mut decoder);
        decoded.map_or(0, |()| self.batch.series().len())
    }

    /// As [`Bench::decode_v1`], of remote write 2.0.
    pub fn decode_v2(&mut self, request: &[u8]) -> usize {
        self.batch.clear();
        let mut decoder = Decoder::new(&self.tenant, &mut self.batch, usize::MAX);
        let decoded = write_v2::decode(request, &mut decoder);
        decoded.map_or(0, |()| self.batch.series().len())
    }
}
