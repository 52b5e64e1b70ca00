//! Targets in JSON and YAML files. Files are polled every two seconds and read again when their modification time or size
//! has changed, and at least once a refresh interval. A file that cannot be read keeps its previous targets; one that is gone
//! has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pharos_config::{FileSdConfig, TargetGroup, glob};
use pharos_model::{Clock, Labels};
use tokio::sync::watch;

use crate::group::{DiscoveredTargets, checked_labels};
use crate::metrics::DiscoveryMetrics;

const POLL_INTERVAL: Duration = Duration::from_secs(2);
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(100);
/// The limit on a file, bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Publishes the targets in the files until nobody listens.
pub(super) async fn run(
    config: FileSdConfig,
    clock: Arc<dyn Clock>,
    metrics: DiscoveryMetrics,
    publish: watch::Sender<DiscoveredTargets>,
) {
    let mut files = Files::default();
    let refresh = config.refresh_interval.as_duration().max(MIN_REFRESH_INTERVAL);
    let mut ticks = tokio::time::interval(POLL_INTERVAL.min(refresh));
    let mut refreshed = None;
    let mut is_first = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = publish.closed() => return,
        }
        let now = clock.monotonic();
        let is_due = refreshed.is_none_or(|then| now.saturating_sub(then) >= refresh);
        if is_due {
            refreshed = Some(now);
        }
        let patterns = config.files.clone();
        let known = std::mem::take(&mut files);
        let Ok(polled) = tokio::task::spawn_blocking(move || known.poll(&patterns, is_due)).await else { return };
        files = polled.files;
        metrics.failures.with_label_values(&["file"]).inc_by(polled.failures);
        if polled.is_changed || std::mem::take(&mut is_first) {
            publish.send_replace(Some(Arc::new(files.targets())));
        }
    }
}

/// The targets in all files.
#[derive(Default)]
pub(super) struct Files {
    by_path: BTreeMap<PathBuf, File>,
}

/// The result of polling the files.
pub(super) struct Polled {
    pub(super) files: Files,
    /// Whether any targets have changed.
    pub(super) is_changed: bool,
    /// The number of files that could not be read.
    pub(super) failures: u64,
}

#[derive(Default)]
struct File {
    /// Modification time and size at the last read.
    stamp: Option<(SystemTime, u64)>,
    targets: Vec<Labels>,
}

impl Files {
    /// Reads the files that are new or have changed, or all of them with `read_all`.
    pub(super) fn poll(mut self, patterns: &[String], read_all: bool) -> Polled {
        let mut paths = BTreeSet::new();
        for pattern in patterns {
            match glob(Path::new(pattern)) {
                Ok(found) => paths.extend(found),
                Err(error) => tracing::error!(pattern, %error, "could not look for discovery files"),
            }
        }
        let count_before = self.by_path.len();
        self.by_path.retain(|path, _| paths.contains(path));
        let mut is_changed = count_before != self.by_path.len();
        let mut failures = 0;
        for path in paths {
            let stamp = std::fs::metadata(&path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
            let file = self.by_path.entry(path.clone()).or_default();
            if !read_all && file.stamp == stamp {
                continue;
            }
            file.stamp = stamp;
            match read(&path) {
                Ok(targets) => {
                    is_changed |= targets != file.targets;
                    file.targets = targets;
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(file = %path.display(), error, "could not read discovery file; keeping its previous targets");
                }
            }
        }
        Polled { files: self, is_changed, failures }
    }

    pub(super) fn targets(&self) -> Vec<Labels> {
        self.by_path.values().flat_map(|file| file.targets.iter().cloned()).collect()
    }
}

/// Reads the targets in a file.
fn read(path: &Path) -> Result<Vec<Labels>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("file has {size} bytes, the limit is {MAX_FILE_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let groups: Option<Vec<Option<TargetGroup>>> = match is_json {
        true => serde_json::from_str(&text).map_err(|e| e.to_string())?,
        false if text.trim().is_empty() => None,
        false => serde_saphyr::from_str(&text).map_err(|e| e.to_string())?,
    };
    let file = path.to_string_lossy();
    checked_labels(groups.unwrap_or_default(), &[("__meta_filepath", &file)])
}

#[cfg(test)]
mod tests;
