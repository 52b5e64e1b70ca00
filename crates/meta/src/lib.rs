//! Who owns what and which blocks exist: the catalogue's state machine and its durable log.
//!
//! [`catalogue::Catalogue`] is pure: commands go in, a changed state comes out. [`Meta`] runs it on a durable log
//! ([`log`], redb) and publishes every state as a numbered [`View`]. A replicated log can take the log's place.

pub mod catalogue;
pub mod log;
mod meta;

pub use catalogue::{BlockEntry, Catalogue, Command, CutId, Deletion, Refusal, TenantCatalogue};
pub use meta::{Meta, MetaError, View};
