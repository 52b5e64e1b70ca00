//! The places of everything in a YAML file: which field stands at a place, and where a field stands.
//!
//! Built only when something is wrong, to say where.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::Place;

/// A step from a section into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A field's value.
    Field(&'a str),
    /// An item of a list.
    Item(usize),
}

/// What is at a place of the file.
pub(super) enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The places of a document.
pub(super) struct SourceMap {
    root: Option<Spanned<Node>>,
}

fn place(location: Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

impl SourceMap {
    /// Reads the places of a document; knows none when it is no YAML.
    pub(super) fn new(text: &str, options: serde_saphyr::Options) -> Self {
        SourceMap { root: serde_saphyr::from_str_with_options(text, options).ok() }
    }

    /// Where the value at the end of the path stands, or the nearest value around it that exists.
    pub(super) fn place_of(&self, path: &[Step<'_>]) -> Option<Place> {
        let mut node = self.root.as_ref()?;
        for step in path {
            match child(node, *step) {
                Some(next) => node = next,
                None => break,
            }
        }
        place(node.referenced)
    }

    /// The field, of the section at `path`, that a message names first; the section's own place when it names none.
    pub(super) fn field_named_in(&self, path: &[Step<'_>], message: &str) -> (Option<Place>, Option<String>) {
        let mut node = self.root.as_ref();
        for step in path {
            node = node.and_then(|node| child(node, *step));
        }
        let Some(section) = node else { return (self.place_of(path), None) };
        let Node::Map(fields) = &section.value else { return (place(section.referenced), None) };
        let mention = |key: &str| message.find(key).or_else(|| message.find(&key.replace('_', " ")));
        let named = fields.iter().filter(|(key, _)| key.value.len() > 3 && key.value != "job_name");
        let first = named.filter_map(|(key, value)| Some((mention(&key.value)?, key, value))).min_by_key(|found| found.0);
        match first {
            Some((_, key, value)) => (place(value.referenced), Some(key.value.clone())),
            None => (place(section.referenced), None),
        }
    }

    /// The path of the field whose value stands at the place: `scrape_configs[0].scrape_interval`.
    pub(super) fn value_at(&self, at: Place) -> Option<String> {
        find(self.root.as_ref()?, "", &|_, value| place(value.referenced) == Some(at))
    }

    /// The path of the section that has a key at the place, with the key.
    pub(super) fn key_at(&self, at: Place) -> Option<String> {
        find(self.root.as_ref()?, "", &|key, _| key.and_then(|key| place(key.referenced)) == Some(at))
    }
}

fn child<'a>(node: &'a Spanned<Node>, step: Step<'_>) -> Option<&'a Spanned<Node>> {
    match (&node.value, step) {
        (Node::Map(fields), Step::Field(name)) => fields.iter().find(|(key, _)| key.value == name).map(|(_, value)| value),
        (Node::List(items), Step::Item(index)) => items.get(index),
        _ => None,
    }
}

/// The path of the first node, from the outside in, that satisfies the condition.
fn find(
    node: &Spanned<Node>,
    path: &str,
    is_wanted: &dyn Fn(Option<&Spanned<String>>, &Spanned<Node>) -> bool,
) -> Option<String> {
    match &node.value {
        Node::Scalar => None,
        Node::List(items) => items.iter().enumerate().find_map(|(index, item)| {
            let path = format!("{path}[{index}]");
            if is_wanted(None, item) { Some(path) } else { find(item, &path, is_wanted) }
        }),
        Node::Map(fields) => fields.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", crate::text::clip(&key.value, 64));
            if is_wanted(Some(key), value) { Some(path) } else { find(value, &path, is_wanted) }
        }),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Node::Map(map))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Scalar)
    }
}
