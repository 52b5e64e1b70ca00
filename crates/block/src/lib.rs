//! The Parquet block: value coding, layout, writer, reader, and the object stores that blocks live in.
//!
//! A block is a folder of Parquet files with one tenant's samples of one time range; the README of this crate lists its
//! columns. [`BlockWriter`] makes a block from series in label order, [`BlockReader`] answers selectors with range requests,
//! and [`objects`] builds and decorates object stores.
//!
//! Invariants: a read returns exactly what was written, to the bit (INV-BIT-EXACT). Every number read from a file is checked before it is used
//! as a size or an index. A damaged block is an error that names the file, never a panic.

#![forbid(unsafe_code)]

mod coding;
mod error;
mod filter;
mod meta;
pub mod objects;
mod page;
mod reader;
mod schema;
mod upload;
mod writer;

pub use error::BlockError;
pub use meta::{BlockMeta, FileMeta};
pub use reader::{BlockCache, BlockReader, BlockSelection, accounted};
pub use upload::{is_uploaded, upload};
pub use writer::{BlockWriter, FinishedBlock, WriterOptions};

#[cfg(test)]
mod tests;
