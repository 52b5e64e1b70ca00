//! Buffers the columns of a row group and passes them to the Parquet library.

use std::io::Write;

use parquet::column::writer::{ColumnWriterImpl, get_typed_column_writer_mut};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::writer::SerializedRowGroupWriter;

use crate::error::BlockError;

/// A list column: values, with the levels that tell where lists start and which elements are null.
pub(crate) struct ListColumn<T> {
    values: Vec<T>,
    def: Vec<i16>,
    rep: Vec<i16>,
    max_def: i16,
}

impl<T: Copy> ListColumn<T> {
    /// An empty column; `nullable` tells whether elements may be null.
    pub(crate) fn new(nullable: bool) -> Self {
        ListColumn { values: Vec::new(), def: Vec::new(), rep: Vec::new(), max_def: 1 + i16::from(nullable) }
    }

    /// Appends a list without nulls.
    pub(crate) fn push(&mut self, list: &[T]) {
        self.push_levels(list.len());
        self.values.extend_from_slice(list);
    }

    /// Appends the levels of a list of `len` elements. The caller appends the values and marks the nulls.
    pub(crate) fn push_levels(&mut self, len: usize) {
        if len == 0 {
            self.def.push(0);
            self.rep.push(0);
        } else {
            self.def.resize(self.def.len() + len, self.max_def);
            self.rep.push(0);
            self.rep.resize(self.rep.len() + len - 1, 1);
        }
    }

    /// Marks the element `from_end` positions before the end as null.
    pub(crate) fn mark_null(&mut self, from_end: usize) {
        let at = self.def.len() - from_end;
        self.def[at] = 1;
    }

    /// The values, for appending those of a list begun with [`ListColumn::push_levels`].
    pub(crate) fn values_mut(&mut self) -> &mut Vec<T> {
        &mut self.values
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Writes the column and clears it.
    pub(crate) fn write<D: DataType<T = T>, W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), BlockError> {
        write_leaf::<D, W>(group, |writer| writer.write_batch(&self.values, Some(&self.def), Some(&self.rep)))?;
        self.values.clear();
        self.def.clear();
        self.rep.clear();
        Ok(())
    }
}

/// A map column from text to text, with required keys and values.
#[derive(Default)]
pub(crate) struct MapColumn {
    keys: Vec<ByteArray>,
    values: Vec<ByteArray>,
    def: Vec<i16>,
    rep: Vec<i16>,
}

impl MapColumn {
    pub(crate) fn push(&mut self, pairs: impl Iterator<Item = (ByteArray, ByteArray)>) {
        let before = self.keys.len();
        for (key, value) in pairs {
            self.def.push(1);
            self.rep.push(i16::from(self.keys.len() > before));
            self.keys.push(key);
            self.values.push(value);
        }
        if self.keys.len() == before {
            self.def.push(0);
            self.rep.push(0);
        }
    }

    /// Writes keys, then values, and clears the column.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), BlockError> {
        use parquet::data_type::ByteArrayType;
        write_leaf::<ByteArrayType, W>(group, |w| w.write_batch(&self.keys, Some(&self.def), Some(&self.rep)))?;
        write_leaf::<ByteArrayType, W>(group, |w| w.write_batch(&self.values, Some(&self.def), Some(&self.rep)))?;
        *self = MapColumn::default();
        Ok(())
    }
}

/// A text column whose rows may be null.
#[derive(Default)]
pub(crate) struct TextColumn {
    values: Vec<ByteArray>,
    def: Vec<i16>,
}

impl TextColumn {
    pub(crate) fn push(&mut self, value: Option<ByteArray>) {
        self.def.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// Writes the column and clears it.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), BlockError> {
        write_leaf::<parquet::data_type::ByteArrayType, W>(group, |w| {
            w.write_batch(&self.values, Some(&self.def), None)
        })?;
        *self = TextColumn::default();
        Ok(())
    }
}

/// Writes a required column and clears it.
pub(crate) fn write_scalars<D: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &mut Vec<D::T>,
) -> Result<(), BlockError> {
    write_leaf::<D, W>(group, |writer| writer.write_batch(values, None, None))?;
    values.clear();
    Ok(())
}

fn write_leaf<D: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    write: impl FnOnce(&mut ColumnWriterImpl<'_, D>) -> parquet::errors::Result<usize>,
) -> Result<(), BlockError> {
    let mut column =
        group.next_column()?.ok_or_else(|| BlockError::Input("row group has more columns than its schema".into()))?;
    write(get_typed_column_writer_mut::<D>(column.untyped()))?;
    Ok(column.close()?)
}
