//! How many remote reads run at a time.

use std::sync::Arc;
use std::time::Duration;

use pharos_querier::AdmissionError;
use pharos_querier::queue::{FairQueue, Full, Party, Turn};

/// Grants permits to remote reads. Parties take turns, and none has all permits.
pub(crate) struct RemoteReads {
    queue: Arc<FairQueue>,
    /// The most permits that a party has at a time; 0 means no limit.
    of_a_tenant: usize,
}

impl RemoteReads {
    /// Runs `concurrency` reads at a time; 0 means no limit.
    pub(crate) fn new(concurrency: usize) -> Self {
        let most = if concurrency == 0 { usize::MAX } else { concurrency };
        RemoteReads { queue: FairQueue::new(most), of_a_tenant: concurrency - concurrency / 4 }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// There was none within `timeout`, or too many reads of the party wait.
    pub(crate) async fn admit(
        &self,
        party: &Party,
        max_waiting: usize,
        timeout: Duration,
    ) -> Result<Turn, AdmissionError> {
        let waiting = FairQueue::enter(&self.queue, party, self.of_a_tenant, max_waiting);
        let waiting = waiting.map_err(|Full { limit }| AdmissionError::QueueFull { party: party.clone(), limit })?;
        match tokio::time::timeout(timeout, waiting).await {
            Ok(turn) => turn.ok_or(AdmissionError::Stopping),
            Err(_) => Err(AdmissionError::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::TenantId;

    use super::*;

    #[tokio::test]
    async fn slow_reads_of_one_tenant_leave_permits_to_others() {
        let reads = RemoteReads::new(10);
        let party = |name| Party::Tenant(TenantId::new(name).unwrap());
        let (slow, other) = (party("slow"), party("other"));
        let soon = Duration::from_millis(10);
        let mut held = Vec::new();
        while let Ok(turn) = reads.admit(&slow, 0, soon).await {
            held.push(turn);
        }
        assert_eq!(held.len(), 8);
        assert!(reads.admit(&other, 0, soon).await.is_ok());
        held.clear();
        assert!(reads.admit(&slow, 0, soon).await.is_ok());
    }
}
