//! Where the output of an execution goes: as it is, or through the escaper of HTML.

use super::html::Page;
use super::value::Value;

/// What an execution writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text. Values are written as they print.
    Text,
    /// HTML. Values are escaped by where they stand.
    Html,
}

/// The escaper that a pipeline ends with by its author's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaper {
    Html,
    UrlQuery,
}

/// The output so far.
pub(super) enum Output {
    Text(String),
    Html(Box<Page>),
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Text => Output::Text(String::new()),
            Format::Html => Output::Html(Box::default()),
        }
    }

    /// The length so far, bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Output::Text(out) => out.len(),
            Output::Html(page) => page.len(),
        }
    }

    /// Writes text of the template.
    pub(super) fn text(&mut self, text: &str) {
        match self {
            Output::Text(out) => out.push_str(text),
            Output::Html(page) => page.text(text),
        }
    }

    /// Writes the value of an action, whose pipeline ends with `escaper`.
    pub(super) fn value(&mut self, value: &Value, escaper: Option<Escaper>) -> Result<(), String> {
        match self {
            Output::Text(out) => {
                out.push_str(&value.to_string());
                Ok(())
            }
            Output::Html(page) => page.value(value, escaper),
        }
    }

    /// Ends the output.
    pub(super) fn finish(self) -> Result<String, String> {
        match self {
            Output::Text(out) => Ok(out),
            Output::Html(page) => page.finish(),
        }
    }
}
