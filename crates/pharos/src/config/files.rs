//! File patterns of `scrape_config_files` and `rule_files`: paths with the wildcards of Go, and `*` only in their last part.

use std::path::{Path, PathBuf};

use pharos_config::glob;

/// Refuses an empty pattern and one with `*` in a folder. Prometheus does the same.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let folder = pattern.rsplit_once('/').map_or("", |(folder, _)| folder);
    match pattern {
        "" => Err("a file pattern is empty".into()),
        _ if folder.contains('*') => {
            Err(format!("invalid file pattern {pattern:?}: '*' is only allowed in the last part"))
        }
        _ => Ok(()),
    }
}

/// The files that match a pattern below the folder of the configuration file, sorted. Matching none is not an error.
pub(crate) fn find(folder: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    glob(&folder.join(pattern)).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(check_pattern("a/b*.yml").is_ok() && check_pattern("rules.yml").is_ok());
        assert!(check_pattern("a*/b.yml").is_err() && check_pattern("").is_err());
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = find(folder.path(), pattern).unwrap();
            found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("*.yml"), ["a.yml", "b.yml"]);
        assert_eq!(names("c.json"), ["c.json"]);
        assert_eq!((names("?.yml"), names("[b-c].*")), (names("*.yml"), vec!["b.yml".into(), "c.json".into()]));
        assert_eq!(names("[^a].yml"), ["b.yml"]);
        assert!(find(folder.path(), "[a.yml").is_err());
        // Tests run in the folder of the crate.
        assert_eq!(find(Path::new(""), "Cargo.t*").unwrap(), [Path::new("Cargo.toml")]);
        assert!(names("none.yml").is_empty() && names("no/such/*.yml").is_empty());
    }
}
