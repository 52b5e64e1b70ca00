//! What the catalogue keeps of a block, and its stable encoding: JSON, in the catalogue and in the footer of `data.parquet`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pharos_model::{Matcher, TenantId, TimeRange};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::error::BlockError;
use crate::filter::LabelFilter;
use crate::reader::file::ParquetFile;

/// The version of the layout that this code writes; it reads no newer one.
pub const FORMAT_VERSION: u32 = 1;
/// The footer key under which the metadata is.
pub const META_KEY: &str = "pharos.block";
/// Most bytes of encoded metadata that are taken.
pub const MAX_META_BYTES: usize = 8 << 20;

/// Samples in typed columns.
pub const DATA: &str = "data.parquet";
/// The series and their labels.
pub const SERIES: &str = "series.parquet";
/// Timestamp vectors, shared by series.
pub const TS: &str = "ts.parquet";
/// Native histograms.
pub const HISTOGRAMS: &str = "histograms.parquet";
/// Exemplars.
pub const EXEMPLARS: &str = "exemplars.parquet";

/// Everything that the catalogue keeps of a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockMeta {
    /// The version of the layout.
    pub version: u32,
    /// The block's name.
    #[serde(with = "ulid_text")]
    pub id: Ulid,
    /// Whose samples it holds.
    #[serde(with = "tenant_text")]
    pub tenant: TenantId,
    /// First millisecond of its window.
    pub window_start: i64,
    /// First millisecond after its window.
    pub window_end: i64,
    /// Oldest sample, milliseconds; `i64::MAX` when there is none.
    pub min_t: i64,
    /// Newest sample, milliseconds; `i64::MIN` when there is none.
    pub max_t: i64,
    /// The shards whose samples it holds, ascending.
    pub shards: Vec<u32>,
    /// How many shards the cluster has.
    pub shards_total: u32,
    /// Of samples of one series with the same timestamp, those of the block with the highest sequence win.
    pub sequence: u64,
    /// Milliseconds between samples of a downsampled block; 0 for raw samples.
    pub resolution: i64,
    /// The blocks that it was made of; empty when it was cut from a head.
    #[serde(default, with = "ulids_text")]
    pub sources: Vec<Ulid>,
    /// Series.
    pub series: u64,
    /// Float samples.
    pub samples: u64,
    /// Histogram samples.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Its files by name. Empty in a footer, where it cannot be known yet.
    #[serde(default)]
    pub files: BTreeMap<String, FileMeta>,
    /// Which label values it has.
    #[serde(with = "filter_text")]
    pub filter: LabelFilter,
}

/// A file of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Its size, bytes.
    pub bytes: u64,
    /// The bytes at its end that hold the footer and the page index, 0 when unknown.
    #[serde(default)]
    pub tail: u64,
    /// CRC-32 of those bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc: Option<u32>,
}

impl BlockMeta {
    /// The stable encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory cannot fail and no map has keys other than strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stable encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        let unusable = |reason: String| BlockError::Meta { block: "(unknown)".into(), reason };
        if bytes.len() > MAX_META_BYTES {
            return Err(unusable(format!("{} bytes are more than {MAX_META_BYTES}", bytes.len())));
        }
        let meta: BlockMeta = serde_json::from_slice(bytes).map_err(|e| unusable(e.to_string()))?;
        let unusable = |reason: &str| BlockError::Meta { block: meta.id.to_string(), reason: reason.into() };
        if meta.version == 0 || meta.version > FORMAT_VERSION {
            return Err(unusable(&format!(
                "layout version {} is not known, the newest is {FORMAT_VERSION}",
                meta.version
            )));
        }
        if meta.window_end <= meta.window_start {
            return Err(unusable("its window is empty"));
        }
        if meta.shards.iter().any(|s| *s >= meta.shards_total) {
            return Err(unusable(&format!("it covers a shard beyond the {} that exist", meta.shards_total)));
        }
        Ok(meta)
    }

    /// Reads the metadata of the block in folder `prefix` from the footers of its files, to rebuild a lost catalogue.
    pub async fn read_from_bucket(store: &dyn ObjectStore, prefix: &Path) -> Result<Self, BlockError> {
        let mut files = BTreeMap::new();
        for name in [DATA, SERIES, TS, HISTOGRAMS, EXEMPLARS] {
            match store.head(&prefix.clone().join(name)).await {
                Ok(object) => {
                    files.insert(name.to_string(), FileMeta { bytes: object.size, tail: 0, crc: None });
                }
                Err(object_store::Error::NotFound { .. }) if matches!(name, HISTOGRAMS | EXEMPLARS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut meta = None;
        for (name, file) in &mut files {
            let opened = ParquetFile::open(store, prefix.clone().join(name.as_str()), *file).await?;
            (file.tail, file.crc) = (opened.tail, Some(opened.tail_crc));
            if name == DATA {
                let bytes = opened.key_value(META_KEY).ok_or_else(|| {
                    BlockError::damaged(opened.name(), format!("its footer has no {META_KEY:?}, so it is no block"))
                })?;
                meta = Some(BlockMeta::from_bytes(bytes.as_bytes())?);
            }
        }
        let meta =
            meta.ok_or_else(|| BlockError::Meta { block: prefix.to_string(), reason: "it has no data".into() })?;
        Ok(BlockMeta { files, ..meta })
    }

    /// The folder of the block below the bucket's root: `tenant/blocks/<ulid>`.
    pub fn folder(&self) -> Path {
        Path::from_iter([self.tenant.as_str(), "blocks", &self.id.to_string()])
    }

    /// The time from its oldest to its newest sample; empty when it has none.
    pub fn time_range(&self) -> TimeRange {
        TimeRange::new(self.min_t, self.max_t)
    }

    /// Whether the block may hold samples of a selector. `false` is certain.
    pub fn may_match(&self, matchers: &[Matcher], range: TimeRange) -> bool {
        self.time_range().overlaps(&range) && matchers.iter().all(|matcher| self.filter.may_match(matcher))
    }

    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

mod ulid_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(id: &Ulid, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&id.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Ulid, D::Error> {
        let text = String::deserialize(input)?;
        Ulid::from_string(&text).map_err(|e| serde::de::Error::custom(format!("block id {text:?}: {e}")))
    }
}

mod ulids_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(ids: &[Ulid], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(ids.iter().map(Ulid::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Ulid>, D::Error> {
        let texts = Vec::<String>::deserialize(input)?;
        let parse =
            |text: &String| Ulid::from_string(text).map_err(|e| serde::de::Error::custom(format!("{text:?}: {e}")));
        texts.iter().map(parse).collect()
    }
}

mod tenant_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(tenant: &TenantId, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(tenant.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<TenantId, D::Error> {
        TenantId::new(&String::deserialize(input)?).map_err(serde::de::Error::custom)
    }
}

mod filter_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(filter: &LabelFilter, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&BASE64.encode(filter.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<LabelFilter, D::Error> {
        let bytes = BASE64.decode(String::deserialize(input)?).map_err(serde::de::Error::custom)?;
        LabelFilter::from_bytes(bytes).ok_or_else(|| serde::de::Error::custom("label filter is too large"))
    }
}
