//! Lists the windows with unflushed samples, from which other replicas conclude what is in blocks.

use pharos_transport::ingest_v1::{ShardEpoch, UnflushedRequest, UnflushedResponse, UnflushedWindow};
use tonic::Status;

use super::shard_epochs;
use crate::Ingester;

pub(super) fn answer(ingester: &Ingester, request: &UnflushedRequest) -> Result<UnflushedResponse, Status> {
    let asked = shard_epochs(ingester, &request.shards)?;
    let mut answer = UnflushedResponse::default();
    let mut current = pharos_model::ShardSet::new();
    {
        let (view, admission) = (ingester.meta.view(), ingester.fence.admit());
        for (shard, epoch) in asked {
            match admission.check(&view, shard, epoch) {
                // A node that lost samples does not know which.
                Ok(()) if ingester.lost.lock().contains_key(&shard) => answer.stale.push(ShardEpoch { shard, epoch }),
                Ok(()) => _ = current.insert(shard),
                Err(epoch) => answer.stale.push(ShardEpoch { shard, epoch }),
            }
        }
    }
    for tenant in ingester.head.tenants() {
        for window in ingester.head.windows(&tenant) {
            let unflushed = window.unflushed().intersection(&current);
            if !unflushed.is_empty() {
                let (tenant, shards) = (tenant.as_str().to_string(), unflushed.iter().collect());
                answer.windows.push(UnflushedWindow { tenant, window: window.start, shards });
            }
        }
    }
    // Read last, so that it lists the blocks of everything that was flushed above.
    let view = ingester.meta.view();
    (answer.incarnation, answer.version) = (view.incarnation, view.version);
    Ok(answer)
}
