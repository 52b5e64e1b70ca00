//! The settings that a reload cannot apply, because parts of the server take them when they start.

use crate::config::Config;

/// The changed settings that take effect only after a restart, compared with the configuration of the start.
pub(super) fn needed_for(at_start: &Config, now: &Config) -> Vec<&'static str> {
    let (old, new) = (&at_start.limits, &now.limits);
    let settings = [
        ("object_store", at_start.object_store != now.object_store),
        ("global.external_labels", at_start.global.external_labels != now.global.external_labels),
        ("global.evaluation_interval", at_start.global.evaluation_interval != now.global.evaluation_interval),
        ("storage.tsdb.retention", at_start.storage.tsdb.retention != now.storage.tsdb.retention),
        ("limits.max_head_memory", old.max_head_memory != new.max_head_memory),
        ("limits.max_request_size", old.max_request_size != new.max_request_size),
        (
            "limits.max_decompressed_request_size",
            old.max_decompressed_request_size != new.max_decompressed_request_size,
        ),
        ("limits.max_request_memory", old.max_request_memory != new.max_request_memory),
        ("limits.max_inflight_requests_size", old.max_inflight_requests_size != new.max_inflight_requests_size),
        ("limits.max_future_time", old.max_future_time != new.max_future_time),
    ];
    settings.into_iter().filter_map(|(name, has_changed)| has_changed.then_some(name)).collect()
}

/// Tells an operator about these settings; `None` when there are none.
pub(super) fn notice(settings: &[&str]) -> Option<String> {
    let settings = settings.join(", ");
    (!settings.is_empty()).then(|| format!("these changes take effect only after a restart: {settings}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_setting_that_only_a_restart_applies_is_named() {
        let config = Config::default();
        assert_eq!(notice(&needed_for(&config, &config)), None);
        let mut changed = Config::default();
        changed.global.external_labels.insert("dc".into(), "x".into());
        changed.limits.max_head_memory = pharos_config::ByteSize(1 << 30);
        changed.limits.defaults.max_series = 7;
        let expected = "these changes take effect only after a restart: global.external_labels, limits.max_head_memory";
        assert_eq!(notice(&needed_for(&config, &changed)).as_deref(), Some(expected));
    }
}
