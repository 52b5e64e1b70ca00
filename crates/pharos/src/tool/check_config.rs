//! `pharos tool check config`: checks configuration files like the server does at startup.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::config::Config;

/// Checks each file and writes the result in promtool's format. `Ok(false)` means that a file is invalid.
pub fn check_config(files: &[PathBuf], out: &mut dyn Write) -> io::Result<bool> {
    let mut all_good = true;
    for file in files {
        let name = file.display();
        writeln!(out, "Checking {name}")?;
        match Config::load(file) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    writeln!(out, "  WARNING: {warning}")?;
                }
                writeln!(out, " SUCCESS: {name} is a valid configuration with {} scrape jobs\n", loaded.scrape.len())?;
            }
            Err(error) => {
                all_good = false;
                writeln!(out, "  FAILED: {error}\n")?;
            }
        }
    }
    Ok(all_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_invalid_and_missing_files_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("good.yml", "rule_files: [a.yml]\n");
        let bad = file("bad.yml", "scrap_configs: []\n");
        let missing = folder.path().join("missing.yml");
        let run = |files: &[PathBuf]| {
            let mut out = Vec::new();
            let all_good = check_config(files, &mut out).unwrap();
            (all_good, String::from_utf8(out).unwrap().replace(&format!("{}/", folder.path().display()), ""))
        };
        let (all_good, text) = run(std::slice::from_ref(&good));
        assert!(all_good);
        assert_eq!(text, "Checking good.yml\n SUCCESS: good.yml is a valid configuration with 0 scrape jobs\n\n");
        let (all_good, text) = run(&[bad, good, missing]);
        assert!(!all_good);
        assert!(
            text.contains("  FAILED: bad.yml:1:1: scrap_configs: unknown field, did you mean \"scrape_configs\"?\n"),
            "{text}"
        );
        assert!(
            text.contains(" SUCCESS: good.yml") && text.contains("  FAILED: missing.yml: cannot read file: "),
            "{text}"
        );
    }
}
