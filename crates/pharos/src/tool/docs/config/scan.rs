//! Finds structs with documented fields in formatted source code, line by line.
//!
//! Besides plain structs it knows the shapes that declare sections by macros: fields with a default
//! (`pub timeout: PromDuration = …,`), fields without `pub` (`tenant_limits!`), and fields of an HTTP client that a macro
//! adds to a struct (`pub struct $name`).

use std::collections::BTreeMap;

/// The name under which the fields of an HTTP client are found.
pub(super) const HTTP_CLIENT: &str = "HTTP client";

/// Macros that add the fields of an HTTP client.
const HTTP_CLIENT_MACROS: [&str; 2] = ["with_http_client!", "http_section!"];
/// The macro whose body is the fields of a struct, and that struct.
const BODY_MACRO: (&str, &str) = ("tenant_limits!", "TenantLimits");

/// A struct that a section of the file is read into.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Section {
    pub(super) doc: String,
    pub(super) fields: Vec<Field>,
    /// Whether it also has the fields of an HTTP client.
    pub(super) has_http_client: bool,
}

/// A documented field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Field {
    /// The key in the file.
    pub(super) name: String,
    /// The type as it is written in the code.
    pub(super) kind: String,
    pub(super) doc: String,
}

/// Adds the structs of a file.
pub(super) fn scan(text: &str, sections: &mut BTreeMap<String, Section>) {
    let mut scanner = Scanner {
        sections,
        block: None,
        http_client_until: None,
        doc: String::new(),
        rename: None,
        in_attribute: false,
    };
    for line in text.lines() {
        scanner.line(line.trim(), line.len() - line.trim_start().len());
    }
}

/// The block whose fields are being read.
struct Block {
    name: String,
    doc: String,
    /// Indentation of the line that ends it.
    indent: usize,
    has_http_client: bool,
    /// Whether fields begin with `pub`; others are not read from the file.
    needs_pub: bool,
}

struct Scanner<'a> {
    sections: &'a mut BTreeMap<String, Section>,
    block: Option<Block>,
    /// Inside a macro that adds the fields of an HTTP client: the indentation of its end.
    http_client_until: Option<usize>,
    /// Comments and the `rename` attribute in front of the next item.
    doc: String,
    rename: Option<String>,
    in_attribute: bool,
}

impl Scanner<'_> {
    fn line(&mut self, line: &str, indent: usize) {
        if let Some(text) = line.strip_prefix("///") {
            self.add_doc(text.trim());
        } else if self.in_attribute || line.starts_with("#[") {
            self.attribute(line);
        } else {
            self.item(line, indent);
            self.doc.clear();
            self.rename = None;
        }
    }

    fn add_doc(&mut self, text: &str) {
        if !self.doc.is_empty() {
            self.doc.push(' ');
        }
        self.doc.push_str(&text.replace("[`", "`").replace("`]", "`"));
    }

    fn attribute(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            self.rename = rest.split('"').next().map(str::to_string);
        }
        self.in_attribute = !line.ends_with(']');
    }

    fn item(&mut self, line: &str, indent: usize) {
        if line.starts_with('}') {
            self.http_client_until = self.http_client_until.filter(|end| *end != indent);
            self.block = self.block.take().filter(|block| block.indent != indent);
            return;
        }
        if HTTP_CLIENT_MACROS.iter().any(|name| line == format!("{name} {{")) {
            self.http_client_until = Some(indent);
        }
        let (body_macro, name) = BODY_MACRO;
        if line == format!("{body_macro} {{") {
            self.open(name, indent, false);
        } else if let Some(name) = between(line, "pub struct ", " {").or_else(|| between(line, "pub enum ", " {")) {
            self.open(if name == "$name" { HTTP_CLIENT } else { name }, indent, true);
        } else {
            self.field(line);
        }
    }

    fn open(&mut self, name: &str, indent: usize, needs_pub: bool) {
        let doc = std::mem::take(&mut self.doc);
        let has_http_client = self.http_client_until.is_some() && name != HTTP_CLIENT;
        self.block = Some(Block { name: name.to_string(), doc, indent, has_http_client, needs_pub });
    }

    /// A field, or a variant that holds a section of its own.
    fn field(&mut self, line: &str) {
        let Some(block) = &self.block else { return };
        let Some(line) = line.strip_suffix(',') else { return };
        let (declared, is_pub) = line.strip_prefix("pub ").map_or((line, false), |rest| (rest, true));
        let field = if let Some((name, kind)) = declared.split_once(": ").filter(|_| is_pub || !block.needs_pub) {
            let kind = kind.split(" = ").next().unwrap_or(kind);
            Field {
                name: self.rename.take().unwrap_or(name.to_string()),
                kind: kind.to_string(),
                doc: self.doc.clone(),
            }
        } else if let Some((name, kind)) = line.strip_suffix(')').and_then(|line| line.split_once('(')) {
            Field { name: format!("type: {}", name.to_lowercase()), kind: kind.to_string(), doc: self.doc.clone() }
        } else {
            return;
        };
        let is_identifier = |c: char| c.is_ascii_alphanumeric() || "_: ".contains(c);
        if !field.name.chars().all(is_identifier) {
            return;
        }
        let section = self.sections.entry(block.name.clone()).or_default();
        if section.doc.is_empty() {
            section.doc.clone_from(&block.doc);
        }
        section.has_http_client |= block.has_http_client;
        section.fields.push(field);
    }
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> BTreeMap<String, Section> {
        let mut sections = BTreeMap::new();
        scan(text, &mut sections);
        sections
    }

    fn names(section: &Section) -> Vec<&str> {
        section.fields.iter().map(|field| field.name.as_str()).collect()
    }

    #[test]
    fn fields_have_names_types_and_comments() {
        let found = scanned(
            "/// A section.\npub struct A {\n    /// How long.\n    /// Default 1m.\n    pub time: Option<PromDuration>,\n}\n",
        );
        assert_eq!(found["A"].doc, "A section.");
        let expected =
            Field { name: "time".into(), kind: "Option<PromDuration>".into(), doc: "How long. Default 1m.".into() };
        assert_eq!(found["A"].fields, [expected]);
    }

    #[test]
    fn a_renamed_field_has_its_name_in_the_file() {
        let found = scanned(
            "pub struct A {\n    /// X.\n    #[serde(rename = \"type\")]\n    pub kind: String,\n    pub other: bool,\n}\n",
        );
        assert_eq!(names(&found["A"]), ["type", "other"]);
    }

    #[test]
    fn an_attribute_may_span_lines() {
        let found =
            scanned("pub struct A {\n    /// X.\n    #[serde(\n        default,\n    )]\n    pub x: String,\n}\n");
        assert_eq!(found["A"].fields[0].doc, "X.");
    }

    #[test]
    fn private_fields_are_not_read_from_the_file() {
        assert!(scanned("pub struct A {\n    x: String,\n    pub(crate) y: bool,\n}\n").is_empty());
    }

    #[test]
    fn a_struct_ends_with_its_brace() {
        let found = scanned("pub struct A {\n    pub x: String,\n}\nimpl A {\n    pub y: bool,\n}\n");
        assert_eq!(names(&found["A"]), ["x"]);
    }

    #[test]
    fn a_macro_may_give_defaults_and_add_an_http_client() {
        let found = scanned(
            "http_section! {\n    /// R.\n    pub struct R {\n        /// T.\n        pub t: PromDuration = x(5),\n    }\n    opaque: []\n}\npub struct S {\n    pub s: bool,\n}\n",
        );
        assert_eq!(found["R"].fields[0].kind, "PromDuration");
        assert!(found["R"].has_http_client);
        assert!(!found["S"].has_http_client);
    }

    #[test]
    fn the_fields_that_a_macro_adds_are_those_of_the_http_client() {
        let found = scanned(
            "macro_rules! m {\n        pub struct $name {\n            $(pub $field: $type,)*\n            pub tls: T,\n        }\n}\n",
        );
        assert_eq!(names(&found[HTTP_CLIENT]), ["tls"]);
    }

    #[test]
    fn limits_of_tenants_are_the_body_of_a_macro() {
        let found = scanned("tenant_limits! {\n    /// Series.\n    max_series: u64 = 0,\n}\n");
        assert_eq!(names(&found["TenantLimits"]), ["max_series"]);
    }

    #[test]
    fn variants_with_sections_are_chosen_by_type() {
        let found = scanned("pub enum Store {\n    /// S3.\n    S3(S3Config),\n    Other,\n}\n");
        assert_eq!(names(&found["Store"]), ["type: s3"]);
    }
}
