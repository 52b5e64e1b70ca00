//! The width of windows, on which the ingesters of a cluster agree.
//!
//! The cluster's state has the width. An ingester whose flag says another one changes it for all ingesters that start from then
//! on; an ingester without the flag uses what the cluster has. A change is safe at any time: the log of each ingester knows
//! from when on which width holds.

use std::time::Duration;

use pharos_cluster::Command;

use super::membership::Membership;
use super::meta_retry::until_answered;
use crate::cli::ServerArgs;

/// The width of windows of this node, milliseconds. Proposes the width of the flag if the cluster should have it.
pub(super) async fn width_ms(args: &ServerArgs, membership: &Membership) -> Result<i64, String> {
    let flag_ms = args.storage.min_block_duration.as_millis() as i64;
    let agreed_ms = membership.meta.view().window_ms;
    // A cluster of one has no other node to agree with.
    let is_decided_here = args.storage.is_window_given || !membership.is_open();
    let (flag, agreed) = (width(flag_ms), width(agreed_ms));
    match agreed_ms {
        0 => {}
        _ if agreed_ms == flag_ms => return Ok(flag_ms),
        _ if is_decided_here => tracing::warn!(
            ?agreed,
            ?flag,
            "changing the width of windows to that of --storage.tsdb.min-block-duration; other ingesters follow when they restart"
        ),
        _ => {
            tracing::info!(?agreed, default = ?flag, "using the cluster's width of windows");
            return Ok(agreed_ms);
        }
    }
    let proposed = until_answered("agreeing on the width of windows", || {
        membership.meta.propose(Command::SetWindow { window_ms: flag_ms })
    });
    if let Err(error) = proposed.await {
        tracing::warn!(error, width = ?flag, "the cluster cannot record the width of windows; this node uses it nevertheless");
    }
    Ok(flag_ms)
}

fn width(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}
