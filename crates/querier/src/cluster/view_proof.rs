//! The proof that the view of a query was current when the query began. It runs beside the first reads: a view is nearly always
//! current, and reads under one that was not are repeated.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use pharos_cluster::{Unproven, View};

use super::ClusterParts;

/// A proof that may be under way. Clones share it.
#[derive(Clone)]
pub(crate) struct ViewProof(Shared<BoxFuture<'static, Outcome>>);

#[derive(Clone)]
struct Outcome {
    view: Result<View, Unproven>,
    took: Duration,
}

impl ViewProof {
    /// Begins a proof, which goes on while someone waits for it.
    pub(crate) fn begin(parts: &ClusterParts) -> Self {
        let (proofs, clock, metrics) = (parts.proofs.clone(), parts.clock.clone(), parts.metrics.clone());
        let proving = async move {
            let began = clock.monotonic();
            let view = proofs.prove().await.inspect_err(|_| metrics.unproven.inc());
            Outcome { view, took: clock.monotonic().saturating_sub(began) }
        };
        ViewProof(proving.boxed().shared())
    }

    /// Waits for the proof, and returns a view that includes everything that was agreed on before the query.
    pub(crate) async fn settle(&self) -> Result<View, Unproven> {
        self.0.clone().await.view
    }

    /// Why there is no proof, once that is known.
    pub(crate) fn failure(&self) -> Option<&Unproven> {
        self.0.peek().and_then(|outcome| outcome.view.as_ref().err())
    }

    /// How long the proof took, once it is settled.
    pub(crate) fn took(&self) -> Duration {
        self.0.peek().map_or(Duration::ZERO, |outcome| outcome.took)
    }
}

/// Whether reads of a tenant are the same under two views: the shards have the same replicas, and the same blocks and deletions
/// are listed.
pub(crate) fn read_alike(tenant: &str, one: &View, other: &View) -> bool {
    let have_same_replicas = || {
        let pairs = || one.shards.iter().zip(other.shards.iter());
        one.shards.len() == other.shards.len() && pairs().all(|(one, other)| one.epoch == other.epoch)
    };
    let have_same_blocks = || match (one.catalogue.tenant(tenant), other.catalogue.tenant(tenant)) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    one.incarnation == other.incarnation && (one.version == other.version || have_same_replicas() && have_same_blocks())
}
