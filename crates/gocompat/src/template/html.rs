//! What `html/template` adds: values are escaped by where they stand in the page.
//!
//! Go decides before the first execution which escapers each action needs. Here the page follows its own output instead: text
//! of the template moves it from one context to the next, and a value is escaped for the context that it finds. Where all
//! branches of a template agree on the context, as Go demands, both write the same page.

mod context;
mod escape;
mod script;

use self::context::{Context, Delimiter, State, UrlPart};
use super::output::Escaper;
use super::value::{Trust, Value};

/// The page so far and the context at its end.
#[derive(Debug, Default)]
pub(super) struct Page {
    out: String,
    context: Context,
}

/// A change to a value before it is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Html,
    Rcdata,
    Attribute,
    Unquoted,
    Name,
    UrlFilter,
    UrlNormalize,
    UrlEscape,
    ScriptValue,
    ScriptText,
    StyleValue,
    StyleText,
    Drop,
}

impl Page {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Writes text of the template and follows it.
    pub(super) fn text(&mut self, mut text: &str) {
        while !text.is_empty() {
            let before = self.context.clone();
            let length = self.context.advance(text, &mut self.out);
            // A context that neither consumes nor changes would never end.
            let stuck = length == 0 && self.context == before;
            if stuck {
                self.out.push_str(text);
                return;
            }
            text = &text[length..];
        }
    }

    /// Writes a value. `escaper` is what its pipeline ends with: it stands for the step that does the same.
    pub(super) fn value(&mut self, value: &Value, escaper: Option<Escaper>) -> Result<(), String> {
        self.context.begin_value();
        let steps = self.steps()?;
        let trust = match value {
            Value::Object(object) => object.trust(),
            _ => None,
        };
        if steps == [Step::ScriptValue] || steps.first() == Some(&Step::ScriptValue) {
            let mut script = script::value(value);
            for step in &steps[1..] {
                script = step.apply(&script, None);
            }
            self.out.push_str(&script);
            return Ok(());
        }
        let mut text = match value {
            Value::Nil => String::new(),
            value => value.to_string(),
        };
        for step in steps {
            if !step.is_done_by(escaper) {
                text = step.apply(&text, trust);
            }
        }
        self.out.push_str(&text);
        Ok(())
    }

    /// What a value needs in the present context.
    fn steps(&self) -> Result<Vec<Step>, String> {
        let context = &self.context;
        let mut steps = match context.state {
            State::Text => vec![Step::Html],
            State::Rcdata => vec![Step::Rcdata],
            State::Comment => vec![Step::Drop],
            State::Plain => Vec::new(),
            State::Name => vec![Step::Name],
            State::Url => match context.url {
                UrlPart::Start => vec![Step::UrlFilter, Step::UrlNormalize],
                UrlPart::Path => vec![Step::UrlNormalize],
                UrlPart::Query => vec![Step::UrlEscape],
            },
            State::Script(part) => match part {
                script::Part::Code => vec![Step::ScriptValue],
                script::Part::LineComment | script::Part::BlockComment => vec![Step::Drop],
                _ => vec![Step::ScriptText],
            },
            State::Style(part) => match part {
                script::Part::Code => vec![Step::StyleValue],
                script::Part::LineComment | script::Part::BlockComment => vec![Step::Drop],
                _ => vec![Step::StyleText],
            },
            State::Tag | State::AfterName | State::BeforeValue => {
                return Err("the value stands where HTML allows none".into());
            }
        };
        match context.delimiter {
            Delimiter::None => {}
            Delimiter::Space => steps.push(Step::Unquoted),
            Delimiter::Double | Delimiter::Single => steps.push(Step::Attribute),
        }
        Ok(steps)
    }

    /// Ends the page.
    pub(super) fn finish(self) -> Result<String, String> {
        match self.context.state {
            State::Text => Ok(self.out),
            _ => Err("ends in a non-text context".into()),
        }
    }
}

impl Step {
    /// Whether the author of the template has done the step.
    fn is_done_by(self, escaper: Option<Escaper>) -> bool {
        match escaper {
            None => false,
            Some(Escaper::Html) => matches!(self, Step::Html | Step::Rcdata | Step::Attribute | Step::Unquoted),
            Some(Escaper::UrlQuery) => matches!(self, Step::UrlEscape | Step::UrlNormalize),
        }
    }

    fn apply(self, text: &str, trust: Option<Trust>) -> String {
        let is_html = trust == Some(Trust::Html);
        match self {
            Step::Html if is_html => text.to_string(),
            Step::Html => escape::html(text),
            Step::Rcdata if is_html => escape::normalize_html(text),
            Step::Rcdata => escape::html(text),
            Step::Attribute if is_html => escape::normalize_html(&escape::strip_tags(text)),
            Step::Attribute => escape::html(text),
            Step::Unquoted if is_html => escape::unquoted(&escape::strip_tags(text), true),
            Step::Unquoted => escape::unquoted(text, false),
            Step::Name => escape::attribute_name(text),
            Step::UrlFilter if trust == Some(Trust::Url) => text.to_string(),
            Step::UrlFilter => escape::filter_url(text),
            Step::UrlNormalize => escape::url(text, true),
            Step::UrlEscape => escape::url(text, trust == Some(Trust::Url)),
            Step::ScriptValue | Step::ScriptText => script::text(text),
            Step::StyleValue => script::style_value(text),
            Step::StyleText => script::style_text(text),
            Step::Drop => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
