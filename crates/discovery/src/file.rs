//! Targets from JSON and YAML files. Files are looked at every other second and read again when their time or size
//! changed, and in any case once a refresh interval. A file that cannot be read keeps its last targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pharos_model::{Clock, Labels};
use tokio::sync::watch;

use super::{Found, group_labels};
use crate::metrics::DiscoveryMetrics;
use pharos_config::{FileSdConfig, TargetGroup};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Largest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Publishes what the files say until nobody listens.
pub(super) async fn run(
    config: FileSdConfig,
    clock: Arc<dyn Clock>,
    metrics: DiscoveryMetrics,
    publish: watch::Sender<Found>,
) {
    let mut files = Files::default();
    let refresh = config.refresh_interval.as_duration().max(Duration::from_millis(100));
    let mut ticks = tokio::time::interval(LOOK_EVERY.min(refresh));
    let mut refreshed = None;
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
        let (patterns, known) = (config.files.clone(), std::mem::take(&mut files));
        let Ok((read, is_changed, failures)) = tokio::task::spawn_blocking(move || known.look(&patterns, is_due)).await
        else {
            return;
        };
        files = read;
        metrics.failures.with_label_values(&["file"]).inc_by(failures);
        if is_changed || publish.borrow().is_none() {
            publish.send_replace(Some(Arc::new(files.targets())));
        }
    }
}

/// What is known of the files.
#[derive(Default)]
pub(super) struct Files {
    by_path: BTreeMap<PathBuf, Known>,
}

#[derive(Default, PartialEq)]
struct Known {
    stamp: Option<(SystemTime, u64)>,
    targets: Vec<Labels>,
}

impl Files {
    /// Reads the files that are new or changed (all of them when `read_all`); says whether targets changed, and how
    /// many files could not be read.
    pub(super) fn look(mut self, patterns: &[String], read_all: bool) -> (Self, bool, u64) {
        let paths: Vec<PathBuf> = patterns.iter().flat_map(|pattern| expand(pattern)).collect();
        let before = self.by_path.len();
        self.by_path.retain(|path, _| paths.contains(path));
        let mut is_changed = before != self.by_path.len();
        let mut failures = 0;
        for path in paths {
            let stamp = std::fs::metadata(&path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
            let known = self.by_path.entry(path.clone()).or_default();
            if !read_all && known.stamp == stamp {
                continue;
            }
            known.stamp = stamp;
            match read(&path) {
                Ok(targets) => {
                    is_changed |= targets != known.targets;
                    known.targets = targets;
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(file = %path.display(), error, "reading a discovery file failed");
                }
            }
        }
        (self, is_changed, failures)
    }

    pub(super) fn targets(&self) -> Vec<Labels> {
        self.by_path.values().flat_map(|known| known.targets.iter().cloned()).collect()
    }
}

/// The files that a pattern names; its last part may hold one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let Some((prefix, suffix)) = name.split_once('*') else { return vec![path.to_path_buf()] };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let matches =
        |name: &str| name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix);
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(matches))
        .map(|entry| path.with_file_name(entry.file_name()))
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Vec<Labels>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("the file has {size} bytes, more than {MAX_FILE_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let groups: Option<Vec<Option<TargetGroup>>> = match is_json {
        true => serde_json::from_str(&text).map_err(|e| e.to_string())?,
        false if text.trim().is_empty() => None,
        false => serde_saphyr::from_str(&text).map_err(|e| e.to_string())?,
    };
    let file = path.to_string_lossy();
    let mut targets = Vec::new();
    for (number, group) in groups.unwrap_or_default().into_iter().enumerate() {
        let group = group.ok_or_else(|| format!("nil target group item found (index {number})"))?;
        group.check_labels().map_err(|e| e.to_string())?;
        targets.extend(group_labels(&group, &[("__meta_filepath", &file)]));
    }
    Ok(targets)
}
