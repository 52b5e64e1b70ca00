//! The ruler, and the notifier that sends its alerts.

use std::sync::Arc;

use pharos_api::Api;
use pharos_model::Clock;
use pharos_ruler::{
    AlertSink, MemberAlertmanagers, Notifier, NotifierConfig, OwnAlertmanagers, Ownership, Ruler, RulerComponents,
    RulerConfig, StoredRules,
};
use pharos_transport::Ingest;

use super::Parts;
use crate::alertmanager::AlertmanagerHandle;
use crate::cli;
use crate::config::Loaded;
use crate::server::membership::Membership;
use crate::server::rules::{ApiEngine, RulerRole, notifier_rules, rule_set};

/// Creates the ruler; none if this node does not have the role.
pub(super) fn ruler(
    parts: &Parts<'_>,
    loaded: &Loaded,
    membership: &Membership,
    api: &Arc<Api>,
    ingest: &Arc<dyn Ingest>,
    alertmanager: Option<AlertmanagerHandle>,
    stored: StoredRules,
) -> Result<Option<Arc<RulerRole>>, String> {
    let args = parts.args;
    if !args.roles.has(cli::Role::Ruler) {
        return Ok(None);
    }
    let is_concurrent = args.features().has("concurrent-rule-eval");
    let config = RulerConfig {
        outage_tolerance: args.rules.outage_tolerance,
        grace_period: args.rules.grace_period,
        resend_delay: args.rules.resend_delay,
        max_concurrent_evals: is_concurrent.then_some(args.rules.max_concurrent_evals as usize),
    };
    let sending = NotifierConfig {
        queue_capacity: args.rules.queue_capacity as usize,
        batch_size: args.rules.batch_size as usize,
        drain: args.rules.drain,
    };
    let (clock, registry) = (parts.clock.clone(), &parts.registry);
    let built_in = alertmanager.map(|handle| (handle.url().to_string(), Arc::new(handle) as Arc<dyn AlertSink>));
    let members = membership.is_open().then(|| MemberAlertmanagers {
        node: membership.identity.clone(),
        views: membership.meta.watch(),
        connect: membership.connect(),
    });
    let own = OwnAlertmanagers { built_in, members };
    let notifier = Notifier::create(sending, notifier_rules(loaded), own, clock, registry)?;
    let (ownership, clock): (_, Arc<dyn Clock>) = match membership.is_open() {
        true => {
            (Ownership::in_cluster(&membership.identity, &membership.meta), membership.meta.cluster_clock().clone())
        }
        false => (Ownership::everything(), parts.clock.clone()),
    };
    let components = RulerComponents {
        engine: Arc::new(ApiEngine::new(api.clone())),
        ingest: ingest.clone(),
        alerts: notifier.clone(),
        ownership,
        clock,
        registry: parts.registry.clone(),
    };
    let rules = rule_set(loaded, &args.web.external_url());
    let ruler = Ruler::create(config, components, rules).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(RulerRole { ruler, notifier, stored })))
}
