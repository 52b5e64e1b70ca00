//! The context at a place in a page, and how text of a template changes it.

use super::escape::{AttributeKind, attribute_kind};
use super::script::Part;

/// Where in a page a value would stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) state: State,
    /// What ends the attribute's value.
    pub(super) delimiter: Delimiter,
    pub(super) url: UrlPart,
    /// The attribute whose value begins next.
    attribute: AttributeKind,
    /// The element whose content has rules of its own.
    element: Element,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Text,
    /// In a tag, before an attribute.
    Tag,
    /// In the name of an attribute.
    Name,
    AfterName,
    BeforeValue,
    Comment,
    /// In an element whose content is text with character references: `title` and `textarea`.
    Rcdata,
    /// In a value without rules of its own.
    Plain,
    Url,
    Script(Part),
    Style(Part),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// Not in a value.
    #[default]
    None,
    Double,
    Single,
    /// Space or the end of the tag.
    Space,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UrlPart {
    #[default]
    Start,
    /// Before the query.
    Path,
    /// In the query or the fragment.
    Query,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Element {
    #[default]
    Other,
    Script,
    Style,
    Textarea,
    Title,
}

impl Element {
    const SPECIAL: [(Element, &'static str); 4] = [
        (Element::Script, "script"),
        (Element::Style, "style"),
        (Element::Textarea, "textarea"),
        (Element::Title, "title"),
    ];

    fn of(tag: &str) -> Self {
        let found = Element::SPECIAL.iter().find(|(_, name)| tag.eq_ignore_ascii_case(name));
        found.map_or(Element::Other, |(element, _)| *element)
    }

    /// Where the content of the element ends.
    fn end(self, text: &str) -> Option<usize> {
        let (_, name) = Element::SPECIAL.iter().find(|(element, _)| *element == self)?;
        text.match_indices("</").map(|(at, _)| at).find(|at| {
            let after = &text.as_bytes()[at + 2..];
            let is_name = after.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes()));
            is_name && after.get(name.len()).is_some_and(|byte| b"> \t\n\x0c/".contains(byte))
        })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c' | b'\r')
}

impl Context {
    /// Follows the beginning of a text, writes what of it belongs on the page and returns its length.
    pub(super) fn advance(&mut self, text: &str, out: &mut String) -> usize {
        if self.delimiter != Delimiter::None {
            return self.advance_value(text, out);
        }
        match self.state {
            State::Text => self.advance_text(text, out),
            State::Comment => match text.find("-->") {
                Some(at) => {
                    *self = Context::default();
                    at + 3
                }
                None => text.len(),
            },
            State::Rcdata | State::Script(_) | State::Style(_) => self.advance_element(text, out),
            _ => {
                let length = self.advance_tag(text);
                out.push_str(&text[..length]);
                length
            }
        }
    }

    fn advance_text(&mut self, text: &str, out: &mut String) -> usize {
        let Some(at) = text.find('<') else {
            out.push_str(text);
            return text.len();
        };
        out.push_str(&text[..at]);
        let rest = &text[at..];
        if rest.starts_with("<!--") {
            self.state = State::Comment;
            return at + 4;
        }
        let slash = usize::from(rest[1..].starts_with('/'));
        let name = &rest[1 + slash..];
        let length = name.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b":-".contains(byte)).count();
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let element = if slash == 0 { Element::of(&name[..length]) } else { Element::Other };
            *self = Context { state: State::Tag, element, ..Context::default() };
            let end = 1 + slash + length;
            out.push_str(&rest[..end]);
            return at + end;
        }
        let is_doctype = rest.get(..9).is_some_and(|begin| begin.eq_ignore_ascii_case("<!doctype"));
        out.push_str(if is_doctype { "<" } else { "&lt;" });
        at + 1
    }

    /// Follows the content of an element with rules of its own, up to its end tag.
    fn advance_element(&mut self, text: &str, out: &mut String) -> usize {
        let end = self.element.end(text);
        if end == Some(0) {
            *self = Context::default();
            return 0;
        }
        let content = &text[..end.unwrap_or(text.len())];
        match self.state {
            State::Script(part) => {
                let (part, length) = part.advance(content, true, Some(out));
                self.state = State::Script(part);
                length
            }
            State::Style(part) => {
                let (part, length) = part.advance(content, false, Some(out));
                self.state = State::Style(part);
                length
            }
            _ => {
                out.push_str(&content.replace('<', "&lt;"));
                content.len()
            }
        }
    }

    /// Follows the inside of a tag, without values.
    fn advance_tag(&mut self, text: &str) -> usize {
        let space = text.bytes().take_while(|byte| is_space(*byte)).count();
        let Some(first) = text.as_bytes().get(space) else { return text.len() };
        match self.state {
            State::Tag if *first == b'>' => {
                self.state = match self.element {
                    Element::Other => State::Text,
                    Element::Script => State::Script(Part::Code),
                    Element::Style => State::Style(Part::Code),
                    Element::Textarea | Element::Title => State::Rcdata,
                };
                space + 1
            }
            State::Tag => {
                let name = &text[space..];
                let length = name_length(name).max(1);
                self.attribute = attribute_kind(&name[..length]);
                self.state = if length == name.len() { State::Name } else { State::AfterName };
                space + length
            }
            State::Name => {
                let length = name_length(text);
                if length < text.len() {
                    self.state = State::AfterName;
                }
                length
            }
            State::AfterName if *first == b'=' => {
                self.state = State::BeforeValue;
                space + 1
            }
            State::AfterName => {
                self.state = State::Tag;
                space
            }
            _ => {
                let (delimiter, quote) = match *first {
                    b'"' => (Delimiter::Double, 1),
                    b'\'' => (Delimiter::Single, 1),
                    _ => (Delimiter::Space, 0),
                };
                self.enter_value(delimiter);
                space + quote
            }
        }
    }

    fn enter_value(&mut self, delimiter: Delimiter) {
        self.delimiter = delimiter;
        self.url = UrlPart::Start;
        self.state = match self.attribute {
            AttributeKind::Plain => State::Plain,
            AttributeKind::Url => State::Url,
            AttributeKind::Script => State::Script(Part::Code),
            AttributeKind::Style => State::Style(Part::Code),
        };
    }

    /// Follows the value of an attribute, and leaves it at its end.
    fn advance_value(&mut self, text: &str, out: &mut String) -> usize {
        let end = match self.delimiter {
            Delimiter::Double => text.find('"'),
            Delimiter::Single => text.find('\''),
            _ => text.bytes().position(|byte| is_space(byte) || byte == b'>'),
        };
        let value = &text[..end.unwrap_or(text.len())];
        match self.state {
            State::Url => {
                // The number signs of character references begin no fragment.
                if value.replace("&#", "").contains(['#', '?']) {
                    self.url = UrlPart::Query;
                } else if self.url == UrlPart::Start && !value.trim().is_empty() {
                    self.url = UrlPart::Path;
                }
            }
            State::Script(part) => self.state = State::Script(part.follow(value, true)),
            State::Style(part) => self.state = State::Style(part.follow(value, false)),
            _ => {}
        }
        out.push_str(value);
        if end.is_none() {
            return value.len();
        }
        let quote = match self.delimiter {
            Delimiter::Double => "\"",
            Delimiter::Single => "'",
            _ => "",
        };
        out.push_str(quote);
        *self = Context { state: State::Tag, element: self.element, ..Context::default() };
        value.len() + quote.len()
    }

    /// Enters the value or the name that an action begins, rather than text.
    pub(super) fn begin_value(&mut self) {
        match self.state {
            State::BeforeValue => self.enter_value(Delimiter::Space),
            State::Tag | State::AfterName => {
                self.state = State::Name;
                self.attribute = AttributeKind::Plain;
            }
            _ => {}
        }
    }
}

/// The length of an attribute's name.
fn name_length(text: &str) -> usize {
    text.bytes().position(|byte| is_space(byte) || b"=>".contains(&byte)).unwrap_or(text.len())
}
