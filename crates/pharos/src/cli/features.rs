//! `--enable-feature`: the names that Prometheus knows. What a name switches on is on already or asked for by
//! [`Features::has`]; unknown names are a warning, as in Prometheus.

use std::collections::BTreeSet;

/// Names that Prometheus 3 takes, or took until 3.0.
const KNOWN: [&str; 32] = [
    "agent",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "auto-reload-config",
    "concurrent-rule-eval",
    "created-timestamp-zero-ingestion",
    "delayed-compaction",
    "exemplar-storage",
    "expand-external-labels",
    "extra-scrape-metrics",
    "histograms-st-encoding",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "native-histograms",
    "new-service-discovery-manager",
    "no-default-scrape-port",
    "old-ui",
    "openmetrics2",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "promql-at-modifier",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-duration-expr",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-negative-offset",
    "promql-per-step-stats",
    "search-api",
    "st-storage",
    "type-and-unit-labels",
    "use-start-timestamps",
];

/// Names about how Prometheus stores or transfers data, which mean nothing here.
const WITHOUT_MEANING: [&str; 4] = ["st-synthesis", "use-uncached-io", "xor2-encoding", "zstd-scrape"];

/// The features that are switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// From the values of all `--enable-feature` flags, each a list with commas.
    pub(super) fn new(flags: &[String]) -> Self {
        let names = flags.iter().flat_map(|flag| flag.split(',')).map(str::trim);
        Features(names.filter(|name| !name.is_empty()).map(str::to_string).collect())
    }

    /// Whether the feature is switched on.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// A warning for each name that nobody knows.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known = || KNOWN.into_iter().chain(WITHOUT_MEANING);
        let unknown = self.iter().filter(|name| !known().any(|k| k == *name));
        unknown
            .map(|name| {
                let meant = crate::text::nearest(name, known());
                let hint = meant.map_or(String::new(), |meant| format!(", did you mean {meant}?"));
                format!("unknown feature {name:?} in --enable-feature{hint}")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_repeated_flags_add_up() {
        let features = Features::new(&["exemplar-storage, native-histograms".into(), "old-ui,".into()]);
        assert!(features.has("old-ui") && features.has("native-histograms"));
        assert_eq!(features.iter().count(), 3);
        assert!(features.warnings().is_empty());
    }

    #[test]
    fn unknown_names_are_warnings() {
        let features = Features::new(&["exemplar-storag".into(), "zzz".into()]);
        assert_eq!(
            features.warnings(),
            [
                r#"unknown feature "exemplar-storag" in --enable-feature, did you mean exemplar-storage?"#,
                r#"unknown feature "zzz" in --enable-feature"#
            ]
        );
    }
}
