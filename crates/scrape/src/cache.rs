//! The series of one target: it maps the lines of a body to prepared labels, and knows which series the last scrape had,
//! so that those that vanish get a stale marker.
//!
//! In a steady state a scrape costs one comparison of bytes a series: targets keep the order of their lines, so the cache
//! predicts the next one ([`SeriesCache::expected`]). Only lines out of order are looked up by hash.

use hashbrown::HashTable;
use pharos_model::{Labels, SeriesHash, WriteBatch, is_stale_nan};
use xxhash_rust::xxh3::xxh3_64;

/// How many lines of failed scrapes are kept, beyond twice those of the last good one.
const MAX_UNCONFIRMED: usize = 1000;

/// The index of an entry.
pub(crate) type EntryId = u32;

/// The series that a line of the body stands for.
pub(crate) struct Entry {
    key: Box<[u8]>,
    /// Canonical labels after relabelling; empty when relabelling drops the series.
    pub(crate) canonical: Box<[u8]>,
    pub(crate) hash: SeriesHash,
    /// Whether its last sample was a native histogram.
    pub(crate) is_histogram: bool,
    /// The last scrape that had the line.
    seen: u64,
    /// The last scrape that tracked the series for its stale marker; 0 when the last good one did not.
    tracked: u64,
    /// The index of the line in the last scrape that had it.
    position: u32,
    /// The last exemplar without a timestamp.
    exemplar: Option<Box<KnownExemplar>>,
}

/// An exemplar without a timestamp, which is stored once.
struct KnownExemplar {
    labels: Labels,
    value: f64,
    /// The first scrape that had it.
    scrape: u64,
}

impl Entry {
    /// Whether relabelling drops the series.
    pub(crate) fn is_dropped(&self) -> bool {
        self.canonical.is_empty()
    }
}

/// A series that gets a stale marker when it vanishes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrackedSeries {
    pub(crate) canonical: Box<[u8]>,
    pub(crate) hash: SeriesHash,
    pub(crate) is_histogram: bool,
}

/// The series to which a batch adds stale markers.
fn stale_series(batch: &WriteBatch) -> impl Iterator<Item = TrackedSeries> {
    batch.series().iter().filter_map(|series| {
        let is_histogram = batch.histograms_of(series).iter().any(|sample| sample.h.is_stale());
        let is_float = batch.samples_of(series).iter().any(|sample| is_stale_nan(sample.v));
        (is_float || is_histogram).then(|| TrackedSeries {
            canonical: batch.labels_of(series).into(),
            hash: series.hash,
            is_histogram,
        })
    })
}

/// The cache of one target.
#[derive(Default)]
pub(crate) struct SeriesCache {
    entries: Vec<Option<Entry>>,
    free: Vec<EntryId>,
    index: HashTable<EntryId>,
    /// The lines of the last good scrape, in order.
    order: Vec<EntryId>,
    next_order: Vec<EntryId>,
    /// The index in `order` of the line that is expected next.
    position: usize,
    /// The series that the last good scrape tracked.
    tracked: Vec<EntryId>,
    next_tracked: Vec<EntryId>,
    /// The number of series in `tracked` that the running scrape tracks too.
    retained: usize,
    /// Entries that the running scrape inserted.
    created: Vec<EntryId>,
    /// Series that a predecessor of this target tracked, sorted by hash.
    inherited: Vec<TrackedSeries>,
    /// Those that the last scrape has taken over or marked as stale.
    settled: Vec<TrackedSeries>,
    scrape: u64,
}

impl SeriesCache {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.scrape += 1;
        self.position = 0;
        self.retained = 0;
        self.next_order.clear();
        self.next_tracked.clear();
        self.created.clear();
        self.settled.clear();
    }

    /// The key of the line that is expected next.
    pub(crate) fn expected(&self) -> &[u8] {
        self.expected_id().and_then(|id| self.get(id)).map_or(b"", |entry| &entry.key)
    }

    /// The entry of the line that is expected next.
    pub(crate) fn expected_id(&self) -> Option<EntryId> {
        self.order.get(self.position).copied()
    }

    /// Looks up the entry of a line.
    pub(crate) fn find(&self, key: &[u8]) -> Option<EntryId> {
        let is_key = |id: &EntryId| self.get(*id).is_some_and(|entry| &*entry.key == key);
        self.index.find(xxh3_64(key), is_key).copied()
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// Adds a line. Empty labels mean that relabelling drops its series.
    pub(crate) fn insert(&mut self, key: &[u8], canonical: &[u8], hash: SeriesHash) -> EntryId {
        let entry = Entry {
            key: key.into(),
            canonical: canonical.into(),
            hash,
            is_histogram: false,
            seen: 0,
            tracked: 0,
            position: 0,
            exemplar: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = Some(entry);
                id
            }
            None => {
                self.entries.push(Some(entry));
                (self.entries.len() - 1) as EntryId
            }
        };
        let entries = &self.entries;
        let rehash = |id: &EntryId| entries[*id as usize].as_ref().map_or(0, |entry| xxh3_64(&entry.key));
        self.index.insert_unique(xxh3_64(key), id, rehash);
        self.created.push(id);
        id
    }

    /// Marks a line as seen; returns true when this scrape has already seen it.
    pub(crate) fn mark_seen(&mut self, id: EntryId) -> bool {
        let Some(entry) = self.entries[id as usize].as_mut() else { return false };
        // The line after this one is expected next, even when the target changed its order.
        let was_at = if self.order.get(self.position) == Some(&id) { self.position } else { entry.position as usize };
        self.position = was_at + 1;
        if entry.seen == self.scrape {
            return true;
        }
        entry.seen = self.scrape;
        entry.position = self.next_order.len() as u32;
        self.next_order.push(id);
        false
    }

    /// Tracks a series, so that it gets a stale marker when it vanishes.
    pub(crate) fn track(&mut self, id: EntryId, is_histogram: bool) {
        let scrape = self.scrape;
        let Some(entry) = self.entries[id as usize].as_mut() else { return };
        entry.is_histogram = is_histogram;
        if entry.tracked == scrape {
            return;
        }
        // Whatever the last good scrape did not track has 0.
        self.retained += usize::from(entry.tracked != 0);
        entry.tracked = scrape;
        self.next_tracked.push(id);
    }

    /// Ends a good scrape: passes vanished series to `stale` and removes lines that were not seen.
    pub(crate) fn commit(&mut self, mut stale: impl FnMut(&[u8], SeriesHash, bool)) {
        let vanished = self.retained != self.tracked.len();
        if vanished || !self.inherited.is_empty() {
            let present: std::collections::HashSet<SeriesHash> =
                self.next_tracked.iter().filter_map(|id| self.get(*id)).map(|entry| entry.hash).collect();
            for id in &self.tracked {
                let Some(entry) = self.entries[*id as usize].as_mut().filter(|e| e.tracked != self.scrape) else {
                    continue;
                };
                entry.tracked = 0;
                if !present.contains(&entry.hash) {
                    stale(&entry.canonical, entry.hash, entry.is_histogram);
                }
            }
            self.settled = std::mem::take(&mut self.inherited);
            for series in self.settled.iter().filter(|series| !present.contains(&series.hash)) {
                stale(&series.canonical, series.hash, series.is_histogram);
            }
        }
        std::mem::swap(&mut self.order, &mut self.next_order);
        std::mem::swap(&mut self.tracked, &mut self.next_tracked);
        if self.index.len() != self.order.len() {
            self.remove_unseen();
        }
    }

    /// Whether an exemplar without a timestamp differs from the last one of its series.
    pub(crate) fn is_new_exemplar(&mut self, id: EntryId, labels: &Labels, value: f64) -> bool {
        let Some(entry) = self.entries[id as usize].as_mut() else { return true };
        let is_same = |known: &KnownExemplar| known.labels == *labels && known.value.to_bits() == value.to_bits();
        if entry.exemplar.as_deref().is_some_and(is_same) {
            return false;
        }
        entry.exemplar = Some(Box::new(KnownExemplar { labels: labels.clone(), value, scrape: self.scrape }));
        true
    }

    /// Forgets the exemplars of the last scrape, because they were not stored.
    fn forget_exemplars(&mut self) {
        for entry in self.entries.iter_mut().flatten() {
            entry.exemplar.take_if(|known| known.scrape == self.scrape);
        }
    }

    /// Ends a scrape that failed or was empty: passes all series of the last good one to `stale`. The lines that it inserted stay until the next
    /// good one, so that they do not count as added again, unless they are many.
    pub(crate) fn fail(&mut self, mut stale: impl FnMut(&[u8], SeriesHash, bool)) {
        for id in std::mem::take(&mut self.tracked) {
            if let Some(entry) = self.get(id) {
                stale(&entry.canonical, entry.hash, entry.is_histogram);
            }
        }
        self.settled = std::mem::take(&mut self.inherited);
        for series in &self.settled {
            stale(&series.canonical, series.hash, series.is_histogram);
        }
        for entry in self.entries.iter_mut().flatten() {
            entry.tracked = 0;
        }
        self.forget_exemplars();
        if self.index.len() > 2 * self.order.len() + MAX_UNCONFIRMED {
            for id in std::mem::take(&mut self.created) {
                self.remove(id);
            }
        }
    }

    /// Takes the last scrape back, because its batch was not stored: series that it added are unknown again, and those that
    /// it marked as stale still wait for their markers.
    pub(crate) fn roll_back(&mut self, batch: &WriteBatch) {
        let created: std::collections::HashSet<EntryId> = std::mem::take(&mut self.created).into_iter().collect();
        self.order.retain(|id| !created.contains(id));
        self.tracked.retain(|id| !created.contains(id));
        for id in created {
            self.remove(id);
        }
        self.forget_exemplars();
        let mut lost = std::mem::take(&mut self.settled);
        let known: std::collections::HashSet<SeriesHash> = lost.iter().map(|series| series.hash).collect();
        lost.extend(stale_series(batch).filter(|series| !known.contains(&series.hash)));
        self.inherit(lost);
    }

    fn remove_unseen(&mut self) {
        for id in 0..self.entries.len() as EntryId {
            if self.get(id).is_some_and(|entry| entry.seen != self.scrape) {
                self.remove(id);
            }
        }
    }

    /// Removes a line. If the running scrape has seen it, the scrape must fail.
    pub(crate) fn remove(&mut self, id: EntryId) {
        let Some(entry) = self.entries[id as usize].take() else { return };
        if let Ok(found) = self.index.find_entry(xxh3_64(&entry.key), |other| *other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// The series that would get stale markers if the target went away now.
    pub(crate) fn tracked_series(&self) -> Vec<TrackedSeries> {
        let own = self.tracked.iter().filter_map(|id| self.get(*id)).map(|entry| TrackedSeries {
            canonical: entry.canonical.clone(),
            hash: entry.hash,
            is_histogram: entry.is_histogram,
        });
        own.chain(self.inherited.iter().cloned()).collect()
    }

    /// Takes over the series of a predecessor. Those that the next scrape lacks get stale markers.
    pub(crate) fn inherit(&mut self, series: Vec<TrackedSeries>) {
        self.inherited.extend(series);
        self.inherited.sort_by_key(|series| series.hash);
    }

    /// Whether the predecessor's last scrape had a series.
    pub(crate) fn inherits(&self, hash: SeriesHash) -> bool {
        self.inherited.binary_search_by_key(&hash, |series| series.hash).is_ok()
    }

    /// Whether no scrape has used the cache yet.
    pub(crate) fn is_new(&self) -> bool {
        self.scrape == 0
    }

    /// The number of lines.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }
}

#[cfg(test)]
mod tests;
