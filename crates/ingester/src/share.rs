//! Keeps this node's share of the limits of tenants in step with the shards that it holds.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Ingester;

/// Follows the views, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let mut views = ingester.meta.watch();
    let mut known = 0;
    loop {
        let held = views.borrow_and_update().shards_of(&ingester.config.identity).count() as u32;
        // A node without shards takes no samples. Its share matters once it has some.
        if held > 0 && held != known {
            ingester.head.set_held_shards(held);
            known = held;
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}
