//! The inverted index of a tenant: label name -> value -> series numbers, and the series by number.
//!
//! Series are numbered in the order of their creation and numbers are never reused, so postings grow at their end. Series are
//! held in pages, which are freed when all of their series have been removed.

mod matching;
pub(crate) mod postings;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pharos_model::labels::LabelsIter;

use crate::series::Series;
use postings::Postings;

/// Series in a page.
const PAGE: usize = 256;

/// The values of a label name.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) by_value: BTreeMap<Box<str>, Postings>,
    /// How many series have the label.
    pub(crate) series: usize,
}

type Page = Box<[Option<Arc<Series>>; PAGE]>;

#[derive(Debug, Default)]
pub(crate) struct Index {
    names: HashMap<Box<str>, Values>,
    pages: Vec<Option<Page>>,
    next_id: u32,
    live: usize,
    bytes: usize,
}

impl Index {
    /// The number of the next series; `None` when all numbers are used up.
    pub(crate) fn next_id(&self) -> Option<u32> {
        (self.next_id < u32::MAX).then_some(self.next_id)
    }

    /// Adds a series whose number is [`Index::next_id`].
    pub(crate) fn add(&mut self, series: &Arc<Series>) {
        let id = series.id as usize;
        self.next_id = series.id + 1;
        self.live += 1;
        self.bytes += 8;
        if id / PAGE >= self.pages.len() {
            self.pages.resize_with(id / PAGE + 1, || None);
        }
        let page = self.pages[id / PAGE].get_or_insert_with(|| Box::new([const { None }; PAGE]));
        page[id % PAGE] = Some(series.clone());
        for (name, value) in LabelsIter::over(series.labels.as_bytes()) {
            let values = match self.names.get_mut(name) {
                Some(values) => values,
                None => {
                    self.bytes += name.len() + 96;
                    self.names.entry(name.into()).or_default()
                }
            };
            values.series += 1;
            match values.by_value.get_mut(value) {
                Some(postings) => {
                    let before = postings.heap_bytes();
                    postings.push(series.id);
                    self.bytes += postings.heap_bytes() - before;
                }
                None => {
                    self.bytes += value.len() + 56;
                    values.by_value.insert(value.into(), Postings::One(series.id));
                }
            }
        }
    }

    /// Removes series, which ascend by number.
    pub(crate) fn remove(&mut self, removed: &[Arc<Series>]) {
        let ids: Vec<u32> = removed.iter().map(|s| s.id).collect();
        let mut touched: HashMap<&str, HashMap<&str, Vec<u32>>> = HashMap::new();
        for series in removed {
            for (name, value) in LabelsIter::over(series.labels.as_bytes()) {
                touched.entry(name).or_default().entry(value).or_default().push(series.id);
                if let Some(values) = self.names.get_mut(name) {
                    values.series -= 1;
                }
            }
        }
        for (name, touched_values) in touched {
            let Some(values) = self.names.get_mut(name) else { continue };
            for (value, ids) in touched_values {
                let Some(postings) = values.by_value.get_mut(value) else { continue };
                let before = postings.heap_bytes();
                let empty = postings.remove(&ids);
                self.bytes = self.bytes.saturating_sub(before.saturating_sub(postings.heap_bytes()));
                if empty {
                    self.bytes = self.bytes.saturating_sub(value.len() + 56 + postings.heap_bytes());
                    values.by_value.remove(value);
                }
            }
            if values.by_value.is_empty() {
                self.bytes = self.bytes.saturating_sub(name.len() + 96);
                self.names.remove(name);
            }
        }
        for id in ids {
            self.remove_from_page(id as usize);
        }
    }

    fn remove_from_page(&mut self, id: usize) {
        let Some(slot) = self.pages.get_mut(id / PAGE) else { return };
        let Some(page) = slot else { return };
        if page[id % PAGE].take().is_some() {
            self.live -= 1;
            self.bytes = self.bytes.saturating_sub(8);
        }
        // The newest page is kept, since its free slots are still to be used.
        if id / PAGE != self.next_id as usize / PAGE && page.iter().all(Option::is_none) {
            *slot = None;
        }
    }

    /// The series with a number.
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Series>> {
        self.pages.get(id as usize / PAGE)?.as_ref()?[id as usize % PAGE].as_ref()
    }

    /// All series, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.pages.iter().flatten().flat_map(|page| page.iter().flatten())
    }

    pub(crate) fn names(&self) -> &HashMap<Box<str>, Values> {
        &self.names
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Approximate memory of the index, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
