//! File patterns of `scrape_config_files` and `rule_files`: paths whose last part may contain `*`, `?` and `[a-z]`.

use std::path::{Path, PathBuf};

use regex::Regex;

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
    let path = folder.join(pattern);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    // A pattern without a folder refers to the working directory.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if !name.contains(['*', '?', '[']) {
        return Ok(if path.exists() { vec![path] } else { Vec::new() });
    }
    let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("invalid file pattern {pattern:?}"));
    let wanted = name_pattern(name).ok_or_else(invalid)?;
    let entries = match std::fs::read_dir(parent) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| wanted.is_match(name)) {
            found.push(path.with_file_name(entry.file_name()));
        }
    }
    found.sort();
    Ok(found)
}

/// A pattern of `*`, `?` and `[a-z]` as a regular expression; none when a bracket is not closed.
fn name_pattern(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("^(?s:");
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?', '[']) {
        regex.push_str(&regex::escape(&rest[..at]));
        let (special, behind) = rest[at..].split_at(1);
        rest = behind;
        match special {
            "*" => regex.push_str(".*"),
            "?" => regex.push('.'),
            _ => {
                let (class, behind) = rest.split_once(']')?;
                let (not, class) = class.strip_prefix('^').map_or(("", class), |class| ("^", class));
                let class: Vec<String> = class.split('-').map(regex::escape).collect();
                regex.push_str(&format!("[{not}{}]", class.join("-")));
                rest = behind;
            }
        }
    }
    regex.push_str(&regex::escape(rest));
    Regex::new(&(regex + ")$")).ok()
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
