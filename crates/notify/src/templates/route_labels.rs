//! The labels of a route, whose values are templates.

use std::collections::BTreeMap;

use super::{Renderer, Templates};
use crate::data::Data;
use crate::notification::Notification;

impl Templates {
    /// Expands the labels of the route of a notification with its data. A label that cannot be expanded is logged and
    /// omitted.
    pub fn expand_route_labels(&self, notification: &Notification) -> BTreeMap<String, String> {
        let data = Data::new(notification, &notification.alerts, self.external_url());
        let renderer = Renderer::new(self, data, notification.now);
        let mut labels = BTreeMap::new();
        for (name, template) in &notification.route_labels {
            match renderer.text(template) {
                Ok(value) => drop(labels.insert(name.clone(), value)),
                Err(error) => {
                    tracing::error!(label = name, template, %error, "omitting a route label that cannot be expanded")
                }
            }
        }
        labels
    }
}
