//! The columns of the files of a block, and their encodings.

use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use crate::error::BlockError;

/// Column positions of `data.parquet`. Promoted labels follow.
pub(crate) mod data {
    pub(crate) const FIRST_T: usize = 1;
    pub(crate) const TS_ID: usize = 2;
    pub(crate) const TS_OFF: usize = 3;
    pub(crate) const N: usize = 4;
    pub(crate) const MD: usize = 5;
    pub(crate) const E: usize = 6;
    pub(crate) const MUL: usize = 7;
    pub(crate) const V0: usize = 8;
    pub(crate) const ST: usize = 9;
    pub(crate) const VI: usize = 10;
    pub(crate) const VD: usize = 11;
    pub(crate) const NAMES: [&str; 12] =
        ["sid", "slice_t", "ts_id", "ts_off", "n", "md", "e", "mul", "v0", "st", "vi", "vd"];
}

/// Column positions of `series.parquet`. Promoted labels follow.
pub(crate) mod series {
    pub(crate) const HASH: usize = 1;
    pub(crate) const ROWS: usize = 3;
    pub(crate) const HISTOGRAMS: usize = 4;
    pub(crate) const EXEMPLARS: usize = 5;
    pub(crate) const FIRST_T: usize = 6;
    pub(crate) const LAST_T: usize = 7;
    pub(crate) const TYPE: usize = 8;
    pub(crate) const UNIT: usize = 9;
    pub(crate) const HELP: usize = 10;
    pub(crate) const MAP_KEY: usize = 11;
    pub(crate) const MAP_VALUE: usize = 12;
    pub(crate) const LABELS: usize = 13;
    pub(crate) const NAMES: [&str; 12] = [
        "sid",
        "hash",
        "shard",
        "slices",
        "histograms",
        "exemplars",
        "first_t",
        "last_t",
        "type",
        "unit",
        "help",
        "labels",
    ];
}

/// Column positions of `ts.parquet`.
pub(crate) mod ts {
    pub(crate) const T: usize = 1;
}

/// Column positions of `histograms.parquet`.
pub(crate) mod histograms {
    pub(crate) const T: usize = 1;
    pub(crate) const ST: usize = 2;
    pub(crate) const RESET: usize = 3;
    pub(crate) const INTEGER: usize = 4;
    pub(crate) const SCHEMA: usize = 5;
    pub(crate) const ZERO_THRESHOLD: usize = 6;
    pub(crate) const ZERO_COUNT: usize = 7;
    pub(crate) const COUNT: usize = 8;
    pub(crate) const SUM: usize = 9;
    pub(crate) const POS_OFF: usize = 10;
    pub(crate) const POS_LEN: usize = 11;
    pub(crate) const POS: usize = 12;
    pub(crate) const NEG_OFF: usize = 13;
    pub(crate) const NEG_LEN: usize = 14;
    pub(crate) const NEG: usize = 15;
    pub(crate) const BOUNDS: usize = 16;
}

/// Column positions of `exemplars.parquet`.
pub(crate) mod exemplars {
    pub(crate) const T: usize = 1;
    pub(crate) const VALUE: usize = 2;
    pub(crate) const MAP_KEY: usize = 3;
    pub(crate) const MAP_VALUE: usize = 4;
}

/// Maximum rows of a row group of `data.parquet`.
pub(crate) const MAX_GROUP_ROWS: usize = 4096;
/// Maximum samples of a row of `data.parquet`.
pub(crate) const MAX_ROW_SAMPLES: usize = 1920;
/// Large enough that a scalar column of a row group is one page.
const SCALAR_PAGE_BYTES: usize = 1 << 20;
const LIST_PAGE_BYTES: usize = 64 << 10;
const TS_PAGE_BYTES: usize = 16 << 10;
const DICTIONARY_BYTES: usize = 32 << 20;

type Result<T> = std::result::Result<T, BlockError>;

fn scalar(name: &str, physical: Physical) -> Result<TypePtr> {
    Ok(Arc::new(Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED).build()?))
}

fn text(name: &str, repetition: Repetition) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, Physical::BYTE_ARRAY).with_repetition(repetition);
    Ok(Arc::new(builder.with_logical_type(Some(LogicalType::String)).build()?))
}

fn list(name: &str, physical: Physical, nullable: bool) -> Result<TypePtr> {
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let element = Arc::new(Type::primitive_type_builder("element", physical).with_repetition(repetition).build()?);
    let repeated = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]);
    let outer = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(repeated.build()?)]);
    Ok(Arc::new(outer.build()?))
}

fn map(name: &str) -> Result<TypePtr> {
    let fields = vec![text("key", Repetition::REQUIRED)?, text("value", Repetition::REQUIRED)?];
    let repeated = Type::group_type_builder("key_value").with_repetition(Repetition::REPEATED).with_fields(fields);
    let outer = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::Map))
        .with_converted_type(ConvertedType::MAP)
        .with_fields(vec![Arc::new(repeated.build()?)]);
    Ok(Arc::new(outer.build()?))
}

fn message(name: &str, mut fields: Vec<TypePtr>, labels: &[String]) -> Result<TypePtr> {
    for label in labels {
        fields.push(text(label, Repetition::OPTIONAL)?);
    }
    Ok(Arc::new(Type::group_type_builder(name).with_fields(fields).build()?))
}

/// Whether a label can be a column: its name is a plain identifier and differs from all reserved ones, even ignoring case.
pub(crate) fn is_column_name(label: &str, reserved: &[&str]) -> bool {
    pharos_model::labels::is_legacy_label_name(label) && !reserved.iter().any(|r| r.eq_ignore_ascii_case(label))
}

pub(crate) fn data_schema(labels: &[String]) -> Result<TypePtr> {
    use Physical::{DOUBLE, INT32, INT64};
    let mut fields = Vec::new();
    for (at, name) in data::NAMES.iter().enumerate() {
        fields.push(match at {
            data::FIRST_T | data::MUL | data::V0 => scalar(name, INT64)?,
            data::VI => list(name, INT64, true)?,
            data::VD => list(name, DOUBLE, false)?,
            data::ST => list(name, INT64, false)?,
            _ => scalar(name, INT32)?,
        });
    }
    message("data", fields, labels)
}

pub(crate) fn series_schema(labels: &[String]) -> Result<TypePtr> {
    let mut fields = Vec::new();
    for (at, name) in series::NAMES.iter().enumerate() {
        fields.push(match at {
            series::HASH | series::FIRST_T | series::LAST_T => scalar(name, Physical::INT64)?,
            series::TYPE | series::UNIT | series::HELP => text(name, Repetition::OPTIONAL)?,
            series::MAP_KEY => map(name)?,
            _ => scalar(name, Physical::INT32)?,
        });
    }
    message("series", fields, labels)
}

pub(crate) fn ts_schema() -> Result<TypePtr> {
    message("ts", vec![scalar("ts_id", Physical::INT32)?, list("t", Physical::INT64, false)?], &[])
}

pub(crate) fn histograms_schema() -> Result<TypePtr> {
    use Physical::{DOUBLE, INT32, INT64};
    let fields = vec![
        scalar("sid", INT32)?,
        scalar("t", INT64)?,
        scalar("st", INT64)?,
        scalar("counter_reset", INT32)?,
        scalar("integer", INT32)?,
        scalar("schema", INT32)?,
        scalar("zero_threshold", DOUBLE)?,
        scalar("zero_count", DOUBLE)?,
        scalar("count", DOUBLE)?,
        scalar("sum", DOUBLE)?,
        list("positive_offsets", INT32, false)?,
        list("positive_lengths", INT32, false)?,
        list("positive", DOUBLE, false)?,
        list("negative_offsets", INT32, false)?,
        list("negative_lengths", INT32, false)?,
        list("negative", DOUBLE, false)?,
        list("bounds", DOUBLE, false)?,
    ];
    message("histograms", fields, &[])
}

pub(crate) fn exemplars_schema() -> Result<TypePtr> {
    use Physical::{DOUBLE, INT32, INT64};
    message(
        "exemplars",
        vec![scalar("sid", INT32)?, scalar("t", INT64)?, scalar("value", DOUBLE)?, map("labels")?],
        &[],
    )
}

/// The properties that all files share: zstd, dictionaries for text, and statistics of every page.
fn common() -> Result<WriterPropertiesBuilder> {
    Ok(WriterProperties::builder()
        .set_created_by(concat!("pharos ", env!("CARGO_PKG_VERSION")).to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_data_page_size_limit(SCALAR_PAGE_BYTES)
        .set_data_page_row_count_limit(MAX_GROUP_ROWS)
        .set_write_batch_size(1024)
        .set_max_row_group_row_count(None)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_statistics_enabled(EnabledStatistics::Page))
}

fn column(path: &str) -> ColumnPath {
    ColumnPath::new(path.split('.').map(str::to_string).collect())
}

fn encoded(builder: WriterPropertiesBuilder, paths: &[&str], encoding: Encoding) -> WriterPropertiesBuilder {
    paths.iter().fold(builder, |builder, path| {
        builder.set_column_dictionary_enabled(column(path), false).set_column_encoding(column(path), encoding)
    })
}

/// Lists of samples get small pages, which end at row boundaries, and no statistics.
fn sample_lists(builder: WriterPropertiesBuilder, paths: &[&str], bytes: usize) -> WriterPropertiesBuilder {
    paths.iter().fold(builder, |builder, path| {
        builder
            .set_column_data_page_size_limit(column(path), bytes)
            .set_column_data_page_row_count_limit(column(path), 1024)
            .set_column_statistics_enabled(column(path), EnabledStatistics::None)
    })
}

pub(crate) fn data_properties() -> Result<WriterProperties> {
    let builder = encoded(
        common()?,
        &["sid", "slice_t", "ts_id", "ts_off", "n", "vi.list.element", "st.list.element"],
        Encoding::DELTA_BINARY_PACKED,
    );
    let builder = encoded(builder, &["v0"], Encoding::PLAIN);
    let builder = encoded(builder, &["vd.list.element"], Encoding::BYTE_STREAM_SPLIT);
    let lists = ["vi.list.element", "vd.list.element", "st.list.element"];
    Ok(sample_lists(builder, &lists, LIST_PAGE_BYTES).build())
}

pub(crate) fn series_properties() -> Result<WriterProperties> {
    let packed = ["sid", "shard", "slices", "histograms", "exemplars", "first_t", "last_t"];
    let builder = encoded(common()?, &packed, Encoding::DELTA_BINARY_PACKED);
    Ok(encoded(builder, &["hash"], Encoding::PLAIN).build())
}

pub(crate) fn ts_properties() -> Result<WriterProperties> {
    let builder = encoded(common()?, &["ts_id", "t.list.element"], Encoding::DELTA_BINARY_PACKED);
    Ok(sample_lists(builder, &["t.list.element"], TS_PAGE_BYTES).build())
}

pub(crate) fn histograms_properties() -> Result<WriterProperties> {
    let packed = [
        "sid",
        "t",
        "st",
        "counter_reset",
        "integer",
        "schema",
        "positive_offsets.list.element",
        "positive_lengths.list.element",
        "negative_offsets.list.element",
        "negative_lengths.list.element",
    ];
    let builder = encoded(common()?, &packed, Encoding::DELTA_BINARY_PACKED);
    let split = ["zero_count", "count", "sum", "positive.list.element", "negative.list.element"];
    let builder = encoded(builder, &split, Encoding::BYTE_STREAM_SPLIT);
    let builder = encoded(builder, &["zero_threshold", "bounds.list.element"], Encoding::PLAIN);
    let lists = [&packed[6..], &["positive.list.element", "negative.list.element", "bounds.list.element"]].concat();
    Ok(sample_lists(builder, &lists, LIST_PAGE_BYTES).build())
}

pub(crate) fn exemplars_properties() -> Result<WriterProperties> {
    let builder = encoded(common()?, &["sid", "t"], Encoding::DELTA_BINARY_PACKED);
    Ok(encoded(builder, &["value"], Encoding::PLAIN).build())
}

#[cfg(test)]
mod tests;
