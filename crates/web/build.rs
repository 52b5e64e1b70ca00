//! Compresses the built web interface and the dashboards and lists their files as Rust, so that the binary carries them.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use xxhash_rust::xxh3::xxh3_64;

fn main() -> io::Result<()> {
    embed("../../ui/dist", "files.rs")?;
    embed("../../deploy/dashboards", "dashboards.rs")
}

/// Compresses the files of a folder, whose path is relative to the crate, and writes their list to `list_name`.
fn embed(folder: &str, list_name: &str) -> io::Result<()> {
    let missing = |name: &str| io::Error::other(format!("{name} is not set"));
    let crate_folder = env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?);
    let built = Path::new(&crate_folder).join(folder);
    println!("cargo::rerun-if-changed={}", built.display());

    let mut list = String::from("&[\n");
    for path in files(&built)? {
        let contents = fs::read(&path)?;
        let name = path.strip_prefix(&built).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let packed = out.join(format!("{list_name}+{}.gz", name.replace('/', "+")));
        fs::write(&packed, gzip(&contents)?)?;
        let hash = xxh3_64(&contents);
        writeln!(list, "    File {{ path: {name:?}, hash: {hash:#x}, gzip: include_bytes!({packed:?}) }},")
            .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(out.join(list_name), list)
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn gzip(contents: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(contents)?;
    encoder.finish()
}
