//! The exact difference between a cut and listed blocks: the samples of the cut that no block shows.
//!
//! A block shows a sample if it holds the series and timestamp and no deletion masks it. Where several blocks hold a timestamp, the
//! one committed last decides, as for queries. A sample with another value than the one that blocks show belongs to the
//! difference.
//!
//! The cut is read in parts of bounded size, and for each part what the blocks hold of its series. Only the series tables of
//! the blocks are in memory as a whole, and what is left over as a compressed block.
//!
//! [`Comparison`] goes through the parts; [`write`] makes a block of what is left.

mod subtract;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use pharos_block::{BlockCache, BlockError, BlockMeta, BlockReader, BlockSelection};
use pharos_cluster::{BlockEntry, Deletion, TenantCatalogue};
use pharos_head::{CutSeries, WindowCut};
use pharos_model::hash::shard_of;
use pharos_model::{Labels, Matcher, SeriesBatch, SeriesView, ShardDigest, TimeRange};
use pharos_promql::syntax::parse_metric_selector;

use super::block::{WindowWriter, WrittenBlock};
use super::error::{FlushError, blocking};
use super::tenant::Flushing;
use crate::Ingester;
use subtract::Remainder;

/// Series of a part.
const PART_SERIES: usize = 512;
/// Samples after which a part ends.
const PART_SAMPLES: usize = 1 << 20;
/// Samples of a block that are fetched at a time, as far as the average length of its series tells.
const FETCHED_SAMPLES: u64 = 4 << 20;
/// Memory for pages that are needed again, bytes.
const CACHE_BYTES: u64 = 32 << 20;

/// What no listed block shows.
pub(super) struct Difference {
    /// The block of the remaining samples, which may be empty.
    pub(super) written: WrittenBlock,
    /// The digest of all samples of the cut, by shard. Each of them is in the block or in a listed one.
    pub(super) compared: BTreeMap<u32, ShardDigest>,
}

/// A block that is being compared.
struct OpenBlock {
    id: String,
    selection: BlockSelection,
    /// The deletions that mask it.
    masks: Vec<Mask>,
    /// The first series that is not behind the current part.
    next: usize,
    /// Series that are fetched at a time.
    fetched_series: usize,
}

/// A deletion.
struct Mask {
    matchers: Vec<Matcher>,
    range: TimeRange,
}

/// Some series of the cut, ascending by labels.
#[derive(Default)]
struct Part {
    labels: Vec<Labels>,
    hashes: Vec<u64>,
    shards: Vec<u32>,
    samples: SeriesBatch,
}

/// A comparison of a cut with blocks, part by part.
pub(crate) struct Comparison {
    cut: Arc<WindowCut>,
    /// Newest first.
    blocks: Vec<OpenBlock>,
    /// The first series that has not been compared.
    from: usize,
}

/// A part of a cut that was compared.
pub(crate) struct Compared {
    part: Part,
    remainders: Vec<Remainder>,
}

impl Comparison {
    /// Begins a comparison.
    pub(crate) async fn open(
        ingester: &Arc<Ingester>,
        cut: Arc<WindowCut>,
        catalogue: Option<&TenantCatalogue>,
        blocks: &[&BlockEntry],
    ) -> Result<Self, FlushError> {
        let mut open = Vec::with_capacity(blocks.len());
        let cache = Arc::new(BlockCache::new(CACHE_BYTES));
        for entry in blocks.iter().rev() {
            let opened = OpenBlock::open(ingester, &cut, entry, catalogue, cache.clone()).await;
            open.push(opened.map_err(|source| unreadable(&cut, &entry.id, source))?);
        }
        Ok(Comparison { cut, blocks: open, from: 0 })
    }

    /// Compares the next part; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Compared>, FlushError> {
        if self.from >= self.cut.series() {
            return Ok(None);
        }
        let (of, from) = (self.cut.clone(), self.from);
        let (part, to) = blocking(move || Ok(Part::read(&of, from))).await?;
        self.from = to;
        let mut remainders: Vec<Remainder> =
            (0..part.labels.len()).map(|i| Remainder::of(part.samples.view(i))).collect();
        for block in &mut self.blocks {
            let subtracted = block.subtract(&part, &mut remainders).await;
            subtracted.map_err(|source| unreadable(&self.cut, &block.id, source))?;
        }
        Ok(Some(Compared { part, remainders }))
    }
}

impl Compared {
    /// Calls `each` with what no block shows of each series, whether blocks have other values there or nothing.
    fn for_each_left<E>(&self, each: impl FnMut(&CutSeries<'_>) -> Result<(), E>) -> Result<(), E> {
        self.for_each(Remainder::push_to, each)
    }

    /// Calls `each` with what blocks show with another value of each series.
    pub(crate) fn for_each_differing(&self, mut each: impl FnMut(&CutSeries<'_>)) {
        let Ok(()) = self.for_each(Remainder::push_differing_to, |series| {
            each(series);
            Ok::<_, Infallible>(())
        });
    }

    /// Calls `each` with what `push` picks of each series.
    fn for_each<E>(
        &self,
        push: impl Fn(&Remainder, SeriesView<'_>, &mut SeriesBatch) -> bool,
        mut each: impl FnMut(&CutSeries<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = SeriesBatch::default();
        for (i, remainder) in self.remainders.iter().enumerate() {
            rest.clear();
            if push(remainder, self.part.samples.view(i), &mut rest) {
                each(&CutSeries { samples: rest.view(0), ..self.part.series(i) })?;
            }
        }
        Ok(())
    }
}

/// Writes a block of the samples of a cut that none of the `blocks` shows.
pub(super) async fn write(
    at: &Flushing<'_>,
    cut: &Arc<WindowCut>,
    catalogue: Option<&TenantCatalogue>,
    blocks: &[&BlockEntry],
) -> Result<Difference, FlushError> {
    let mut comparison = Comparison::open(at.ingester, cut.clone(), catalogue, blocks).await?;
    let (shared, of) = (at.ingester.clone(), cut.clone());
    let mut writer = blocking(move || WindowWriter::new(&shared, &of).map_err(|e| unwritable(&of, e))).await?;
    let mut compared: BTreeMap<u32, ShardDigest> = BTreeMap::new();
    while let Some(found) = comparison.next().await? {
        for i in 0..found.part.labels.len() {
            compared.entry(found.part.shards[i]).or_default().absorb(found.part.series(i).digest());
        }
        let of = cut.clone();
        writer = blocking(move || {
            found.for_each_left(|series| writer.push(series)).map_err(|e| unwritable(&of, e))?;
            Ok(writer)
        })
        .await?;
    }
    let of = cut.clone();
    let written = blocking(move || writer.finish().map_err(|e| unwritable(&of, e))).await?;
    Ok(Difference { written, compared })
}

fn unreadable(cut: &WindowCut, block: &str, source: BlockError) -> FlushError {
    FlushError::Unreadable { tenant: cut.tenant().clone(), window: cut.window().start, block: block.into(), source }
}

fn unwritable(cut: &WindowCut, source: BlockError) -> FlushError {
    FlushError::Block { tenant: cut.tenant().clone(), window: cut.window().start, source }
}

impl Part {
    /// Reads series from a position on, at least one; returns the position of the next part, too.
    fn read(cut: &WindowCut, from: usize) -> (Part, usize) {
        let (mut part, mut at) = (Part::default(), from);
        while at < cut.series() && part.labels.len() < PART_SERIES && part.samples.samples() < PART_SAMPLES {
            let Ok(()) = cut.for_each_in(at..at + 1, |series| {
                part.labels.push(series.labels.clone());
                part.hashes.push(series.hash);
                part.shards.push(series.shard);
                part.samples.push(series.samples);
                Ok::<_, Infallible>(())
            });
            at += 1;
        }
        (part, at)
    }

    fn series(&self, i: usize) -> CutSeries<'_> {
        let (labels, hash, shard) = (&self.labels[i], self.hashes[i], self.shards[i]);
        CutSeries { labels, hash, shard, samples: self.samples.view(i) }
    }

    /// The time range of some of the series.
    fn range_of(&self, series: impl Iterator<Item = usize>) -> TimeRange {
        let views = series.map(|i| self.samples.view(i));
        let edges = views.flat_map(|s| [s.t.first(), s.t.last(), s.ht.first(), s.ht.last()]).flatten();
        let all = |(min, max): (i64, i64), t: &i64| (min.min(*t), max.max(*t));
        let (min, max) = edges.fold((i64::MAX, i64::MIN), all);
        TimeRange::new(min, max)
    }
}

impl OpenBlock {
    async fn open(
        ingester: &Arc<Ingester>,
        cut: &WindowCut,
        entry: &BlockEntry,
        catalogue: Option<&TenantCatalogue>,
        cache: Arc<BlockCache>,
    ) -> Result<Self, BlockError> {
        let meta = Arc::new(BlockMeta::from_bytes(entry.meta.as_bytes())?);
        let reader = BlockReader::open(ingester.objects.clone(), meta.folder(), meta, cache).await?;
        let window = TimeRange::new(cut.window().start, cut.window().end.saturating_sub(1));
        let total = ingester.config.shards_total;
        let selection = reader.select(&[], window, 0).await?;
        let selection = selection.filter(|_, hash| cut.shards().contains(shard_of(hash, total)));
        let samples_per_series = (entry.samples / entry.series.max(1)).max(1);
        Ok(OpenBlock {
            id: entry.id.clone(),
            selection,
            masks: masks_of(entry, catalogue),
            next: 0,
            fetched_series: (FETCHED_SAMPLES / samples_per_series).clamp(1, PART_SERIES as u64) as usize,
        })
    }

    /// Subtracts what the block shows of the series of a part. Parts come in ascending order.
    async fn subtract(&mut self, part: &Part, remainders: &mut [Remainder]) -> Result<(), BlockError> {
        // Positions in the block and in the part.
        let mut common: Vec<(usize, usize)> = Vec::new();
        let theirs = self.selection.labels();
        for (i, labels) in part.labels.iter().enumerate() {
            self.next += theirs[self.next..].partition_point(|other| other < labels);
            if theirs.get(self.next) == Some(labels) {
                common.push((self.next, i));
            }
        }
        for some in common.chunks(self.fetched_series) {
            let positions: Vec<usize> = some.iter().map(|(at, _)| *at).collect();
            let picked = self.selection.pick(&positions);
            let mut shown = SeriesBatch::default();
            picked.fetch(0..picked.len(), part.range_of(some.iter().map(|(_, i)| *i)), &mut shown).await?;
            for (at, (_, i)) in some.iter().enumerate() {
                let hidden = self.hidden(&part.labels[*i]);
                remainders[*i].subtract(part.samples.view(*i), shown.view(at), &hidden);
            }
        }
        Ok(())
    }

    /// The times at which deletions mask a series of the block.
    fn hidden(&self, labels: &Labels) -> Vec<TimeRange> {
        let matches = |mask: &&Mask| mask.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
        self.masks.iter().filter(matches).map(|mask| mask.range).collect()
    }
}

/// The deletions that mask a block. One that cannot be read masks all series: their samples are shipped again, which does no
/// harm.
fn masks_of(entry: &BlockEntry, catalogue: Option<&TenantCatalogue>) -> Vec<Mask> {
    let parse = |deletion: &Deletion| Mask {
        matchers: parse_metric_selector(&deletion.selector).unwrap_or_default(),
        range: deletion.range(),
    };
    let deletions = catalogue.into_iter().flat_map(|known| &known.deletions);
    deletions.filter(|deletion| deletion.masks(entry)).map(parse).collect()
}
