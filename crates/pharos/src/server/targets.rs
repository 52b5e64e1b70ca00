//! The targets of all agents in the shape of the HTTP API: those of this process and those that other nodes tell of.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_api::services::{ActiveTarget, DroppedTarget, TargetMetadata, Targets};
use pharos_gocompat::format_duration;
use pharos_model::{Labels, MetricType};
use pharos_scrape::{Agent, RemoteAgents};
use pharos_transport::agent_v1::{self as wire, TargetsPart, TargetsRequest};

/// Where targets are scraped.
pub(super) struct AllTargets {
    /// Who this node is.
    pub(super) node: String,
    /// The agent of this process.
    pub(super) local: Option<Arc<Agent>>,
    /// The others, if there may be some.
    pub(super) others: Option<RemoteAgents>,
}

/// What agents told.
#[derive(Default)]
pub(super) struct Told {
    /// By pool, URL and labels: while a target moves, two agents may show it.
    active: BTreeMap<(String, String, Labels), wire::ActiveTarget>,
    /// Of each pool. Every agent drops the same targets.
    dropped: BTreeMap<String, (Vec<Labels>, u64)>,
    warnings: Vec<String>,
}

impl AllTargets {
    /// Asks all agents at once.
    pub(super) async fn all(&self, request: &TargetsRequest) -> Told {
        let mut told = Told::default();
        if let Some(local) = &self.local {
            told.add(local.targets(request));
        }
        let Some(others) = &self.others else { return told };
        for (agent, answer) in others.all_targets(Some(&self.node), request).await {
            match answer {
                Ok(parts) => told.add(parts),
                Err(status) => {
                    let reason = status.message();
                    told.warnings.push(format!("the targets of agent {agent} are missing: {reason}"));
                }
            }
        }
        told
    }
}

fn labels(canonical: &[u8]) -> Labels {
    Labels::from_canonical(canonical).unwrap_or_default()
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

impl Told {
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

    /// For `targets`.
    pub(super) fn shown(self) -> Targets {
        let active = self.active.into_iter().map(|((pool, _, labels), target)| active_target(pool, &labels, target));
        let mut shown = Targets { active: active.collect(), warnings: self.warnings, ..Targets::default() };
        for (pool, (dropped, count)) in self.dropped {
            let target = |labels| DroppedTarget { discovered_labels: map(&labels), scrape_pool: pool.clone() };
            shown.dropped.extend(dropped.into_iter().map(target));
            shown.dropped_counts.insert(pool.clone(), count as usize);
            shown.pools.push(pool);
        }
        shown
    }

    /// For `targets/metadata`.
    pub(super) fn metadata(self) -> Vec<TargetMetadata> {
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

fn active_target(pool: String, target_labels: &Labels, target: wire::ActiveTarget) -> ActiveTarget {
    let duration = |ms: u64| format_duration(i64::try_from(ms).unwrap_or(i64::MAX));
    ActiveTarget {
        discovered_labels: map(&labels(&target.discovered)),
        labels: map(target_labels),
        scrape_pool: pool,
        global_url: target.url.clone(),
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
    fn what_agents_tell_is_united() {
        let dropped = vec![Labels::from_pairs([("x", "y")]).as_bytes().to_vec().into()];
        let part = |active| TargetsPart { pool: "p".into(), active, ..TargetsPart::default() };
        let mut told = Told::default();
        told.add(vec![TargetsPart { dropped: dropped.clone(), dropped_count: 3, ..part(vec![]) }]);
        told.add(vec![part(vec![target("http://b/", None), target("http://a/", Some(5))])]);
        told.add(vec![TargetsPart { dropped, dropped_count: 3, ..part(vec![target("http://b/", Some(7))]) }]);
        told.add(vec![part(vec![target("http://b/", None)])]);
        told.warnings.push("w".into());
        let shown = told.shown();
        let active: Vec<_> = shown.active.iter().map(|t| (t.scrape_url.as_str(), t.last_scrape.as_str())).collect();
        assert_eq!(active, [("http://a/", "1970-01-01T00:00:00.005Z"), ("http://b/", "1970-01-01T00:00:00.007Z")]);
        assert_eq!((shown.active[0].scrape_interval.as_str(), shown.dropped.len()), ("15s", 1));
        assert_eq!((shown.pools, shown.dropped_counts["p"]), (vec!["p".to_string()], 3));
        let mut told = Told::default();
        told.add(vec![part(vec![target("http://a/", None)])]);
        let rows = told.metadata();
        assert_eq!((rows.len(), rows[0].metric.as_str(), rows[0].kind), (1, "m", MetricType::Counter));
    }
}
