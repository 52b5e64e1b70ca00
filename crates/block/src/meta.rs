//! The metadata of a block, and its stable encoding as JSON in the catalogue and in the footer of `data.parquet`.

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

/// The newest version of the layout. Newer ones are not read.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The version from which on a block is in [`TenantId::folder`]; older ones are in [`TenantId::legacy_folder`].
const ESCAPED_FOLDER: u32 = 2;
/// The footer key of the metadata.
pub(crate) const META_KEY: &str = "pharos.block";
/// The size limit of encoded metadata, in bytes.
pub(crate) const MAX_META_BYTES: usize = 8 << 20;

/// The file of float samples.
pub(crate) const DATA: &str = "data.parquet";
/// The file of series and their labels.
pub(crate) const SERIES: &str = "series.parquet";
/// The file of timestamp vectors, which series share.
pub(crate) const TS: &str = "ts.parquet";
/// The file of native histograms.
pub(crate) const HISTOGRAMS: &str = "histograms.parquet";
/// The file of exemplars.
pub(crate) const EXEMPLARS: &str = "exemplars.parquet";

/// Everything that the catalogue stores of a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockMeta {
    /// The version of the layout.
    pub version: u32,
    /// The name of the block.
    #[serde(with = "ulid_text")]
    pub id: Ulid,
    /// The owner of the samples.
    #[serde(with = "tenant_text")]
    pub tenant: TenantId,
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// The oldest timestamp in milliseconds; `i64::MAX` without samples.
    pub min_t: i64,
    /// The newest timestamp in milliseconds; `i64::MIN` without samples.
    pub max_t: i64,
    /// The shards that the block covers, ascending.
    pub shards: Vec<u32>,
    /// How many shards the cluster has.
    pub shards_total: u32,
    /// Where blocks hold different samples of a series for one timestamp, the block with the highest sequence wins.
    pub sequence: u64,
    /// The number of the tenant's newest deletion before the samples were cut; newer ones mask the block. It is only written
    /// when there was one, so that versions without it read the blocks of tenants that never deleted anything.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deletions_seen: u64,
    /// The step of a downsampled block, in milliseconds; 0 for raw samples.
    pub resolution: i64,
    /// The blocks that this one was made from; empty for a block that was cut from a head.
    #[serde(default, with = "ulids_text")]
    pub sources: Vec<Ulid>,
    /// How many series there are.
    pub series: u64,
    /// How many float samples there are.
    pub samples: u64,
    /// How many histogram samples there are.
    pub histograms: u64,
    /// How many exemplars there are.
    pub exemplars: u64,
    /// The files of the block by name. Empty in the footer, which is written before they are complete.
    #[serde(default)]
    pub files: BTreeMap<String, FileMeta>,
    /// Tells which label values the block does not have.
    #[serde(with = "filter_text")]
    pub filter: LabelFilter,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A file of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// How many bytes at the end hold the footer and the page index; 0 when unknown.
    #[serde(default)]
    pub tail: u64,
    /// CRC-32 of those bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc: Option<u32>,
}

impl BlockMeta {
    /// The version of a new block: the oldest that says where it is, so that older programs read what they can find.
    pub(crate) fn version_for(tenant: &TenantId, escaped_folder: bool) -> u32 {
        if escaped_folder && tenant.folder() != tenant.legacy_folder() { ESCAPED_FOLDER } else { 1 }
    }

    /// Encodes the metadata as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Cannot fail: the target is memory and all map keys are strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes and checks metadata.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        let unusable = |reason: String| BlockError::Meta { block: "(unknown)".into(), reason };
        if bytes.len() > MAX_META_BYTES {
            return Err(unusable(format!("{} bytes exceed the limit of {MAX_META_BYTES}", bytes.len())));
        }
        let meta: BlockMeta = serde_json::from_slice(bytes).map_err(|e| unusable(e.to_string()))?;
        let unusable = |reason: &str| BlockError::Meta { block: meta.id.to_string(), reason: reason.into() };
        if meta.version == 0 || meta.version > FORMAT_VERSION {
            return Err(unusable(&format!(
                "layout version {} is unknown, the newest supported one is {FORMAT_VERSION}",
                meta.version
            )));
        }
        if meta.window_end <= meta.window_start {
            return Err(unusable("window is empty"));
        }
        if meta.shards.iter().any(|s| *s >= meta.shards_total) {
            return Err(unusable(&format!("it covers a shard beyond the {} of the cluster", meta.shards_total)));
        }
        Ok(meta)
    }

    /// Reads the metadata of the block in folder `prefix` from the footers of its files, which rebuilds a lost catalogue.
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
            file.tail = opened.tail;
            file.crc = Some(opened.tail_crc);
            if name == DATA {
                let bytes = opened.key_value(META_KEY).ok_or_else(|| {
                    BlockError::damaged(
                        opened.name(),
                        format!("footer has no key {META_KEY:?}, so this is not a block"),
                    )
                })?;
                meta = Some(BlockMeta::from_bytes(bytes.as_bytes())?);
            }
        }
        let meta =
            meta.ok_or_else(|| BlockError::Meta { block: prefix.to_string(), reason: "it has no data file".into() })?;
        Ok(BlockMeta { files, ..meta })
    }

    /// The folder of the block in the bucket: `<tenant's folder>/blocks/<ulid>`.
    pub fn folder(&self) -> Path {
        // `Path` turns an asterisk into `%2A`, which makes it the legacy folder.
        let tenant =
            if self.version >= ESCAPED_FOLDER { self.tenant.folder() } else { self.tenant.as_str().to_string() };
        Path::from_iter([tenant.as_str(), "blocks", &self.id.to_string()])
    }

    /// The time range of the samples; empty without samples.
    pub fn time_range(&self) -> TimeRange {
        TimeRange::new(self.min_t, self.max_t)
    }

    /// Whether the block may hold samples of a selector. The answer `false` is certain.
    pub fn may_match(&self, matchers: &[Matcher], range: TimeRange) -> bool {
        self.time_range().overlaps(&range) && matchers.iter().all(|matcher| self.filter.may_match(matcher))
    }

    /// The total size of the files, in bytes.
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
        LabelFilter::from_bytes(bytes).ok_or_else(|| serde::de::Error::custom("label filter exceeds its size limit"))
    }
}

#[cfg(test)]
mod tests;
