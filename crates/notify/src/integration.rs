//! An integration: one way in which a receiver is notified.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use pharos_config::ConfigError;

use crate::alert::Alert;
use crate::data::Data;
use crate::error::{FailureReason, NotifyError};
use crate::notification::Notification;
use crate::templates::{Renderer, Templates};

/// How long an attempt may take if nothing is configured.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// One way in which a receiver is notified. Clones are cheap.
#[derive(Clone)]
pub struct Integration {
    name: &'static str,
    index: usize,
    send_resolved: bool,
    /// How long an attempt may take; `None` if nothing is configured.
    timeout: Option<Duration>,
    notifier: Arc<dyn Notifier>,
    templates: Templates,
}

/// The section of an integration.
pub(crate) trait IntegrationConfig {
    /// The kind, as metrics and errors name it.
    const KIND: &'static str;

    /// Whether the integration wants to hear of resolved alerts.
    fn send_resolved(&self) -> bool;

    /// How long an attempt may take, if that can be configured and is.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Builds what sends notifications.
    ///
    /// # Errors
    /// A client cannot be built, or a file with a secret cannot be read.
    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError>;
}

impl fmt::Debug for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Integration").field(&self.to_string()).finish()
    }
}

/// Prints as `webhook[0]`.
impl fmt::Display for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name, self.index)
    }
}

/// Sends notifications to a service.
#[async_trait]
pub(crate) trait Notifier: Send + Sync {
    /// Sends a notification.
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError>;
}

/// A notification for a notifier.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) notification: &'a Notification,
    templates: &'a Templates,
}

impl<'a> Call<'a> {
    /// The data of the whole notification, and what expands templates with it.
    pub(crate) fn renderer(&self) -> Renderer<'a> {
        self.renderer_of(&self.notification.alerts)
    }

    /// The data of a notification about some of its alerts, and what expands templates with it.
    pub(crate) fn renderer_of(&self, alerts: &[Alert]) -> Renderer<'a> {
        let data = Data::new(self.notification, alerts, self.templates.external_url());
        Renderer::new(self.templates, data, self.notification.now)
    }
}

impl Integration {
    /// Builds the integration with number `index` of its kind.
    pub(crate) fn new<C: IntegrationConfig>(
        config: &C,
        index: usize,
        templates: &Templates,
    ) -> Result<Self, ConfigError> {
        Ok(Integration {
            name: C::KIND,
            index,
            send_resolved: config.send_resolved(),
            timeout: config.timeout(),
            notifier: config.notifier()?,
            templates: templates.clone(),
        })
    }

    /// The kind, such as `webhook`: the label `integration` of metrics.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The position among the integrations of its kind, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the integration wants to hear of resolved alerts.
    pub fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    /// Makes one attempt to send a notification. It ends within the configured timeout, or a minute.
    ///
    /// # Errors
    /// The attempt failed; the error says whether another one may succeed.
    pub fn notify<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), NotifyError>> {
        Box::pin(async move {
            let call = Call { notification, templates: &self.templates };
            let attempt = tokio::time::timeout(self.timeout.unwrap_or(ATTEMPT_TIMEOUT), self.notifier.notify(call));
            attempt.await.unwrap_or_else(|_| Err(self.timed_out()))
        })
    }

    fn timed_out(&self) -> NotifyError {
        let message = match self.timeout {
            Some(timeout) => {
                let timeout = pharos_gocompat::go_duration(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
                format!("context deadline exceeded: configured {} timeout reached ({timeout})", self.name)
            }
            None => "context deadline exceeded".to_string(),
        };
        NotifyError::temporary(FailureReason::ContextDeadlineExceeded, message)
    }
}
