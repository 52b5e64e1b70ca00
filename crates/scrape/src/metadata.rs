//! What a target says of its metric families.

use std::collections::{BTreeMap, HashMap};

use pharos_model::Metadata;

use crate::exposition::MetadataField;

/// How many scrapes what is said of a family outlives the family.
const KEPT_SCRAPES: u64 = 10;

/// Metadata by metric family, of one target.
#[derive(Default)]
pub(crate) struct MetadataStore {
    families: HashMap<String, Known>,
    scrape: u64,
    seen: usize,
}

#[derive(Default)]
struct Known {
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

    /// Takes in what a body says.
    pub(crate) fn set(&mut self, family: &str, field: MetadataField<'_>) {
        if !self.families.contains_key(family) {
            self.families.insert(family.to_string(), Known::default());
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

    /// Ends a scrape: hands out what is new or changed, forgets what was not said for long.
    pub(crate) fn commit(&mut self, out: &mut Vec<(String, Metadata)>) {
        for (family, known) in self.families.iter_mut().filter(|(_, known)| !known.is_sent) {
            known.is_sent = true;
            out.push((family.clone(), known.metadata.clone()));
        }
        if self.seen != self.families.len() {
            let scrape = self.scrape;
            self.families.retain(|_, known| scrape - known.seen <= KEPT_SCRAPES);
        }
    }

    /// Says that what was handed out got lost, so that it is handed out again.
    pub(crate) fn resend(&mut self) {
        self.families.values_mut().for_each(|known| known.is_sent = false);
    }

    /// Everything that is known.
    pub(crate) fn list(&self) -> BTreeMap<String, Metadata> {
        self.families.iter().map(|(family, known)| (family.clone(), known.metadata.clone())).collect()
    }
}

/// Replaces a text; says whether it was the same.
fn replace_text(text: &mut String, new: &str) -> bool {
    let is_same = text == new;
    if !is_same {
        text.clear();
        text.push_str(new);
    }
    is_same
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::MetricType;

    #[test]
    fn only_what_changed_is_handed_out_and_old_families_go() {
        let mut store = MetadataStore::default();
        let mut scrape = |help: &str, families: &[&str]| {
            store.begin();
            for family in families {
                store.set(family, MetadataField::Kind(MetricType::Counter));
                store.set(family, MetadataField::Help(help));
            }
            let mut out = Vec::new();
            store.commit(&mut out);
            (out.len(), store.list().len())
        };
        assert_eq!(scrape("x", &["a", "b"]), (2, 2));
        assert_eq!(scrape("x", &["a", "b"]), (0, 2));
        assert_eq!(scrape("y", &["a"]), (1, 2));
        for _ in 0..9 {
            assert_eq!(scrape("y", &["a"]), (0, 2));
        }
        assert_eq!(scrape("y", &["a"]), (0, 1));
    }
}
