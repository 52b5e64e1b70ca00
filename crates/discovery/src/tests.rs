use std::fs;

use super::file::Files;

#[test]
fn files_of_both_kinds_are_read_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("sd-a.json"), r#"[{"targets": ["a:1", "a:2"], "labels": {"zone": "z"}}]"#).unwrap();
    fs::write(path("sd-b.yml"), "- targets: ['b:1']\n").unwrap();
    fs::write(path("other.yml"), "- targets: ['c:1']\n").unwrap();
    let patterns = vec![path("sd-*.json"), path("sd-b.yml"), path("missing.yml")];
    let (files, changed, failures) = Files::default().look(&patterns, true);
    assert_eq!((changed, failures), (true, 1));
    let targets: Vec<_> = files.targets().iter().map(|labels| labels.get("__address__").unwrap().to_string()).collect();
    assert_eq!(targets, ["a:1", "a:2", "b:1"]);
    assert_eq!(files.targets()[0].get("zone"), Some("z"));
    assert_eq!(files.targets()[2].get("__meta_filepath"), Some(path("sd-b.yml").as_str()));

    let (files, changed, failures) = files.look(&patterns, false);
    assert_eq!((changed, failures), (false, 0));

    fs::write(path("sd-a.json"), r#"[{"targets": ["broken"#).unwrap();
    let (files, changed, failures) = files.look(&patterns, false);
    assert_eq!((changed, failures, files.targets().len()), (false, 1, 3), "a broken file keeps its targets");

    fs::remove_file(path("sd-a.json")).unwrap();
    let (files, changed, _) = files.look(&patterns, false);
    assert_eq!((changed, files.targets().len()), (true, 1));
}

#[test]
fn unknown_fields_and_empty_groups_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sd.json").to_string_lossy().into_owned();
    for (text, failures) in [
        (r#"[{"targets": ["a:1"], "extra": 1}]"#, 1),
        ("[null]", 1),
        (r#"[{"targets": ["a:1"], "labels": {"": "x"}}]"#, 1),
        ("[]", 0),
        ("null", 0),
    ] {
        fs::write(&path, text).unwrap();
        let (_, _, failed) = Files::default().look(std::slice::from_ref(&path), true);
        assert_eq!(failed, failures, "{text}");
    }
}
