//! `--enable-feature`: the feature names of Prometheus. Most features are always on; code asks for the others with
//! [`Features::has`]. A name that is unknown or does nothing is a warning.

use std::collections::BTreeSet;

/// What naming a feature changes.
#[derive(Clone, Copy)]
enum Effect {
    /// The feature is off unless it is named. Code asks for it with [`Features::has`].
    Switch,
    /// The feature is on, whether it is named or not.
    AlwaysOn,
    /// Nothing, for the reason given.
    Nothing(&'static str),
}

use Effect::{AlwaysOn, Nothing, Switch};

const INTERNAL: Effect = Nothing("it tunes Prometheus's internals");
const LATER: Effect = Nothing("not supported yet");

/// Names that some version of Prometheus accepts.
const KNOWN: [(&str, Effect); 41] = [
    ("agent", Nothing("there is no agent mode yet")),
    ("auto-gomaxprocs", INTERNAL),
    ("auto-gomemlimit", INTERNAL),
    ("auto-reload-config", Switch),
    ("concurrent-rule-eval", Switch),
    ("created-timestamp-zero-ingestion", Nothing("start timestamps are stored with the samples")),
    ("delayed-compaction", INTERNAL),
    ("exemplar-storage", AlwaysOn),
    ("expand-external-labels", AlwaysOn),
    ("extra-scrape-metrics", Nothing("set extra_scrape_metrics in the configuration instead")),
    ("fast-startup", INTERNAL),
    ("histograms-st-encoding", AlwaysOn),
    ("memory-snapshot-on-shutdown", INTERNAL),
    ("metadata-wal-records", AlwaysOn),
    ("native-histograms", Nothing("set scrape_native_histograms in the configuration instead")),
    ("new-service-discovery-manager", INTERNAL),
    ("no-default-scrape-port", AlwaysOn),
    ("old-ui", Nothing("Pharos never had another user interface")),
    ("ooo-native-histograms", AlwaysOn),
    ("openmetrics2", LATER),
    ("otlp-deltatocumulative", Nothing("delta temporality is not supported yet; such metrics are rejected")),
    ("otlp-native-delta-ingestion", Nothing("delta temporality is not supported yet; such metrics are rejected")),
    ("promql-at-modifier", AlwaysOn),
    ("promql-binop-fill-modifiers", AlwaysOn),
    ("promql-delayed-name-removal", AlwaysOn),
    ("promql-duration-expr", AlwaysOn),
    ("promql-experimental-functions", AlwaysOn),
    ("promql-extended-range-selectors", AlwaysOn),
    ("promql-negative-offset", AlwaysOn),
    ("promql-per-step-stats", AlwaysOn),
    ("promql-unquoted-utf8-names", LATER),
    ("query-cost", Nothing("set limits in the configuration instead")),
    ("remote-write-receiver", AlwaysOn),
    ("search-api", AlwaysOn),
    ("st-storage", AlwaysOn),
    ("st-synthesis", LATER),
    ("type-and-unit-labels", Switch),
    ("use-start-timestamps", AlwaysOn),
    ("use-uncached-io", INTERNAL),
    ("xor2-encoding", INTERNAL),
    ("zstd-scrape", LATER),
];

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

    /// One warning per name that does nothing, and per unknown name with the nearest known one.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warning = |name: &str| match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, Switch | AlwaysOn)) => None,
            Some((_, Nothing(reason))) => {
                Some(format!("feature {name:?} in --enable-feature has no effect in Pharos: {reason}"))
            }
            None => {
                let meant = crate::text::nearest(name, KNOWN.iter().map(|(known, _)| *known));
                let hint = meant.map_or(String::new(), |meant| format!(", did you mean {meant}?"));
                Some(format!("unknown feature {name:?} in --enable-feature{hint}"))
            }
        };
        self.iter().filter_map(warning).collect()
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
    }

    #[test]
    fn a_name_that_does_nothing_is_a_warning() {
        let features = Features::new(&["exemplar-storage,type-and-unit-labels,otlp-deltatocumulative".into()]);
        assert_eq!(
            features.warnings(),
            [
                "feature \"otlp-deltatocumulative\" in --enable-feature has no effect in Pharos: delta temporality is not \
              supported yet; such metrics are rejected"
            ]
        );
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
