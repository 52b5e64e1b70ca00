//! What the tests of the handlers share: a store that records batches and fails on demand.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, Response};
use pharos_model::clock::ManualClock;
use pharos_model::memory::MemoryLimits;
use pharos_model::{Hold, MemoryAccount, Purpose, TenantId, WriteBatch, WriteError, WriteOutcome};
use pharos_transport::Ingest;
use tower::ServiceExt;

use crate::{ReceiveConfig, Receiver, router};

/// Records batches. Fails with an error, or accepts everything and adds `also` to the outcome.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) batches: Mutex<Vec<(TenantId, WriteBatch)>>,
    pub(super) fail: Option<WriteError>,
    pub(super) also: WriteOutcome,
}

#[async_trait]
impl Ingest for Recorder {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        if let Some(error) = &self.fail {
            return Err(error.clone());
        }
        self.batches.lock().unwrap().push((tenant.clone(), batch.clone()));
        let mut outcome = WriteOutcome {
            samples: batch.samples.len() as u64,
            histograms: batch.histograms.len() as u64,
            exemplars: batch.exemplars.len() as u64,
            ..WriteOutcome::default()
        };
        outcome.absorb(self.also.clone());
        Ok(outcome)
    }
}

/// A receiver that appends to a recorder.
pub(super) fn receiver(recorder: &Arc<Recorder>, config: ReceiveConfig) -> Arc<Receiver> {
    receiver_within(recorder, config, MemoryLimits::unlimited())
}

/// A receiver whose requests draw on an account with these limits.
pub(super) fn receiver_within(recorder: &Arc<Recorder>, config: ReceiveConfig, limits: MemoryLimits) -> Arc<Receiver> {
    let (registry, memory) = (prometheus::Registry::new(), MemoryAccount::new(limits));
    Receiver::new(config, recorder.clone(), memory, Arc::new(ManualClock::at(1_000_000)), &registry).unwrap()
}

/// The hold of a push where all pushes may have `bytes`.
pub(super) fn pushes(bytes: u64) -> Hold {
    let limits = MemoryLimits { pushes: bytes, ..MemoryLimits::unlimited() };
    MemoryAccount::new(limits).open(&TenantId::default(), Purpose::Push)
}

/// The hold of a push without limits.
pub(super) fn unlimited() -> Hold {
    pushes(u64::MAX)
}

/// Sends a request; returns the status, headers and body of the response.
pub(super) async fn send(receiver: &Arc<Receiver>, request: Request<Body>) -> (u16, Response<()>, Vec<u8>) {
    let response = router(receiver.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status.as_u16(), Response::from_parts(parts, ()), body.to_vec())
}
