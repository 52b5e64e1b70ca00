//! Maps positions in a YAML file to fields, and fields to positions.
//!
//! A map is only built to report an error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::Place;

/// A step from a section to one of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The value of a field.
    Field(&'a str),
    /// An item of a list.
    Item(usize),
}

/// A value in the file.
pub(super) enum Node {
    Text(String),
    Null,
    Other,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// The positions of a document's fields and values.
pub(super) struct SourceMap {
    root: Option<Spanned<Node>>,
}

fn place(location: Location) -> Option<Place> {
    (location.line() > 0).then(|| Place { line: location.line(), column: location.column() })
}

impl SourceMap {
    /// Maps a document. The map is empty when the document is not valid YAML.
    pub(super) fn new(text: &str, options: serde_saphyr::Options) -> Self {
        SourceMap { root: serde_saphyr::from_str_with_options(text, options).ok() }
    }

    /// The position of the value to which `path` leads, or of the innermost value on the way that exists.
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

    /// The field below the section at `path` that a message is about: the field that it mentions first, or else the one whose
    /// text it quotes. Falls back to the position of the section.
    pub(super) fn field_named_in(&self, path: &[Step<'_>], message: &str) -> (Option<Place>, Option<String>) {
        let mut node = self.root.as_ref();
        for step in path {
            node = node.and_then(|node| child(node, *step));
        }
        let Some(section) = node else { return (self.place_of(path), None) };
        let is_quoted = |text: &str| message.contains(&format!("{text:?}"));
        let quoted = || {
            find(section, "", &|key, value| match (key, &value.value) {
                (Some(key), _) if is_quoted(&key.value) => place(key.referenced),
                (Some(key), Node::Text(_)) if key.value == JOB_NAME => None,
                (_, Node::Text(text)) if is_quoted(text) => place(value.referenced),
                _ => None,
            })
        };
        match first_named(section, message).or_else(quoted) {
            Some((field, place)) => (Some(place), Some(field)),
            None => (place(section.referenced), None),
        }
    }

    /// The path of the field whose value is at this position: `scrape_configs[0].scrape_interval`.
    pub(super) fn value_at(&self, at: Place) -> Option<String> {
        let is_there = |value: &Spanned<Node>| place(value.referenced).filter(|found| *found == at);
        find(self.root.as_ref()?, "", &|_, value| is_there(value)).map(|(path, _)| path)
    }

    /// The path of the key at this position.
    pub(super) fn key_at(&self, at: Place) -> Option<String> {
        let is_there = |key: &Spanned<String>| place(key.referenced).filter(|found| *found == at);
        find(self.root.as_ref()?, "", &|key, _| key.and_then(is_there)).map(|(path, _)| path)
    }

    /// The positions of the keys whose value is null, in the order of the text.
    pub(super) fn keys_of_nulls(&self) -> Vec<Place> {
        fn collect(node: &Spanned<Node>, found: &mut Vec<Place>) {
            match &node.value {
                Node::List(items) => items.iter().for_each(|item| collect(item, found)),
                Node::Map(fields) => fields.iter().for_each(|(key, value)| match value.value {
                    Node::Null => found.extend(place(key.referenced)),
                    _ => collect(value, found),
                }),
                Node::Text(_) | Node::Null | Node::Other => {}
            }
        }
        let mut found = Vec::new();
        self.root.iter().for_each(|root| collect(root, &mut found));
        found
    }

    /// The values that are text although a predicate is true of them, with their positions.
    pub(super) fn texts(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(Place, String)> {
        fn collect(node: &Spanned<Node>, is_wanted: &dyn Fn(&str) -> bool, found: &mut Vec<(Place, String)>) {
            match &node.value {
                Node::List(items) => items.iter().for_each(|item| collect(item, is_wanted, found)),
                Node::Map(fields) => fields.iter().for_each(|(_, value)| collect(value, is_wanted, found)),
                Node::Text(text) if is_wanted(text) => {
                    found.extend(place(node.referenced).map(|place| (place, text.clone())));
                }
                Node::Text(_) | Node::Null | Node::Other => {}
            }
        }
        let mut found = Vec::new();
        self.root.iter().for_each(|root| collect(root, &is_wanted, &mut found));
        found
    }

    /// The path and position of the first key with this name at or after `at`.
    pub(super) fn key_named(&self, name: &str, at: Place) -> Option<(String, Place)> {
        let matches = |key: &Spanned<String>| place(key.referenced).filter(|found| key.value == name && *found >= at);
        find(self.root.as_ref()?, "", &|key, _| key.and_then(matches))
    }
}

/// A field that messages quote although they are about another one.
const JOB_NAME: &str = "job_name";

/// The field of a section that a message mentions first, with or without underscores.
fn first_named(section: &Spanned<Node>, message: &str) -> Option<(String, Place)> {
    let Node::Map(fields) = &section.value else { return None };
    let mention = |key: &str| message.find(key).or_else(|| message.find(&key.replace('_', " ")));
    let candidates = fields.iter().filter(|(key, _)| key.value.len() > 3 && key.value != JOB_NAME);
    let named = candidates.filter_map(|(key, value)| Some((mention(&key.value)?, key, value)));
    let (_, key, value) = named.min_by_key(|(position, ..)| *position)?;
    Some((key.value.clone(), place(value.referenced)?))
}

fn child<'a>(node: &'a Spanned<Node>, step: Step<'_>) -> Option<&'a Spanned<Node>> {
    match (&node.value, step) {
        (Node::Map(fields), Step::Field(name)) => {
            fields.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
        }
        (Node::List(items), Step::Item(index)) => items.get(index),
        _ => None,
    }
}

/// A predicate over key and value that returns the position of the wanted node.
type Wanted<'a> = &'a dyn Fn(Option<&Spanned<String>>, &Spanned<Node>) -> Option<Place>;

/// The path and position of the first node that `wanted` accepts, outermost first.
fn find(node: &Spanned<Node>, path: &str, wanted: Wanted<'_>) -> Option<(String, Place)> {
    match &node.value {
        Node::Text(_) | Node::Null | Node::Other => None,
        Node::List(items) => items.iter().enumerate().find_map(|(index, item)| {
            let path = format!("{path}[{index}]");
            match wanted(None, item) {
                Some(place) => Some((path, place)),
                None => find(item, &path, wanted),
            }
        }),
        Node::Map(fields) => fields.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", crate::text::clip(&key.value, 64));
            match wanted(Some(key), value) {
                Some(place) => Some((path, place)),
                None => find(value, &path, wanted),
            }
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
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_string()))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Other)
    }
}
