//! Compiles proto/ in Rust, so that no protoc is needed.

use std::error::Error;

const FILES: [&str; 5] = [
    "prometheus/remote.proto",
    "prometheus/write_v2.proto",
    "prometheus/client.proto",
    "opentelemetry/metrics.proto",
    "opentelemetry/metrics_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(FILES, [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
