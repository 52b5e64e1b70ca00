//! The mapping between tenants and folders, over all valid names and over hostile folders.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// Names that mean something to a file system or to Pharos.
const SPECIAL: [&str; 12] = [
    "con",
    "prn",
    "aux",
    "nul",
    "com1",
    "lpt0",
    "com10",
    "pharos-owner.json",
    "catalogue.json",
    "snapshots",
    "_pharos",
    "blocks",
];

/// Any valid name.
fn names() -> impl Strategy<Value = String> {
    let capitals = |(name, which): (&str, u32)| {
        let of = |(at, c): (usize, char)| if which >> (at % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c };
        name.chars().enumerate().map(of).collect::<String>()
    };
    prop_oneof![
        "[a-zA-Z0-9!_.*'()-]{1,150}",
        "[a-zA-Z0-9!_.*'()-]{100,150}",
        "[A-Z.]{90,150}",
        "[aA.*_]{1,4}",
        (prop::sample::select(&SPECIAL[..]), any::<u32>()).prop_map(capitals),
    ]
    .prop_filter("not a name", |name| TenantId::new(name).is_ok())
}

/// Names of folders: like those of tenants, changed in places, or of any characters.
fn folders() -> impl Strategy<Value = String> {
    prop_oneof![
        "[@a-z0-9_-]{1,20}",
        "@@[a-z2-7]{0,40}",
        "[a-zA-Z0-9!_.*'()%@~=-]{1,30}",
        any::<String>(),
        (names(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(name, at, c)| {
            let mut folder = TenantId::new(&name).unwrap().folder();
            let at = at.index(folder.len());
            folder.replace_range(at..=at, &c.to_string());
            folder
        }),
    ]
}

#[test]
fn a_plain_name_is_its_own_folder() {
    for name in
        ["anonymous", "team-a", "team_1", "0", "-", "_", "_pharos", "snapshots", "console", "com", "com10", "lpt"]
    {
        assert_eq!(tenant(name).folder(), name);
    }
}

#[test]
fn other_characters_are_escaped() {
    for (name, folder) in [
        ("Team", "@team"),
        ("TEAM", "@t@e@a@m"),
        ("a*b", "a@5b"),
        ("prod.eu", "prod@0eu"),
        ("pharos-owner.json", "pharos-owner@0json"),
        ("...", "@0@0@0"),
        ("!'()", "@1@2@3@4"),
    ] {
        assert_eq!(tenant(name).folder(), folder);
        assert_eq!(TenantId::of_folder(folder), Some(tenant(name)));
    }
}

#[test]
fn names_of_devices_are_in_base32() {
    assert_eq!(tenant("con").folder(), "@@mnxw4");
    for name in ["con", "prn", "aux", "nul", "com1", "lpt9"] {
        let folder = tenant(name).folder();
        assert!(folder.starts_with("@@"), "{folder}");
        assert_eq!(TenantId::of_folder(&folder), Some(tenant(name)));
        assert_eq!(TenantId::of_folder(name), Some(tenant(name)), "the folder of earlier versions");
    }
}

#[test]
fn folders_of_earlier_versions_are_recognized() {
    for (folder, name) in
        [("Team", "Team"), ("a%2Ab", "a*b"), ("prod.eu", "prod.eu"), ("pharos-owner.json", "pharos-owner.json")]
    {
        assert_eq!(TenantId::of_folder(folder), Some(tenant(name)), "{folder}");
        assert_eq!(tenant(name).legacy_folder(), folder);
    }
}

#[test]
fn no_tenant_is_in_the_folder_of_the_system() {
    for folder in [
        SYSTEM_FOLDER,
        "@_",
        "@_x",
        "@",
        "a@",
        "@9",
        "@6",
        "@@",
        "@@a",
        "@@mnxw5",
        "@@MNXW4",
        "@A",
        "%2a",
        "a*b",
        ".",
        "..",
        "",
    ] {
        assert_eq!(TenantId::of_folder(folder), None, "{folder}");
    }
}

proptest! {
    #[test]
    fn the_folder_of_a_tenant_leads_back_to_it(name in names()) {
        let tenant = tenant(&name);
        prop_assert_eq!(TenantId::of_folder(&tenant.folder()), Some(tenant.clone()));
        prop_assert_eq!(TenantId::of_folder(&tenant.legacy_folder()), Some(tenant));
    }

    #[test]
    fn a_folder_suits_every_file_system_and_object_store(name in names()) {
        let folder = tenant(&name).folder();
        prop_assert!(!folder.is_empty() && folder.len() <= 242, "{}", folder.len());
        prop_assert!(folder.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-@".contains(&b)), "{folder}");
        prop_assert!(!is_device(&folder), "{folder}");
        prop_assert!(!folder.starts_with("@_"), "{folder}");
    }

    #[test]
    fn two_tenants_never_share_a_folder(names in prop::collection::vec(names(), 2..40)) {
        let mut owners = BTreeMap::new();
        for name in names {
            // Also where the file system ignores case.
            let folder = tenant(&name).folder().to_ascii_lowercase();
            let other = owners.insert(folder.clone(), name.clone());
            prop_assert!(other.as_ref().is_none_or(|other| *other == name), "{name} and {other:?} share {folder}");
        }
    }

    #[test]
    fn a_folder_has_a_tenant_only_if_that_tenant_uses_it(folder in folders()) {
        if let Some(tenant) = TenantId::of_folder(&folder) {
            prop_assert!(tenant.folder() == folder || tenant.legacy_folder() == folder);
        }
    }
}

proptest! {
    #[test]
    fn a_file_name_stands_for_one_text(text in prop_oneof!["\\PC{0,40}", "[a-z0-9_-]{0,150}", "[aA.]{1,9}", "con|nul"]) {
        let name = file_name(&text);
        prop_assert!(name.bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789_-@".contains(&b)), "{}", name);
        prop_assert!(text.len() > 150 || name.len() <= 242);
        prop_assert_eq!(of_file_name(&name), Some(text));
    }

    #[test]
    fn other_names_of_files_stand_for_nothing(name in folders()) {
        if let Some(text) = of_file_name(&name) {
            prop_assert_eq!(file_name(&text), name);
        }
    }
}
