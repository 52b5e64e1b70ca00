//! `--enable-feature`: the feature names of Prometheus. Most features are always on; code asks for the others with
//! [`Features::has`]. An unknown name is a warning, as in Prometheus.

use std::collections::BTreeSet;

/// Names that some version of Prometheus accepts.
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

/// Names of optimizations inside Prometheus. They have no equivalent here.
const WITHOUT_EFFECT: [&str; 4] = ["st-synthesis", "use-uncached-io", "xor2-encoding", "zstd-scrape"];

/// The features that the command line enables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// Collects the values of all `--enable-feature` flags, each a comma-separated list.
    pub(super) fn new(flags: &[String]) -> Self {
        let names = flags.iter().flat_map(|flag| flag.split(',')).map(str::trim);
        Features(names.filter(|name| !name.is_empty()).map(str::to_string).collect())
    }

    /// Whether a feature is enabled.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The enabled names in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// One warning per unknown name, with the nearest known one.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known = || KNOWN.into_iter().chain(WITHOUT_EFFECT);
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
    fn repeated_flags_add_up() {
        let features = Features::new(&["exemplar-storage, native-histograms".into(), "old-ui,".into()]);
        assert!(features.has("old-ui") && features.has("native-histograms"));
        assert_eq!(features.iter().count(), 3);
        assert!(features.warnings().is_empty());
    }

    #[test]
    fn an_unknown_name_is_a_warning_with_the_nearest_one() {
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
