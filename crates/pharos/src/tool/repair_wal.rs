//! `pharos tool wal repair`: cuts a damaged write-ahead log and reports what was lost.

use std::io::Write;
use std::path::Path;

use pharos_head::wal;

/// Repairs a log that no server has open, and writes a report. On an error the log is unchanged.
pub fn repair_wal(dir: &Path, out: &mut dyn Write) -> Result<(), String> {
    if !dir.is_dir() {
        return Err(format!("{} is not a folder", dir.display()));
    }
    let report = wal::repair(dir).map_err(|error| error.to_string())?;
    let mut lines = vec![format!("{} segments are intact", report.intact)];
    for cut in &report.truncated {
        let (file, offset, lost) = (cut.file.display(), cut.offset, cut.lost_bytes);
        lines.push(format!("{file}: cut at byte {offset}, {lost} bytes lost: {}", cut.reason));
    }
    lines.extend(report.missing.iter().map(|segment| format!("segment {segment} is missing")));
    if !report.truncated.is_empty() || !report.missing.is_empty() {
        lines.push("marked the log as incomplete: in a cluster, the node copies missing samples from other replicas when it starts".into());
    }
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_log_is_intact_and_a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        repair_wal(folder.path(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "0 segments are intact\n");
        let missing = folder.path().join("none");
        let error = repair_wal(&missing, &mut Vec::new()).unwrap_err();
        assert_eq!(error, format!("{} is not a folder", missing.display()));
    }
}
