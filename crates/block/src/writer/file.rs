//! A Parquet file of a block while it is written: into memory, which holds only what is compressed already.

use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;

use crate::error::BlockError;
use crate::meta::FileMeta;

/// One file.
pub(crate) struct FileWriter(SerializedFileWriter<Vec<u8>>);

impl FileWriter {
    pub(crate) fn new(schema: TypePtr, properties: WriterProperties) -> Result<Self, BlockError> {
        Ok(FileWriter(SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?))
    }

    /// Writes one row group.
    pub(crate) fn group(
        &mut self,
        write: impl FnOnce(&mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let mut group = self.0.next_row_group()?;
        write(&mut group)?;
        group.close()?;
        Ok(())
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes_written()
    }

    /// Writes the footer with a key and value, if there is one; returns the whole file.
    pub(crate) fn finish(mut self, key_value: Option<(&str, String)>) -> Result<(FileMeta, Bytes), BlockError> {
        if let Some((key, value)) = key_value {
            self.0.append_key_value_metadata(KeyValue::new(key.to_string(), value));
        }
        self.0.finish()?;
        let body = self.0.flushed_row_groups().iter().map(|group| {
            let ends = group.columns().iter().map(|column| column.byte_range()).map(|(start, len)| start + len);
            ends.max().unwrap_or(0)
        });
        let body = body.max().unwrap_or(0);
        let bytes = self.0.into_inner()?;
        let meta = FileMeta { bytes: bytes.len() as u64, tail: (bytes.len() as u64).saturating_sub(body) };
        Ok((meta, Bytes::from(bytes)))
    }
}
