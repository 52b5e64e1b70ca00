//! The metadata of a tenant's metric families, in memory and in the log.
//!
//! Each segment has all metadata of a tenant that it declares, and a family that has changed is logged again a few times. One
//! that changes more often, because targets disagree about it, is up to date in memory, and in the log when the next segment
//! begins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pharos_model::Metadata;

/// Help texts are kept up to this length, in bytes.
const MAX_HELP_BYTES: usize = 4096;
/// A family whose name and unit are longer than this together has no metadata, in bytes.
const MAX_NAME_BYTES: usize = 4096;
/// A segment has at most this many records of a family.
const MAX_RECORDS: u8 = 3;

#[derive(Debug, Default)]
pub(crate) struct Families {
    by_name: HashMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    metadata: Metadata,
    /// The newest segment of the log that has records of it, and how many.
    segment: u32,
    records: u8,
    /// Whether it changed since the newest record.
    has_changed: bool,
}

impl Families {
    /// Sets the metadata of a family, of at most `max` families. Returns by how many bytes memory grew; `None` if nothing
    /// changed.
    pub(crate) fn set(&mut self, name: &str, metadata: &Metadata, max: usize) -> Option<isize> {
        if name.len() + metadata.unit.len() > MAX_NAME_BYTES {
            return None;
        }
        let help = &metadata.help[..metadata.help.floor_char_boundary(MAX_HELP_BYTES)];
        if let Some(known) = self.by_name.get(name) {
            let Metadata { kind, unit, help: known_help } = &known.metadata;
            if (*kind, unit, known_help.as_str()) == (metadata.kind, &metadata.unit, help) {
                return None;
            }
        } else if self.by_name.len() >= max {
            return None;
        }
        let kept = Metadata { kind: metadata.kind, unit: metadata.unit.clone(), help: help.to_string() };
        let grown = kept.bytes(name) as isize;
        match self.by_name.entry(name.to_string()) {
            Entry::Vacant(entry) => {
                entry.insert(Family { metadata: kept, segment: 0, records: 0, has_changed: true });
                Some(grown)
            }
            Entry::Occupied(mut entry) => {
                let family = entry.get_mut();
                family.has_changed = true;
                let before = std::mem::replace(&mut family.metadata, kept);
                Some(grown - before.bytes(name) as isize)
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Metadata)> {
        self.by_name.iter().map(|(name, family)| (name, &family.metadata))
    }

    /// The metadata of a family that changed, which the caller writes now; `None` if a segment has enough records of it.
    pub(crate) fn take_changed(&mut self, name: &str, segment: u32) -> Option<&Metadata> {
        let is_due =
            |family: &&mut Family| family.has_changed && (family.segment != segment || family.records < MAX_RECORDS);
        self.by_name.get_mut(name).filter(is_due).map(|family| family.note_record(segment))
    }

    /// All families, which the caller writes at the beginning of a segment.
    pub(crate) fn take_all(&mut self, segment: u32) -> impl Iterator<Item = (&String, &Metadata)> {
        self.by_name.iter_mut().map(move |(name, family)| (name, family.note_record(segment)))
    }
}

impl Family {
    /// Notes that a segment has a record of the family, and returns what to write.
    fn note_record(&mut self, segment: u32) -> &Metadata {
        self.records = if self.segment == segment { self.records.saturating_add(1) } else { 1 };
        self.segment = segment;
        self.has_changed = false;
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(text: &str) -> Metadata {
        Metadata { help: text.into(), ..Metadata::default() }
    }

    fn kept(families: &Families, name: &str) -> String {
        families.iter().find(|(known, _)| *known == name).unwrap().1.help.clone()
    }

    #[test]
    fn a_long_help_text_is_kept_up_to_a_whole_character() {
        let mut families = Families::default();
        let text = format!("x{}", "é".repeat(4096));
        assert!(families.set("m", &help(&text), 10).is_some());
        assert_eq!(kept(&families, "m"), text[..4095]);
        assert_eq!(families.set("m", &help(&text), 10), None, "the same text changes nothing");
    }

    #[test]
    fn a_family_with_a_name_that_is_too_long_has_no_metadata() {
        let mut families = Families::default();
        assert_eq!(families.set(&"m".repeat(4097), &help("text"), 10), None);
        assert_eq!(families.iter().count(), 0);
    }

    #[test]
    fn memory_grows_by_what_is_kept() {
        let mut families = Families::default();
        let first = families.set("m", &help("four"), 10).unwrap();
        assert_eq!(first, help("four").bytes("m") as isize);
        assert_eq!(families.set("m", &help("at"), 10), Some(-2));
        assert_eq!(families.set("n", &help("at"), 1), None, "there is no room for a second family");
    }

    #[test]
    fn a_family_is_logged_when_it_changed() {
        let mut families = Families::default();
        families.set("m", &help("first"), 10);
        assert_eq!(families.take_changed("m", 1), Some(&help("first")));
        assert_eq!(families.take_changed("m", 1), None);
        assert_eq!(families.take_all(2).count(), 1);
        assert_eq!(families.take_changed("m", 2), None);
        assert_eq!(families.take_changed("unknown", 2), None);
    }

    #[test]
    fn a_family_that_keeps_changing_is_logged_a_few_times_a_segment() {
        let mut families = Families::default();
        let mut logged = 0;
        for i in 0..100 {
            families.set("m", &help(&i.to_string()), 10);
            logged += usize::from(families.take_changed("m", 1).is_some());
        }
        assert_eq!(logged, 3);
        assert_eq!(families.take_all(2).next().unwrap().1, &help("99"));
    }
}
