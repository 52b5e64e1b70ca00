//! Keys of which one task at a time may be busy.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The keys that tasks are busy with.
#[derive(Default)]
pub(crate) struct Busy {
    keys: Mutex<HashSet<String>>,
    freed: Notify,
}

/// Frees a key when it is dropped.
pub(crate) struct BusyKey {
    busy: Arc<Busy>,
    key: String,
}

impl Busy {
    /// Waits until no other task is busy with a key.
    pub(crate) async fn acquire(self: &Arc<Self>, key: String) -> BusyKey {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that no wake-up is missed.
            freed.as_mut().enable();
            if self.keys.lock().insert(key.clone()) {
                return BusyKey { busy: self.clone(), key };
            }
            freed.await;
        }
    }
}

impl Drop for BusyKey {
    fn drop(&mut self) {
        self.busy.keys.lock().remove(&self.key);
        self.busy.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_by_one_task() {
        let busy = Arc::new(Busy::default());
        let first = busy.acquire("a".into()).await;
        let _other = busy.acquire("b".into()).await;
        let second = tokio::spawn({
            let busy = busy.clone();
            async move { busy.acquire("a".into()).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        let _held = second.await.unwrap();
        assert_eq!(busy.keys.lock().len(), 2);
    }
}
