//! The read path between nodes.
//!
//! [`SeriesSource`] is the trait of the roles that hold samples. [`QueryServices`] serves those of a node to others;
//! [`RemoteSource`] is one on another node. A [`Read`] is one question, which both kinds of sources answer.

mod batch;
mod client;
mod completeness;
mod convert;
mod error;
mod labels;
mod newer_view;
mod reads;
mod remote_set;
mod server;
mod server_select;
mod source;

#[cfg(test)]
mod tests;

pub use batch::{BatchError, read_batch, write_batch};
pub use client::{RemoteSource, SourceRole, within};
pub use completeness::Completeness;
pub use error::{ReadError, Refused};
pub use labels::{LabelsWriter, read_labels, write_labels};
pub use newer_view::NewerView;
pub use reads::{Read, ReadCompleteness, ReadExemplars, ReadMetadata, ReadNames, ReadSeries, Selected, Sources};
pub use remote_set::RemoteSet;
pub use server::{QueryServices, ReadLimits};
pub use source::{Admitted, ReadView, Scope, SeriesExemplars, SeriesSource, refuse_unless_complete};
