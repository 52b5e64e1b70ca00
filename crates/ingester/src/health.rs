//! Tells meta whether this node can write the samples that it receives, and whether its log has lost some.
//!
//! A node whose disk is full still answers meta. Without this, meta would let it learn its shards again and again, and each
//! attempt would make writers wait.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Ingester;

/// Watches the log, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    loop {
        ingester.meta.set_writable(ingester.head.log_failure().is_none());
        ingester.meta.set_incomplete(ingester.head.is_incomplete());
        tokio::select! {
            () = tokio::time::sleep(ingester.config.interval) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::{Cluster, batch, scrape, until};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_whose_log_cannot_be_written_says_so_until_it_can() {
        let cluster = Cluster::of(&["A"], 1).await;
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(run(cluster.node("A").clone(), stopped));
        // Without its folder, the log cannot create its first file.
        let folder = cluster.wipe("A");
        let tenant = pharos_model::TenantId::default();
        let (_, commit) = cluster.node("A").head().append(&tenant, &batch(&scrape(0))).unwrap();
        assert!(commit.await.is_err());
        until(|| !cluster.meta.is_writable()).await;
        std::fs::create_dir_all(folder).unwrap();
        until(|| cluster.meta.is_writable()).await;
        stop.send_replace(true);
        running.await.unwrap();
    }
}
