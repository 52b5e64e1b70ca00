//! Writes one Parquet file of a block into memory, as compressed pages.

use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;

use crate::error::BlockError;
use crate::meta::FileMeta;
use crate::page::checksums;
use crate::reader::file::index_start;

pub(crate) struct FileWriter(SerializedFileWriter<Vec<u8>>);

impl FileWriter {
    pub(crate) fn new(schema: TypePtr, properties: WriterProperties) -> Result<Self, BlockError> {
        Ok(FileWriter(SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?))
    }

    /// Writes a row group.
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

    /// The encoded checksums of all pages, in file order.
    fn checksums(&mut self) -> Result<String, BlockError> {
        self.0.flush().map_err(ParquetError::from)?;
        let bytes = self.0.inner();
        let mut sums = Vec::new();
        for column in self.0.flushed_row_groups().iter().flat_map(|group| group.columns()) {
            let (start, length) = column.byte_range();
            let chunk = bytes.get(start as usize..(start + length) as usize).unwrap_or_default();
            checksums::checksums_of(chunk, &mut sums).map_err(|e| BlockError::Input(format!("page checksums: {e}")))?;
        }
        Ok(checksums::encode(&sums))
    }

    /// Writes the footer with the checksums, and with a key and value if given; returns the file.
    pub(crate) fn finish(mut self, key_value: Option<(&str, String)>) -> Result<(FileMeta, Bytes), BlockError> {
        let checksums = self.checksums()?;
        self.0.append_key_value_metadata(KeyValue::new(checksums::CHECKSUMS_KEY.to_string(), checksums));
        if let Some((key, value)) = key_value {
            self.0.append_key_value_metadata(KeyValue::new(key.to_string(), value));
        }
        let metadata = self.0.finish()?;
        let bytes = std::mem::take(self.0.inner_mut());
        let total = bytes.len() as u64;
        let footer = bytes.last_chunk::<8>().map_or(0, |[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]) + 8);
        let tail = index_start(&metadata).map_or(0, |start| total.saturating_sub(start)).max(u64::from(footer));
        let crc = bytes.len().checked_sub(tail as usize).map(|from| crc32fast::hash(&bytes[from..]));
        let meta = FileMeta { bytes: total, tail, crc };
        Ok((meta, Bytes::from(bytes)))
    }
}
