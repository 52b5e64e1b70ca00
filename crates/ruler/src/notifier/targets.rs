//! From discovered labels to the URLs of Alertmanagers.

use std::collections::BTreeSet;

use pharos_config::{ResolvedAlertmanagers, relabel};
use pharos_model::{Labels, LabelsBuilder};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";

/// The URLs of the Alertmanagers of a section.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Discovered {
    /// Those that get alerts.
    pub(super) active: BTreeSet<String>,
    /// Those that relabelling dropped.
    pub(super) dropped: Vec<String>,
}

/// The Alertmanagers with these labels. Those whose address is not valid are logged and left out.
pub(super) fn discovered<'a>(found: impl Iterator<Item = &'a Labels>, config: &ResolvedAlertmanagers) -> Discovered {
    let mut discovered = Discovered::default();
    for labels in found {
        let mut builder = LabelsBuilder::from_labels(labels);
        for (name, value) in [(SCHEME, &config.scheme), (PATH, &config.path)] {
            if builder.get(name).is_empty() {
                builder.set(name, value);
            }
        }
        let before = url(&builder);
        if !relabel(&config.relabel, &mut builder) {
            discovered.dropped.push(before);
            continue;
        }
        let address = builder.get(ADDRESS);
        if address.is_empty() || address.contains('/') {
            tracing::error!(alertmanager_labels = %labels, address, "ignoring a discovered Alertmanager: not a valid hostname");
            continue;
        }
        discovered.active.insert(url(&builder));
    }
    discovered
}

fn url(labels: &LabelsBuilder) -> String {
    let path = labels.get(PATH);
    let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
    format!("{}://{}{slash}{path}", labels.get(SCHEME), labels.get(ADDRESS))
}
