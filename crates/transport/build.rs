//! Compiles proto/ in Rust, so that no protoc is needed.

use std::error::Error;

const FILES: [&str; 11] = [
    "pharos/agent.proto",
    "pharos/alertmanager.proto",
    "pharos/ingest.proto",
    "pharos/meta.proto",
    "pharos/query.proto",
    "pharos/ruler.proto",
    "prometheus/remote.proto",
    "prometheus/write_v2.proto",
    "prometheus/client.proto",
    "opentelemetry/metrics.proto",
    "opentelemetry/metrics_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = format!("{}/../../proto", std::env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(FILES, [&root])?;
    let mut config = prost_build::Config::new();
    config.bytes([".pharos"]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
