//! The loops of a running Alertmanager: flushing groups, removing what is past its time, and writing snapshots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::delivery::deliver;
use crate::engine::Engine;

/// How long a stop waits for attempts that are under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs all loops until `stop` becomes true. Then finishes attempts that are under way and writes snapshots.
pub async fn run(engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let mut loops = JoinSet::new();
    loops.spawn(flush_groups(engine.clone(), stop.clone()));
    loops.spawn(collect_alerts(engine.clone()));
    loops.spawn(maintain(engine.clone()));
    // A sender that is gone has stopped, too.
    drop(stop.wait_for(|is_stopped| *is_stopped).await);
    engine.stop();
    // The first loop ends by itself, the others do not.
    let _first = tokio::time::timeout(DRAIN_TIMEOUT + Duration::from_secs(1), loops.join_next()).await;
    loops.shutdown().await;
    engine.maintain().await;
}

/// Flushes groups when they are due.
async fn flush_groups(engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let mut flushes = JoinSet::new();
    loop {
        let (due, active, next) = engine.take_due();
        for flush in due {
            let Some(active) = active.clone() else { continue };
            let engine = engine.clone();
            flushes.spawn(async move {
                let is_success = deliver(&engine, &active, &flush).await;
                engine.finish(&flush, is_success);
            });
        }
        let until_next = engine.clock.sleep_until(next.unwrap_or(Duration::MAX));
        tokio::select! {
            () = until_next => {}
            () = engine.changed.notified() => {}
            Some(ended) = flushes.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a flush ended unexpectedly");
                }
            }
            _ = stop.wait_for(|is_stopped| *is_stopped) => break,
        }
    }
    let drained = async { while flushes.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("notifications that were under way are given up; they are sent after the restart");
    }
}

async fn collect_alerts(engine: Arc<Engine>) {
    loop {
        engine.clock.sleep(engine.settings.alert_gc_interval).await;
        engine.collect_alerts();
    }
}

async fn maintain(engine: Arc<Engine>) {
    loop {
        engine.clock.sleep(engine.settings.maintenance_interval).await;
        engine.maintain().await;
    }
}
