//! Writes the block of a cut, and describes it to the catalogue.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use pharos_block::{BlockError, BlockWriter, FinishedBlock, WriterOptions};
use pharos_cluster::{BlockEntry, CutId};
use pharos_head::{CutSeries, WindowCut};
use pharos_model::hash::name_hash;
use pharos_model::{BlockDigest, Exemplar, Labels, Metadata, ShardDigest};
use ulid::Ulid;

use crate::Ingester;

/// The protocol from which on nodes find blocks in escaped folders of tenants.
const ESCAPED_FOLDER_PROTOCOL: u32 = 1;

/// Writes series of a cut in label order.
pub(super) struct WindowWriter {
    writer: BlockWriter,
    families: HashMap<String, Metadata>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    digests: BTreeMap<u32, ShardDigest>,
}

/// A block that is not uploaded yet.
pub(super) struct WrittenBlock {
    pub(super) block: FinishedBlock,
    /// By shard.
    pub(super) digests: BTreeMap<u32, ShardDigest>,
}

impl WindowWriter {
    /// Begins a block for the shards of a cut.
    pub(super) fn new(ingester: &Ingester, cut: &WindowCut) -> Result<Self, BlockError> {
        let (window, id) = (cut.window(), new_id(ingester));
        let mut options = WriterOptions::new(id, cut.tenant().clone(), window.start, window.end);
        options.shards_total = ingester.config.shards_total;
        options.shards = Some(cut.shards().iter().collect());
        options.sequence = id.timestamp_ms();
        options.deletions_seen = cut.deletions();
        options.escaped_folder = ingester.meta.view().supports(ESCAPED_FOLDER_PROTOCOL).is_ok();
        Ok(WindowWriter {
            writer: BlockWriter::new(options)?,
            families: ingester.head.metadata(cut.tenant()).into_iter().collect(),
            exemplars: cut.exemplars().iter().map(|s| (s.labels.clone(), s.exemplars.clone())).collect(),
            digests: BTreeMap::new(),
        })
    }

    /// Appends a series with its exemplars.
    pub(super) fn push(&mut self, series: &CutSeries<'_>) -> Result<(), BlockError> {
        self.digests.entry(series.shard).or_default().absorb(series.digest());
        let metadata = family_of(&self.families, series.labels.metric_name());
        self.writer.push(series.labels, series.hash, metadata, series.samples)?;
        match self.exemplars.remove(series.labels) {
            Some(found) => self.writer.push_exemplars(&found),
            None => Ok(()),
        }
    }

    /// Completes the block.
    pub(super) fn finish(self) -> Result<WrittenBlock, BlockError> {
        Ok(WrittenBlock { block: self.writer.finish()?, digests: self.digests })
    }
}

/// Writes the block of a whole cut.
pub(super) fn write(ingester: &Ingester, cut: &WindowCut) -> Result<WrittenBlock, BlockError> {
    let mut writer = WindowWriter::new(ingester, cut)?;
    cut.for_each(|series| writer.push(&series))?;
    writer.finish()
}

/// The catalogue entry of a block. `whole` are the digests of sets of samples each of which is in this block or an earlier
/// one, by shard.
pub(super) fn entry(
    ingester: &Ingester,
    cut: &WindowCut,
    written: &WrittenBlock,
    delta: bool,
    whole: &BTreeMap<u32, ShardDigest>,
) -> BlockEntry {
    let meta = &written.block.meta;
    let digest = |(shard, held): (&u32, &ShardDigest)| BlockDigest {
        shard: *shard,
        held: *held,
        whole: whole.get(shard).copied(),
    };
    BlockEntry {
        id: meta.id.to_string(),
        window_start: meta.window_start,
        window_end: meta.window_end,
        min_t: meta.min_t,
        max_t: meta.max_t,
        shards: meta.shards.clone(),
        delta,
        sequence: 0,
        bytes: meta.bytes(),
        series: meta.series,
        samples: meta.samples + meta.histograms,
        resolution_ms: meta.resolution,
        cut: Some(CutId { ingester: ingester.config.identity.clone(), number: cut.number() }),
        digests: written.digests.iter().map(digest).collect(),
        deletions_seen: Some(cut.deletions()),
        meta: String::from_utf8_lossy(&meta.to_bytes()).into_owned(),
    }
}

/// A unique block id. Within a process a counter distinguishes blocks of the same millisecond. Across nodes the
/// identity does, and across restarts of a node the time since the start.
fn new_id(ingester: &Ingester) -> Ulid {
    let counter = ingester.flusher.ids.fetch_add(1, Ordering::Relaxed) as u16;
    let since_start = ingester.clock.monotonic().as_nanos() as u64 & 0xffff_ffff;
    let node = name_hash(&ingester.config.identity) as u32;
    let random = u128::from(counter) << 64 | u128::from(since_start) << 32 | u128::from(node);
    Ulid::from_parts(ingester.clock.now_ms().max(0) as u64, random)
}

/// The metadata of the family of a series. Series of histograms and summaries have suffixes.
fn family_of<'a>(families: &'a HashMap<String, Metadata>, name: &str) -> Option<&'a Metadata> {
    let base = || ["_bucket", "_sum", "_count", "_total"].iter().find_map(|s| families.get(name.strip_suffix(s)?));
    families.get(name).or_else(base)
}
