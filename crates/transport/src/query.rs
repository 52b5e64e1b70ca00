//! The read path between nodes: one trait for the roles that hold samples, whether they live in this process or behind the
//! network.
//!
//! [`SeriesSource`] is the trait. [`QueryServices`] serves the sources of a node to others; [`RemoteSource`] is a source on
//! another node.

mod batch;
mod client;
mod completeness;
mod convert;
mod error;
mod labels;
mod remote_set;
mod server;
mod server_select;
mod source;

#[cfg(test)]
mod tests;

pub use batch::{BatchError, read_batch, write_batch};
pub use client::{RemoteSource, SourceRole};
pub use completeness::Completeness;
pub use error::{ReadError, Refused};
pub use labels::{LabelsWriter, read_labels, write_labels};
pub use remote_set::RemoteSet;
pub use server::{QueryServices, ReadLimits};
pub use source::{ReadView, Scope, SeriesExemplars, SeriesSource};
