//! One Alertmanager: a bounded queue of alerts and the task that sends them in batches.
//!
//! A batch that fails is dropped, as in Prometheus: alerts that still fire are sent again after the resend delay, and those
//! that were resolved for a quarter of an hour.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use parking_lot::Mutex;
use pharos_http_client::{HttpClient, HttpRequest};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::{Shared, payload};
use crate::components::OutgoingAlert;

/// The limit on what is read of a response, bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Sends a body to an Alertmanager.
#[async_trait]
pub(super) trait Post: Send + Sync + 'static {
    /// Sends a body.
    ///
    /// # Errors
    /// The Alertmanager did not take it in time.
    async fn post(&self, url: &str, body: Bytes) -> Result<(), String>;
}

/// Sends bodies by HTTP.
pub(super) struct HttpPost {
    pub(super) client: HttpClient,
    pub(super) timeout: Duration,
}

#[async_trait]
impl Post for HttpPost {
    async fn post(&self, url: &str, body: Bytes) -> Result<(), String> {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let request = HttpRequest { method: Method::POST, url: url.to_string(), shown_url: None, headers, body };
        let sent = tokio::time::timeout(self.timeout, self.client.send(request, MAX_RESPONSE_BYTES)).await;
        let late = || format!("Post {url:?}: context deadline exceeded");
        let response = sent.map_err(|_| late())?.map_err(|error| error.to_string())?;
        match response.status {
            200..300 => Ok(()),
            status => Err(format!("bad response status {status}")),
        }
    }
}

/// An Alertmanager that gets alerts.
pub(super) struct Destination {
    queue: Arc<Queue>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The alerts that wait for an Alertmanager.
struct Queue {
    url: String,
    alerts: Mutex<VecDeque<Arc<OutgoingAlert>>>,
    has_work: Notify,
    shared: Arc<Shared>,
}

impl Destination {
    /// Starts to send to an Alertmanager.
    pub(super) fn start(url: &str, post: Arc<dyn Post>, shared: Arc<Shared>) -> Destination {
        shared.metrics.announce(url);
        let url = url.to_string();
        let queue = Arc::new(Queue { url, alerts: Mutex::default(), has_work: Notify::new(), shared });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(queue.clone().run(post, stopped));
        Destination { queue, stop, task }
    }

    /// Queues alerts. If there is no room, the oldest are dropped.
    pub(super) fn add(&self, alerts: &[Arc<OutgoingAlert>]) {
        let queue = &self.queue;
        let capacity = queue.shared.config.queue_capacity;
        let mut waiting = queue.alerts.lock();
        waiting.extend(alerts.iter().cloned());
        let excess = waiting.len().saturating_sub(capacity);
        waiting.drain(..excess);
        queue.shared.metrics.set_queue_length(&queue.url, waiting.len());
        drop(waiting);
        if excess > 0 {
            queue.shared.metrics.dropped(&queue.url, excess);
            tracing::warn!(alertmanager = queue.url, alerts = excess, "dropping alerts: the queue is full");
        }
        queue.has_work.notify_one();
    }

    /// Ends the task. Alerts that wait are sent if the configuration says so.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(alertmanager = self.queue.url, %error, "the task that sends alerts panicked");
        }
    }
}

impl Queue {
    async fn run(self: Arc<Self>, post: Arc<dyn Post>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = self.has_work.notified() => {}
            }
            while !*stopped.borrow() && self.send_batch(&*post).await.is_some() {}
        }
        // A server that fails now would hold up the end of the process once a batch.
        while self.shared.config.drain && self.send_batch(&*post).await == Some(true) {}
        let left = self.alerts.lock().len();
        if left > 0 {
            tracing::warn!(alertmanager = self.url, alerts = left, "dropping alerts that wait: no more are sent");
        }
        self.shared.metrics.forget(&self.url);
    }

    /// Sends the alerts that wait, up to the size of a batch. Returns whether that succeeded; `None` if none wait.
    async fn send_batch(&self, post: &dyn Post) -> Option<bool> {
        let batch: Vec<Arc<OutgoingAlert>> = {
            let mut waiting = self.alerts.lock();
            let size = waiting.len().min(self.shared.config.batch_size.max(1));
            let batch = waiting.drain(..size).collect();
            self.shared.metrics.set_queue_length(&self.url, waiting.len());
            batch
        };
        if batch.is_empty() {
            return None;
        }
        let began = self.shared.clock.monotonic();
        let sent = match payload::body(&batch) {
            Ok(body) => post.post(&self.url, body).await,
            Err(error) => Err(error.to_string()),
        };
        let metrics = &self.shared.metrics;
        match &sent {
            Ok(()) => {
                let seconds = self.shared.clock.monotonic().saturating_sub(began).as_secs_f64();
                metrics.sent(&self.url, batch.len(), seconds);
            }
            Err(error) => {
                metrics.failed(&self.url, batch.len());
                metrics.dropped(&self.url, batch.len());
                tracing::error!(
                    alertmanager = self.url,
                    alerts = batch.len(),
                    error,
                    "could not send alerts; dropping them"
                );
            }
        }
        Some(sent.is_ok())
    }
}

#[cfg(test)]
mod tests;
