use std::fs;

use super::*;

/// A directory with discovery files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Polls a single file for the first time.
    fn read(&self, name: &str) -> Polled {
        Files::default().poll(&[self.path(name)], true)
    }
}

fn addresses(files: &Files) -> Vec<String> {
    files.targets().iter().map(|labels| labels.get("__address__").unwrap().to_string()).collect()
}

const TWO_TARGETS: &str = r#"[{"targets": ["a:1", "a:2"], "labels": {"zone": "z"}}]"#;

#[test]
fn json_files_are_read() {
    let folder = Folder::new();
    folder.write("sd.json", TWO_TARGETS);
    let polled = folder.read("sd.json");
    assert_eq!(addresses(&polled.files), ["a:1", "a:2"]);
    assert!(polled.is_changed);
    assert_eq!(polled.failures, 0);
}

#[test]
fn yaml_files_are_read() {
    let folder = Folder::new();
    folder.write("sd.yml", "- targets: ['b:1']\n");
    assert_eq!(addresses(&folder.read("sd.yml").files), ["b:1"]);
}

#[test]
fn targets_have_the_labels_of_their_group_and_file() {
    let folder = Folder::new();
    folder.write("sd.json", TWO_TARGETS);
    let target = folder.read("sd.json").files.targets().remove(0);
    assert_eq!(target.get("zone"), Some("z"));
    assert_eq!(target.get("__meta_filepath"), Some(folder.path("sd.json").as_str()));
}

#[test]
fn a_wildcard_selects_files_of_its_directory() {
    let folder = Folder::new();
    folder.write("sd-a.json", r#"[{"targets": ["a:1"]}]"#);
    folder.write("sd-b.json", r#"[{"targets": ["b:1"]}]"#);
    folder.write("other.json", r#"[{"targets": ["c:1"]}]"#);
    assert_eq!(addresses(&folder.read("sd-*.json").files), ["a:1", "b:1"]);
}

#[test]
fn a_name_must_be_as_long_as_both_ends_of_the_pattern() {
    let folder = Folder::new();
    folder.write("aba.json", r#"[{"targets": ["a:1"]}]"#);
    assert!(folder.read("ab*ba.json").files.targets().is_empty());
}

#[test]
fn a_missing_file_has_no_targets() {
    let polled = Folder::new().read("missing.yml");
    assert_eq!(polled.failures, 0);
    assert!(polled.files.targets().is_empty());
}

#[test]
fn a_file_that_is_deleted_loses_its_targets() {
    let folder = Folder::new();
    folder.write("sd.json", TWO_TARGETS);
    let files = folder.read("sd.json").files;
    fs::remove_file(folder.path("sd.json")).unwrap();
    let polled = files.poll(&[folder.path("sd.json")], false);
    assert!(polled.is_changed);
    assert!(polled.files.targets().is_empty());
}

#[test]
fn patterns_have_all_wildcards_of_go() {
    let folder = Folder::new();
    folder.write("t1.json", r#"[{"targets": ["a:1"]}]"#);
    folder.write("t22.json", r#"[{"targets": ["b:1"]}]"#);
    assert_eq!(addresses(&folder.read("t?.json").files), ["a:1"]);
    assert_eq!(addresses(&folder.read("t[2-3]*.json").files), ["b:1"]);
    assert_eq!(addresses(&folder.read("*2*.json").files), ["b:1"]);
}

#[test]
fn labels_may_be_null_and_scalars_of_yaml() {
    let folder = Folder::new();
    folder.write("sd.json", r#"[{"targets": ["a:1"], "labels": {"team": null, "zone": "z"}}]"#);
    folder.write("sd.yml", "- targets: ['b:1']\n  labels: {team: ~, port: 9100, on: true, zone: z}\n");
    let json = folder.read("sd.json").files.targets().remove(0);
    assert_eq!((json.get("team"), json.get("zone")), (None, Some("z")));
    let yaml = folder.read("sd.yml").files.targets().remove(0);
    assert_eq!((yaml.get("team"), yaml.get("port"), yaml.get("on")), (None, Some("9100"), Some("true")));
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let folder = Folder::new();
    folder.write("sd.json", "broken");
    let polled = folder.read("sd.json");
    assert_eq!(polled.failures, 1);
    let polled = polled.files.poll(&[folder.path("sd.json")], false);
    assert_eq!(polled.failures, 0);
}

#[test]
fn a_refresh_reads_unchanged_files_too() {
    let folder = Folder::new();
    folder.write("sd.json", "broken");
    let polled = folder.read("sd.json").files.poll(&[folder.path("sd.json")], true);
    assert_eq!(polled.failures, 1);
}

#[test]
fn a_broken_file_keeps_its_targets() {
    let folder = Folder::new();
    folder.write("sd.json", TWO_TARGETS);
    let files = folder.read("sd.json").files;
    folder.write("sd.json", r#"[{"targets": ["broken"#);
    let polled = files.poll(&[folder.path("sd.json")], false);
    assert_eq!(polled.failures, 1);
    assert!(!polled.is_changed);
    assert_eq!(addresses(&polled.files), ["a:1", "a:2"]);
}

#[test]
fn a_changed_file_replaces_its_targets() {
    let folder = Folder::new();
    folder.write("sd.json", TWO_TARGETS);
    let files = folder.read("sd.json").files;
    folder.write("sd.json", r#"[{"targets": ["b:1"]}]"#);
    let polled = files.poll(&[folder.path("sd.json")], false);
    assert!(polled.is_changed);
    assert_eq!(addresses(&polled.files), ["b:1"]);
}

#[test]
fn a_file_that_no_longer_matches_loses_its_targets() {
    let folder = Folder::new();
    folder.write("sd-a.json", TWO_TARGETS);
    let files = folder.read("sd-*.json").files;
    fs::remove_file(folder.path("sd-a.json")).unwrap();
    let polled = files.poll(&[folder.path("sd-*.json")], false);
    assert!(polled.is_changed);
    assert!(polled.files.targets().is_empty());
}

#[test]
fn malformed_groups_are_refused() {
    let folder = Folder::new();
    for text in [
        r#"[{"targets": ["a:1"], "extra": 1}]"#,
        "[null]",
        r#"[{"targets": ["a:1"], "labels": {"": "x"}}]"#,
        r#"{"targets": ["a:1"]}"#,
    ] {
        folder.write("sd.json", text);
        assert_eq!(folder.read("sd.json").failures, 1, "{text}");
    }
}

#[test]
fn files_without_groups_have_no_targets() {
    let folder = Folder::new();
    for (name, text) in [("sd.json", "[]"), ("sd.json", "null"), ("sd.yml", "")] {
        folder.write(name, text);
        let polled = folder.read(name);
        assert_eq!(polled.failures, 0, "{name}: {text}");
        assert!(polled.files.targets().is_empty());
    }
}
