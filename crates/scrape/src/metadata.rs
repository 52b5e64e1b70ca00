//! The metadata of metric families that a target exposes: types, units and help texts.

use std::collections::{BTreeMap, HashMap};

use pharos_model::Metadata;

use crate::exposition::MetadataField;

/// The number of scrapes for which metadata is kept after its family vanished.
const RETAINED_SCRAPES: u64 = 10;

/// The metadata of one target by metric family.
#[derive(Default)]
pub(crate) struct MetadataStore {
    families: HashMap<String, Family>,
    scrape: u64,
    seen: usize,
}

#[derive(Default)]
struct Family {
    metadata: Metadata,
    seen: u64,
    is_sent: bool,
}

impl MetadataStore {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.scrape += 1;
        self.seen = 0;
    }

    /// Records a field; a change makes the family pending again.
    pub(crate) fn set(&mut self, family: &str, field: MetadataField<'_>) {
        if !self.families.contains_key(family) {
            self.families.insert(family.to_string(), Family::default());
        }
        let Some(known) = self.families.get_mut(family) else { return };
        if known.seen != self.scrape {
            known.seen = self.scrape;
            self.seen += 1;
        }
        let metadata = &mut known.metadata;
        let is_same = match field {
            MetadataField::Kind(kind) => std::mem::replace(&mut metadata.kind, kind) == kind,
            MetadataField::Unit(unit) => replace_text(&mut metadata.unit, unit),
            MetadataField::Help(help) => replace_text(&mut metadata.help, help),
        };
        known.is_sent &= is_same;
    }

    /// Ends a scrape: moves new and changed metadata to `out`, and removes families that vanished long ago.
    pub(crate) fn commit(&mut self, out: &mut Vec<(String, Metadata)>) {
        for (family, known) in self.families.iter_mut().filter(|(_, known)| !known.is_sent) {
            known.is_sent = true;
            out.push((family.clone(), known.metadata.clone()));
        }
        if self.seen != self.families.len() {
            let scrape = self.scrape;
            self.families.retain(|_, known| scrape - known.seen <= RETAINED_SCRAPES);
        }
    }

    /// Makes everything pending again: the last batch was lost.
    pub(crate) fn resend(&mut self) {
        self.families.values_mut().for_each(|known| known.is_sent = false);
    }

    /// All metadata by family.
    pub(crate) fn list(&self) -> BTreeMap<String, Metadata> {
        self.families.iter().map(|(family, known)| (family.clone(), known.metadata.clone())).collect()
    }
}

/// Replaces a text; returns whether it was the same.
fn replace_text(text: &mut String, new: &str) -> bool {
    let is_same = text == new;
    if !is_same {
        text.clear();
        text.push_str(new);
    }
    is_same
}

#[cfg(test)]
mod tests;
