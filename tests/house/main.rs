//! The rules of the house that a machine can check: which crate may use which, that no crate has knots inside, how
//! modules are laid out, that dashboards and alerts name metrics that exist, and that the proxy of compose is configured consistently. None of these tests builds or runs the crates; they read `cargo metadata` and the sources.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the workspace must fail loudly")]

mod crate_edges;
mod dashboards;
mod docs;
mod knots;
mod layout;
mod proxy;
mod sources;
