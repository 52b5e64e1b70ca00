//! Translates the section `limits` for the head and for queries.

use std::collections::HashMap;
use std::time::Duration;

use pharos_head::{SettingsByTenant, TenantLimits, TenantSettings};
use pharos_model::TenantId;
use pharos_querier::{LimitsByTenant, QueryFeatures, QueryLimits};

use crate::cli::QueryArgs;
use crate::config::{self, LimitsConfig};

/// The limits of each tenant in the head.
pub(super) fn head_settings(limits: &LimitsConfig) -> SettingsByTenant {
    SettingsByTenant {
        defaults: tenant_settings(&limits.defaults),
        own: own(limits, |limits| tenant_settings(&limits)),
    }
}

fn tenant_settings(limits: &config::TenantLimits) -> TenantSettings {
    TenantSettings {
        limits: TenantLimits {
            max_series: limits.max_series as usize,
            max_labels: limits.max_labels as usize,
            max_label_name_length: limits.max_label_name_length as usize,
            max_label_value_length: limits.max_label_value_length as usize,
        },
        out_of_order_window_ms: limits.out_of_order_time_window.as_millis() as i64,
        max_exemplars: limits.max_exemplars as usize,
    }
}

/// The limits of each tenant's queries.
pub(super) fn query_limits(args: &QueryArgs, limits: &LimitsConfig) -> LimitsByTenant {
    let limits_of = |tenant: &config::TenantLimits| tenant_query_limits(args, limits, tenant);
    LimitsByTenant { defaults: limits_of(&limits.defaults), own: own(limits, |limits| limits_of(&limits)) }
}

fn tenant_query_limits(args: &QueryArgs, limits: &LimitsConfig, tenant: &config::TenantLimits) -> QueryLimits {
    let or = |own: u64, default: u64| if own == 0 { default } else { own };
    let timeout = match tenant.query_timeout.as_duration() {
        Duration::ZERO => args.timeout,
        own => own.min(args.timeout),
    };
    let mut features = QueryFeatures::default();
    for name in &tenant.disabled_query_features {
        // The check of the configuration has refused unknown names.
        features.disable(name);
    }
    QueryLimits {
        timeout,
        max_memory_bytes: or(or(tenant.max_query_memory.0, limits.max_query_memory.0), u64::MAX),
        max_samples: or(tenant.max_query_samples, args.max_samples) as usize,
        max_series: tenant.max_query_series as usize,
        max_points: i64::try_from(or(tenant.max_query_points, 11_000)).unwrap_or(i64::MAX),
        max_total_points: tenant.max_query_total_points,
        max_concurrency: tenant.max_concurrent_queries as usize,
        max_queued: tenant.max_queued_queries as usize,
        features,
    }
}

/// The settings of tenants with overrides.
fn own<T>(limits: &LimitsConfig, make: impl Fn(config::TenantLimits) -> T) -> HashMap<TenantId, T> {
    let tenants = limits.overrides.keys().filter_map(|name| TenantId::new(name).ok());
    tenants.map(|tenant| (tenant.clone(), make(limits.of_tenant(&tenant)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn overrides_reach_the_head_and_the_queries() {
        let text = "limits:\n  max_query_memory: 1GB\n  defaults: {max_series: 10, max_query_points: 500}\n  overrides:\n    \
                    a: {max_series: 20, out_of_order_time_window: 1d, max_query_memory: 1MB, query_timeout: 1h, \
                    max_concurrent_queries: 1, max_query_total_points: 7, disabled_query_features: [promql-duration-expr]}\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yml");
        std::fs::write(&file, text).unwrap();
        let limits = config::Config::load(&file).unwrap().config.limits;
        let Command::Server(args) = Cli::try_parse_from_args(["pharos", "--query.timeout=30s"]).unwrap().command else {
            panic!("a server");
        };
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let head = head_settings(&limits);
        assert_eq!((head.of(&a).limits.max_series, head.of(&b).limits.max_series), (20, 10));
        assert_eq!((head.of(&a).out_of_order_window_ms, head.of(&b).out_of_order_window_ms), (86_400_000, 7_200_000));
        let queries = query_limits(&args.query, &limits);
        assert_eq!((queries.of(&a).max_memory_bytes, queries.of(&b).max_memory_bytes), (1 << 20, 1 << 30));
        assert_eq!((queries.of(&a).max_points, queries.of(&a).timeout.as_secs()), (500, 30));
        assert_eq!((queries.of(&a).max_concurrency, queries.of(&b).max_concurrency), (1, 0));
        assert_eq!((queries.of(&a).max_total_points, queries.of(&b).max_total_points), (7, 0));
        assert!(!queries.of(&a).features.duration_expressions && queries.of(&b).features.duration_expressions);
    }
}
