//! `pharos tool check alertmanager-config`: checks configuration files like the Alertmanager does at startup.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::alertmanager::check_file;

/// Checks each file with its templates and writes the result. `Ok(false)` means that a file is invalid.
pub fn check_alertmanager_config(files: &[PathBuf], out: &mut dyn Write) -> io::Result<bool> {
    let mut all_good = true;
    for file in files {
        write!(out, "Checking '{}'  ", file.display())?;
        match check_file(file) {
            Ok(contents) => writeln!(out, "SUCCESS\nFound: {contents}\n")?,
            Err(error) => {
                all_good = false;
                writeln!(out, "FAILED: {error}\n")?;
            }
        }
    }
    Ok(all_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_files_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("good.yml", "route: {receiver: a}\nreceivers: [{name: a}]\ntemplates: ['*.tmpl']\n");
        let bad = file("bad.yml", "route:\n  receiver: b\nreceivers: [{name: a}]\n");
        let mut out = Vec::new();
        assert!(check_alertmanager_config(std::slice::from_ref(&good), &mut out).unwrap());
        assert!(!check_alertmanager_config(&[bad, good.clone()], &mut out).unwrap());
        file("x.tmpl", "{{ define ");
        assert!(!check_alertmanager_config(&[good], &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("SUCCESS\nFound: 0 inhibit rules, 1 receivers, 1 templates\n"), "{text}");
        assert!(text.contains("bad.yml:2:13: undefined receiver \"b\" used in route\n"), "{text}");
        assert!(text.contains("failed to parse templates: "), "{text}");
    }
}
