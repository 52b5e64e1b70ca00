//! The targets of all agents, local and remote, in the format of the HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_api::services::{ActiveTarget, DroppedTarget, TargetMetadata, Targets};
use pharos_gocompat::format_duration;
use pharos_model::{Labels, MetricType};
use pharos_scrape::{RemoteAgents, Scraper};
use pharos_transport::agent_v1::{self as wire, TargetsPart, TargetsRequest};

/// The agents of the cluster.
pub(super) struct AllTargets {
    /// Identity of this node.
    pub(super) node: String,
    /// The agent of this process, if any.
    pub(super) local: Option<Arc<Scraper>>,
    /// Agents of other nodes; none in a cluster of one.
    pub(super) others: Option<RemoteAgents>,
}

/// What turns the URL of a target on this machine into one that others can reach.
pub(super) struct ExternalUrl {
    /// The URL at which users reach this server.
    pub(super) url: String,
    /// The port of the first listener.
    pub(super) own_port: u16,
}

impl ExternalUrl {
    /// The URL of a target as others see it: this server's own becomes the external one, and another port of this machine
    /// gets the host of the external one.
    pub(super) fn of_target(&self, target: &str) -> String {
        let Some((scheme, rest)) = target.split_once("://") else { return target.into() };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority);
        if !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
            return target.into();
        }
        let (own_scheme, own_rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let own_authority = own_rest.split('/').next().unwrap_or(own_rest);
        match port {
            Some(port) if port == self.own_port.to_string() => format!("{own_scheme}://{own_authority}{path}"),
            Some(port) => format!("{scheme}://{}:{port}{path}", split_port(own_authority).0),
            None => format!("{scheme}://{}{path}", split_port(own_authority).0),
        }
    }
}

/// Splits `host:port`, where an IPv6 host keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The merged reports of agents.
#[derive(Default)]
pub(super) struct TargetReports {
    /// By pool, URL and labels, because two agents may report a target while it moves.
    active: BTreeMap<(String, String, Labels), wire::ActiveTarget>,
    /// By pool. Every agent drops the same targets.
    dropped: BTreeMap<String, (Vec<Labels>, u64)>,
    warnings: Vec<String>,
}

impl AllTargets {
    /// Queries all agents concurrently. An agent that fails adds a warning.
    pub(super) async fn all(&self, request: &TargetsRequest) -> TargetReports {
        let mut reports = TargetReports::default();
        if let Some(local) = &self.local {
            reports.add(local.targets(request));
        }
        let Some(others) = &self.others else { return reports };
        for (agent, answer) in others.all_targets(Some(&self.node), request).await {
            match answer {
                Ok(parts) => reports.add(parts),
                Err(status) => {
                    let reason = status.message();
                    reports.warnings.push(format!("targets of agent {agent} are missing: {reason}"));
                }
            }
        }
        reports
    }
}

fn labels(canonical: &[u8]) -> Labels {
    Labels::from_canonical(canonical).unwrap_or_default()
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

impl TargetReports {
    fn add(&mut self, parts: Vec<TargetsPart>) {
        for part in parts {
            let (dropped, count) = self.dropped.entry(part.pool.clone()).or_default();
            if part.dropped.len() > dropped.len() {
                *dropped = part.dropped.iter().map(|canonical| labels(canonical)).collect();
            }
            *count = part.dropped_count.max(*count);
            for target in part.active {
                let key = (part.pool.clone(), target.url.clone(), labels(&target.labels));
                let known = self.active.get(&key).and_then(|known| known.last_scrape_ms);
                if known.is_none() || known < target.last_scrape_ms {
                    self.active.insert(key, target);
                }
            }
        }
    }

    /// The response of `/api/v1/targets`.
    pub(super) fn into_targets(self, external: &ExternalUrl) -> Targets {
        let shown = |((pool, _, labels), target)| active_target(pool, &labels, target, external);
        let active = self.active.into_iter().map(shown);
        let mut shown = Targets { active: active.collect(), warnings: self.warnings, ..Targets::default() };
        for (pool, (dropped, count)) in self.dropped {
            let target = |labels| DroppedTarget { discovered_labels: map(&labels), scrape_pool: pool.clone() };
            shown.dropped.extend(dropped.into_iter().map(target));
            shown.dropped_counts.insert(pool.clone(), count as usize);
            shown.pools.push(pool);
        }
        shown
    }

    /// The response of `/api/v1/targets/metadata`.
    pub(super) fn into_metadata(self) -> Vec<TargetMetadata> {
        let of_target = |((_, _, labels), target): ((String, String, Labels), wire::ActiveTarget)| {
            target.metadata.into_iter().map(move |family| TargetMetadata {
                target: labels.clone(),
                metric: family.name,
                kind: MetricType::parse(&family.kind).unwrap_or_default(),
                help: family.help,
                unit: family.unit,
            })
        };
        self.active.into_iter().flat_map(of_target).collect()
    }
}

fn active_target(
    pool: String,
    target_labels: &Labels,
    target: wire::ActiveTarget,
    external: &ExternalUrl,
) -> ActiveTarget {
    let duration = |ms: u64| format_duration(i64::try_from(ms).unwrap_or(i64::MAX));
    ActiveTarget {
        discovered_labels: map(&labels(&target.discovered)),
        labels: map(target_labels),
        scrape_pool: pool,
        global_url: external.of_target(&target.url),
        scrape_url: target.url,
        last_error: target.last_error,
        last_scrape: target.last_scrape_ms.map_or_else(super::services::never, super::services::rfc3339),
        last_scrape_duration: target.last_duration,
        health: target.health,
        scrape_interval: duration(target.interval_ms),
        scrape_timeout: duration(target.timeout_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, last_scrape_ms: Option<i64>) -> wire::ActiveTarget {
        let labels = Labels::from_pairs([("job", "j")]).as_bytes().to_vec();
        let metadata = vec![wire::Family { name: "m".into(), kind: "counter".into(), ..wire::Family::default() }];
        let (url, interval_ms) = (url.to_string(), 15_000);
        wire::ActiveTarget { labels: labels.into(), url, interval_ms, last_scrape_ms, metadata, ..Default::default() }
    }

    #[test]
    fn the_urls_of_local_targets_are_those_that_others_can_reach() {
        let external = ExternalUrl { url: "https://metrics.example.com:8443/prom".into(), own_port: 9090 };
        for (target, global) in [
            ("http://localhost:9090/metrics", "https://metrics.example.com:8443/metrics"),
            ("http://127.0.0.1:9100/metrics?a=b", "http://metrics.example.com:9100/metrics?a=b"),
            ("http://[::1]:9100/metrics", "http://metrics.example.com:9100/metrics"),
            ("http://localhost/metrics", "http://metrics.example.com/metrics"),
            ("http://db-1:9090/metrics", "http://db-1:9090/metrics"),
            ("http://[fe80::1]:9090/metrics", "http://[fe80::1]:9090/metrics"),
        ] {
            assert_eq!(external.of_target(target), global);
        }
    }

    #[test]
    fn reports_of_agents_are_merged() {
        let dropped = vec![Labels::from_pairs([("x", "y")]).as_bytes().to_vec().into()];
        let part = |active| TargetsPart { pool: "p".into(), active, ..TargetsPart::default() };
        let mut reports = TargetReports::default();
        reports.add(vec![TargetsPart { dropped: dropped.clone(), dropped_count: 3, ..part(vec![]) }]);
        reports.add(vec![part(vec![target("http://b/", None), target("http://a/", Some(5))])]);
        reports.add(vec![TargetsPart { dropped, dropped_count: 3, ..part(vec![target("http://b/", Some(7))]) }]);
        reports.add(vec![part(vec![target("http://b/", None)])]);
        reports.warnings.push("w".into());
        let shown = reports.into_targets(&ExternalUrl { url: "http://a/".into(), own_port: 9090 });
        let active: Vec<_> = shown.active.iter().map(|t| (t.scrape_url.as_str(), t.last_scrape.as_str())).collect();
        assert_eq!(active, [("http://a/", "1970-01-01T00:00:00.005Z"), ("http://b/", "1970-01-01T00:00:00.007Z")]);
        assert_eq!((shown.active[0].scrape_interval.as_str(), shown.dropped.len()), ("15s", 1));
        assert_eq!((shown.pools, shown.dropped_counts["p"]), (vec!["p".to_string()], 3));
        let mut reports = TargetReports::default();
        reports.add(vec![part(vec![target("http://a/", None)])]);
        let rows = reports.into_metadata();
        assert_eq!((rows.len(), rows[0].metric.as_str(), rows[0].kind), (1, "m", MetricType::Counter));
    }
}
