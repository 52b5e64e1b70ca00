//! Checks that every target has a driver and seeds. The test reads files only, because the targets themselves link with libFuzzer
//! when they are instrumented (see `.ci/fuzz`).

#![allow(clippy::unwrap_used, reason = "a test that cannot read its folder fails loudly")]

use std::path::Path;

#[test]
fn every_target_has_a_driver_and_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut targets = 0;
    for entry in std::fs::read_dir(folder.join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
        let seeds = std::fs::read_dir(folder.join("seeds").join(&name)).unwrap().count();
        assert!(seeds > 0, "{name} has no seeds");
        targets += 1;
    }
    assert!(targets > 0);
}
