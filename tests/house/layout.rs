//! One module style: `name.rs` with its children in `name/`, and a `//!` at the head of every file that says what it is.

use std::path::{Path, PathBuf};

use crate::sources::{below, root};

/// Every file of the repository's own Rust, by path relative to the root.
fn files() -> Vec<(PathBuf, String)> {
    let folders = ["crates", "fuzz/src", "tests"];
    let all = folders.iter().flat_map(|folder| {
        let relative = Path::new(folder);
        below(&root().join(folder)).into_iter().map(move |(path, text)| (relative.join(path), text))
    });
    all.filter(|(path, _)| !path.components().any(|part| part.as_os_str() == "target")).collect()
}

fn offenders(is_offence: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    let files = files();
    assert!(files.len() > 300, "the sources were not found: only {} files", files.len());
    files.into_iter().filter(|(path, text)| is_offence(path, text)).map(|(path, _)| path).collect()
}

#[test]
fn no_module_is_called_mod_rs() {
    assert_eq!(offenders(|path, _| path.ends_with("mod.rs")), Vec::<PathBuf>::new());
}

#[test]
fn modules_are_found_without_a_path_attribute() {
    let attribute = concat!("#[", "path");
    assert_eq!(offenders(|_, text| text.contains(attribute)), Vec::<PathBuf>::new());
}

#[test]
fn every_file_but_tests_says_what_it_is() {
    let is_silent = |path: &Path, text: &str| !path.ends_with("tests.rs") && !text.starts_with("//!");
    assert_eq!(offenders(is_silent), Vec::<PathBuf>::new());
}

#[test]
fn no_file_has_more_than_six_hundred_lines() {
    assert_eq!(offenders(|_, text| text.lines().count() > 600), Vec::<PathBuf>::new());
}

#[test]
fn crates_forbid_unsafe_code() {
    let is_root = |path: &Path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let permits_unsafe = |path: &Path, text: &str| {
        path.starts_with("crates") && is_root(path) && !text.contains("\n#![forbid(unsafe_code)]\n")
    };
    assert_eq!(offenders(permits_unsafe), Vec::<PathBuf>::new());
}
