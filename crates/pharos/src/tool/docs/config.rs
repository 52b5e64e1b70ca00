//! The reference of the configuration file, from the structs that it is read into and the comments on their fields.
//!
//! Sections appear in the order of the file, depth first. A type that several sections share is described where it appears
//! first; the others link to it.

mod scan;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use super::source::SourceFile;
use super::table;
use scan::{HTTP_CLIENT, Section};

/// The type of the whole file.
const ROOT: &str = "Config";

/// All sections.
pub(super) fn reference(files: &[SourceFile]) -> String {
    let mut sections = BTreeMap::new();
    // The Alertmanager has a file of its own, whose reference is Alertmanager's.
    let is_of_this_file =
        |path: &str| path.contains("config") && !path.starts_with("alertmanager/") && !path.starts_with("notify/");
    for file in files.iter().filter(|file| is_of_this_file(&file.path)) {
        scan::scan(&file.text, &mut sections);
    }
    let mut writer = Writer { sections: &sections, written: BTreeSet::new(), out: String::new() };
    writer.write(ROOT, "Sections", "");
    writer.write(HTTP_CLIENT, "HTTP client fields", "");
    writer.out
}

/// Sections by the name of their type.
type Sections = BTreeMap<String, Section>;

struct Writer<'a> {
    sections: &'a Sections,
    written: BTreeSet<&'a str>,
    out: String,
}

impl Writer<'_> {
    /// Writes a section, then those of its fields. `path` is where its fields are.
    fn write(&mut self, name: &str, title: &str, path: &str) {
        let Some((name, section)) = self.sections.get_key_value(types::described_as(name)) else { return };
        if !self.written.insert(name) {
            return;
        }
        self.out.push_str(&format!("## {title} {{#{}}}\n\n", types::anchor(name)));
        if !section.doc.is_empty() {
            self.out.push_str(&format!("{}\n\n", section.doc));
        }
        let sections = self.sections;
        let rows = section.fields.iter().map(|field| {
            let kind = types::in_words(&field.kind, &|name| sections.contains_key(name));
            vec![format!("`{}`", field.name), kind, field.doc.clone()]
        });
        self.out.push_str(&table(&["Field", "Type", "Description"], rows));
        self.out.push('\n');
        if section.has_http_client {
            self.out.push_str(&format!("Also the [HTTP client fields](#{}).\n\n", types::anchor(HTTP_CLIENT)));
        }
        for field in &section.fields {
            let dot = if path.is_empty() { "" } else { "." };
            let inner = format!("{path}{dot}{}{}", field.name, types::path_suffix(&field.kind));
            self.write(types::innermost(&field.kind), &format!("`{inner}`"), &inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tool::docs::source;

    fn of_this_repository() -> String {
        reference(&source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap())
    }

    fn of(text: &str) -> String {
        reference(&[SourceFile { path: "config.rs".to_string(), text: text.to_string() }])
    }

    #[test]
    fn nested_sections_follow_with_their_paths() {
        let text = of("pub struct Config {\n    /// Storage.\n    pub storage: StorageConfig,\n}\n\
                       /// The section `storage`.\npub struct StorageConfig {\n    /// How long. Default 15d.\n    pub time: Option<PromDuration>,\n}\n");
        assert!(text.contains("| `storage` | [StorageConfig](#storageconfig) | Storage. |"), "{text}");
        assert!(text.contains("## `storage` {#storageconfig}\n\nThe section `storage`.\n"), "{text}");
        assert!(text.contains("| `time` | duration | How long. Default 15d. |"), "{text}");
    }

    #[test]
    fn a_shared_section_is_described_once() {
        let text = of("pub struct Config {\n    /// A.\n    pub a: Vec<Shared>,\n    /// B.\n    pub b: Shared,\n}\n\
                       pub struct Shared {\n    /// X.\n    pub x: bool,\n}\n");
        assert_eq!(text.matches("{#shared}").count(), 1, "{text}");
        assert!(text.contains("## `a[]` {#shared}"), "{text}");
    }

    #[test]
    fn every_top_level_section_of_this_repository_is_described() {
        let text = of_this_repository();
        for key in ["global", "scrape_configs", "storage", "limits", "object_store", "remote_write", "otlp", "alerting"]
        {
            assert!(text.contains(&format!("| `{key}` |")), "{key} is missing in\n{text}");
        }
    }

    #[test]
    fn fields_that_macros_declare_are_described() {
        let text = of_this_repository();
        for field in ["job_name", "max_query_memory", "basic_auth", "remote_timeout", "out_of_order_time_window"] {
            assert!(text.contains(&format!("| `{field}` |")), "{field} is missing in\n{text}");
        }
    }

    #[test]
    fn every_link_has_a_target() {
        let text = of_this_repository();
        for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(text.contains(&format!("{{#{link}}}")), "#{link} has no heading");
        }
    }
}
