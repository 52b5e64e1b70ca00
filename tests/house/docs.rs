//! Documents name only what exists: relative links lead to a file, and paths of the repository are in it.

use std::path::{Path, PathBuf};

use crate::sources::root;

/// Folders of the repository. A path in backticks that starts with one of them is checked.
const FOLDERS: &[&str] = &["bench/", "crates/", "deploy/", "docs/", "proto/", "tests/"];

/// Every Markdown file of the repository that people read, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs/src", "docs/src/reference", "tests/e2e", "bench", "crates/block"];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let markdown = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md"));
    markdown.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The targets of relative links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let without_anchor = targets.filter_map(|target| target.split('#').next());
    without_anchor.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Paths of the repository in backticks. Patterns and lists (`*`, `{…}`, `<…>`) are not paths.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let single = quoted.filter(|quoted| !quoted.contains(['*', '{', '<', ' ', '…', '\n']));
    single.filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder)))
}

fn missing(document: &Path, text: &str) -> Vec<String> {
    let folder = document.parent().unwrap();
    let broken = links(text).filter(|link| !folder.join(link).exists()).map(|link| format!("the link {link}"));
    let absent = paths(text).filter(|path| !root().join(path).exists()).map(|path| format!("the path {path}"));
    broken.chain(absent).map(|what| format!("{}: {what}", document.display())).collect()
}

#[test]
fn links_and_paths_of_documents_exist() {
    let documents = documents();
    assert!(documents.len() > 10, "documents are not where this test looks for them");
    let missing: Vec<String> = documents.iter().flat_map(|(path, text)| missing(path, text)).collect();
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let document = root().join("README.md");
    let found = missing(&document, "[a](ARCHITECTURE.md#map) [b](nowhere.md) [c](https://example.org)");
    assert_eq!(found, [format!("{}: the link nowhere.md", document.display())]);
}

#[test]
fn a_path_that_moved_away_is_found() {
    let document = root().join("README.md");
    let found = missing(&document, "`crates/model/src/clock.rs`, `crates/agent/src/lib.rs`, `crates/*/src`");
    assert_eq!(found, [format!("{}: the path crates/agent/src/lib.rs", document.display())]);
}
