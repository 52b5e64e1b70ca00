//! The Parquet block: value coding, layout, writer, reader, merge planning and object-store decorators.
//!
//! A block is a folder of Parquet files that holds one tenant's samples of one time range, see the crate's README for
//! its columns. [`BlockWriter`] makes one from series in label order, [`BlockReader`] answers selectors from it by range
//! requests only, [`merge`] puts the series of several together, and [`objects`] builds and decorates object stores.
//!
//! Invariants: what is read equals what was written, to the bit; every number that comes from a file is checked before
//! it is used as a size or an index; a damaged block is an error that names the file, never a panic.

pub mod coding;
pub mod error;
pub mod filter;
pub mod merge;
pub mod meta;
pub mod objects;
mod page;
pub mod reader;
mod schema;
pub mod upload;
pub mod writer;

pub use error::BlockError;
pub use meta::{BlockMeta, FileMeta};
pub use reader::{BlockCache, BlockReader, BlockSelection, accounted};
pub use upload::upload;
pub use writer::{BlockWriter, FinishedBlock, WriterOptions};

#[cfg(test)]
mod tests;
