//! The production source files of the repository, in the order of their paths.

use std::io;
use std::path::{Path, PathBuf};

/// A source file without its tests.
pub(super) struct SourceFile {
    /// Below the folder that was read, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Reads all Rust files below `root`, except files of tests.
pub(super) fn read(root: &Path) -> io::Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        files.push(SourceFile { path, text: without_tests(&text).to_string() });
    }
    Ok(files)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !matches!(name, "tests" | "benches" | "examples") {
            collect(&path, paths)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            paths.push(path);
        }
    }
    Ok(())
}

/// The text up to its first test module that has a body.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_not_source() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("b/src/lib.rs", "pub fn b() {}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n");
        write("a/src/lib.rs", "mod x;\n");
        write("a/src/x/tests.rs", "fn t() {}\n");
        write("a/tests/t.rs", "fn t() {}\n");
        let files = read(folder.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/src/lib.rs", "b/src/lib.rs"]);
        assert_eq!(files[1].text, "pub fn b() {}\n\n");
    }
}
