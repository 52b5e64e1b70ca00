//! The part of a line that identifies a series: `name{label="value",…}` or `{"name",label="value",…}`.

use pharos_gocompat::strconv::{format_openmetrics, parse_float};
use pharos_model::{LabelsBuilder, METRIC_NAME, MetricType};

use super::float::excerpt;
use super::sink::LabelSource;

/// The limit on labels of a series. It is far above any sensible use and bounds the cost of a hostile line.
pub(super) const MAX_LABELS: usize = 2048;

/// The text formats, which differ in how they write a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Allows blanks between tokens and line breaks in values.
    Prometheus,
    /// Allows neither.
    OpenMetrics,
}

/// A series as a line writes it.
pub(crate) struct SeriesText<'a> {
    pub(crate) text: &'a str,
    pub(crate) dialect: Dialect,
    /// The type of the family: bounds of histograms and summaries get a canonical form.
    pub(crate) kind: MetricType,
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of the metric name that starts at `at`; `at` itself when there is none.
pub(crate) fn name_end(bytes: &[u8], at: usize) -> usize {
    if !bytes.get(at).copied().is_some_and(is_name_start) {
        return at;
    }
    let rest = &bytes[at + 1..];
    at + 1 + rest.iter().position(|b| !is_name_byte(*b)).unwrap_or(rest.len())
}

/// The end of the series that starts at `at`. The error is an offset and a reason.
pub(crate) fn series_end(bytes: &[u8], at: usize, dialect: Dialect) -> Result<usize, (usize, String)> {
    let name_end = name_end(bytes, at);
    let brace = match dialect {
        Dialect::Prometheus => skip_blanks(bytes, name_end),
        Dialect::OpenMetrics => name_end,
    };
    if bytes.get(brace) == Some(&b'{') {
        return braces_end(bytes, brace + 1, dialect);
    }
    if name_end == at {
        return Err((at, "expected a metric name".into()));
    }
    Ok(name_end)
}

fn braces_end(bytes: &[u8], open: usize, dialect: Dialect) -> Result<usize, (usize, String)> {
    let mut at = open;
    loop {
        let found = memchr::memchr3(b'"', b'}', b'\n', &bytes[at..]).map(|i| at + i);
        match found.map(|i| (i, bytes[i])) {
            Some((i, b'}')) => return Ok(i + 1),
            Some((i, b'"')) => at = quote_end(bytes, i + 1, dialect).ok_or((i, "unterminated quote".to_string()))?,
            Some((i, _)) => return Err((i, "unexpected end of line inside of braces".into())),
            None => return Err((open, "unexpected end of data inside of braces".into())),
        }
    }
}

/// The offset after the closing quote of the string whose first byte is at `at`.
fn quote_end(bytes: &[u8], mut at: usize, dialect: Dialect) -> Option<usize> {
    loop {
        let i = at + memchr::memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?;
        at = match bytes[i] {
            b'"' => return Some(i + 1),
            b'\\' => i + 2,
            _ if dialect == Dialect::OpenMetrics => return None,
            _ => i + 1,
        };
    }
}

impl LabelSource for SeriesText<'_> {
    fn read(&self, out: &mut LabelsBuilder) -> Result<(), String> {
        let bytes = self.text.as_bytes();
        let name_end = name_end(bytes, 0);
        if name_end > 0 {
            out.set(METRIC_NAME, &self.text[..name_end]);
        }
        let brace = skip_blanks(bytes, name_end);
        if bytes.get(brace) == Some(&b'{') {
            let mut braces = Braces { text: self.text, at: brace + 1, dialect: self.dialect };
            braces.read(self.kind, out)?;
        }
        Ok(())
    }
}

/// Reads the labels of an exemplar: a series without a metric name. `false`: it has a label twice and is left out.
pub(crate) fn read_exemplar_labels(text: &str, out: &mut LabelsBuilder) -> Result<bool, String> {
    let mut braces = Braces { text, at: 1, dialect: Dialect::OpenMetrics };
    let mut pairs = Vec::new();
    while let Some(pair) = braces.next()? {
        match pair {
            (Some(name), value) => pairs.push((name, value)),
            (None, _) => return Err("expected a label name".into()),
        }
    }
    Ok(add_unique(pairs, out).is_ok())
}

/// Iterates over the labels between braces.
struct Braces<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
}

type Pair = (Option<String>, String);

impl Braces<'_> {
    fn read(&mut self, kind: MetricType, out: &mut LabelsBuilder) -> Result<(), String> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = self.next()? {
            if pairs.len() >= MAX_LABELS {
                return Err(format!("more than {MAX_LABELS} labels"));
            }
            match name {
                Some(name) => {
                    let value = canonical_bound(kind, &name, value);
                    pairs.push((name, value));
                }
                None if out.get(METRIC_NAME).is_empty() => {
                    out.set(METRIC_NAME, &value);
                }
                None => return Err(format!("metric name already set, found {:?}", excerpt(&value))),
            }
        }
        // A label `__name__` does not replace the name.
        if out.get(METRIC_NAME).is_empty() {
            return Err("metric name not set".into());
        }
        add_unique(pairs, out)
    }

    fn skip_blanks(&mut self) {
        if self.dialect == Dialect::Prometheus {
            self.at = skip_blanks(self.text.as_bytes(), self.at);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next label. A quoted metric name is a value without a label name.
    fn next(&mut self) -> Result<Option<Pair>, String> {
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        let is_quoted = self.peek() == Some(b'"');
        let name = if is_quoted { self.quoted()? } else { self.bare_name()? };
        self.skip_blanks();
        if is_quoted && matches!(self.peek(), Some(b',' | b'}')) {
            self.separator()?;
            return Ok(Some((None, name)));
        }
        if self.peek() != Some(b'=') {
            return Err(format!("expected '=' after label name {:?}", excerpt(&name)));
        }
        self.at += 1;
        self.skip_blanks();
        if self.peek() != Some(b'"') {
            return Err(format!("expected a quoted value for label {:?}", excerpt(&name)));
        }
        let value = self.quoted()?;
        self.separator()?;
        Ok(Some((Some(name), value)))
    }

    /// Skips a comma, which is optional before the closing brace and, in Prometheus's text format, everywhere.
    fn separator(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_blanks();
                match self.peek() {
                    Some(b',') => Err("expected a label name, got ','".into()),
                    _ => Ok(()),
                }
            }
            Some(b'}') => Ok(()),
            _ if self.dialect == Dialect::Prometheus => Ok(()),
            _ => Err("expected ',' or '}' after a label".into()),
        }
    }

    fn bare_name(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("expected a label name, got {:?}", excerpt(rest)));
        }
        self.at += length;
        Ok(rest[..length].to_string())
    }

    fn quoted(&mut self) -> Result<String, String> {
        let start = self.at + 1;
        let end = quote_end(self.text.as_bytes(), start, self.dialect).ok_or("unterminated quote")?;
        self.at = end;
        Ok(unescape(&self.text[start..end - 1], true))
    }
}

/// Adds labels; refuses a repeated name.
fn add_unique(mut pairs: Vec<(String, String)>, out: &mut LabelsBuilder) -> Result<(), String> {
    pairs.sort_unstable();
    if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(format!("label name {:?} is not unique", excerpt(&twice[0].0)));
    }
    for (name, value) in &pairs {
        if name == METRIC_NAME && !out.get(METRIC_NAME).is_empty() {
            return Err(format!("label name {METRIC_NAME:?} is not unique"));
        }
        out.set(name, value);
    }
    Ok(())
}

/// Replaces `\\`, `\n` and, in quoted text, `\"`. Other escape sequences stay as they are.
pub(crate) fn unescape(text: &str, is_quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        let (replacement, used) = match rest.as_bytes().get(i + 1) {
            Some(b'\\') => ("\\", 2),
            Some(b'n') => ("\n", 2),
            Some(b'"') if is_quoted => ("\"", 2),
            _ => ("\\", 1),
        };
        out.push_str(replacement);
        rest = &rest[i + used..];
    }
    out.push_str(rest);
    out
}

/// Gives bounds of classic histograms and quantiles of summaries one form, so that `le="1"` and `le="1.0"` are one series.
fn canonical_bound(kind: MetricType, name: &str, value: String) -> String {
    let is_bound = matches!((kind, name), (MetricType::Histogram, "le") | (MetricType::Summary, "quantile"));
    match is_bound.then(|| parse_float(&value)) {
        Some(Ok(bound)) => format_openmetrics(bound),
        _ => value,
    }
}
