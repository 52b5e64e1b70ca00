//! Prometheus's text format, versions 0.0.4 and 1.0.0.

use std::borrow::Cow;

use pharos_model::MetricType;

use super::float::{excerpt, parse_value};
use super::series::{Dialect, SeriesText, name_end, series_end, skip_blanks, unescape};
use super::sink::{ExpositionError, MetadataField, SampleInfo, SeriesKey, Sink};

/// Parses a body in the text format.
pub fn parse_text(body: &[u8], sink: &mut impl Sink) -> Result<(), ExpositionError> {
    let (text, invalid) = match str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => {
            let (text, invalid) = with_valid_comments(body);
            (Cow::Owned(text), invalid)
        }
    };
    let body = text.as_bytes();
    let mut parser = TextParser { text: &text, kind: MetricType::Unknown };
    let mut at = 0;
    while at < body.len() {
        at = parser.line(at, sink).map_err(|(offset, reason)| ExpositionError::at(body, offset, reason))?;
    }
    invalid.map_or(Ok(()), Err)
}

/// The body with replacement characters in comments that are not UTF-8. It ends before any other line that is not, which is
/// an error.
fn with_valid_comments(body: &[u8]) -> (String, Option<ExpositionError>) {
    let mut valid = String::with_capacity(body.len() + 64);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => valid.push_str(line),
            Err(_) if is_comment(line) => valid.push_str(&String::from_utf8_lossy(line)),
            Err(_) => {
                let error = ExpositionError::at(valid.as_bytes(), valid.len(), "invalid UTF-8");
                return (valid, Some(error));
            }
        }
    }
    (valid, None)
}

fn is_comment(line: &[u8]) -> bool {
    let at = skip_blanks(line, 0);
    line.get(at) == Some(&b'#') && metadata_word(line, at).is_none()
}

/// Where the word `HELP` or `TYPE` of a line that begins with a number sign is, if it has one.
fn metadata_word(bytes: &[u8], sign_at: usize) -> Option<usize> {
    let word_at = skip_blanks(bytes, sign_at + 1);
    let is_word = matches!(bytes.get(word_at..word_at + 4), Some(b"HELP" | b"TYPE"));
    let is_apart = word_at > sign_at + 1 && matches!(bytes.get(word_at + 4), Some(b' ' | b'\t'));
    (is_word && is_apart).then_some(word_at)
}

/// The offset of an error and its reason.
pub(crate) type SyntaxError = (usize, String);

struct TextParser<'a> {
    text: &'a str,
    kind: MetricType,
}

impl TextParser<'_> {
    /// Parses the line at `start`; returns the start of the next one.
    fn line(&mut self, start: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let at = skip_blanks(bytes, start);
        match bytes.get(at) {
            None => Ok(at),
            Some(b'\n') => Ok(at + 1),
            // As in Prometheus, the body ends here.
            Some(0) => Ok(bytes.len()),
            Some(b'#') => self.comment(at, sink),
            Some(_) => self.sample(at, sink),
        }
    }

    fn sample(&self, at: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let (end, is_expected) = match expected_end(bytes, at, sink.expected()) {
            Some(end) => (end, true),
            None => (series_end(bytes, at, Dialect::Prometheus)?, false),
        };
        let value_at = skip_blanks(bytes, end);
        let value_end = token_end(bytes, value_at);
        if value_end == value_at {
            return Err((value_at, "expected a value after the metric".into()));
        }
        let v = parse_value(&self.text[value_at..value_end]).map_err(|reason| (value_at, reason))?;
        let (t, next) = self.timestamp(value_end)?;
        let source = SeriesText { text: &self.text[at..end], dialect: Dialect::Prometheus, kind: self.kind };
        let series = SeriesKey { key: source.text.as_bytes(), is_expected, labels: &source };
        sink.float(series, v, SampleInfo { t, ..SampleInfo::default() }).map_err(|e| (at, e.reason))?;
        Ok(next)
    }

    /// The timestamp after a value, if there is one, and the start of the next line.
    fn timestamp(&self, value_end: usize) -> Result<(Option<i64>, usize), SyntaxError> {
        let bytes = self.text.as_bytes();
        let at = skip_blanks(bytes, value_end);
        match bytes.get(at) {
            None => Ok((None, at)),
            Some(b'\n') => Ok((None, at + 1)),
            Some(_) => {
                let end = token_end(bytes, at);
                let digits = &self.text[at..end];
                let t = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten();
                let t = t.ok_or_else(|| (at, format!("invalid timestamp {:?}", excerpt(digits))))?;
                Ok((Some(t), line_end(bytes, end)?))
            }
        }
    }

    fn comment(&mut self, at: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        match metadata_word(bytes, at) {
            Some(word_at) => self.metadata(word_at, sink),
            None => Ok(memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i + 1)),
        }
    }

    fn metadata(&mut self, word_at: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let is_type = bytes[word_at] == b'T';
        let family_at = skip_blanks(bytes, word_at + 4);
        let (family, family_end) = family_name(self.text, family_at)?;
        // One blank separates the text of HELP from the name; further ones belong to the text.
        let text_at = match is_type {
            true => skip_blanks(bytes, family_end),
            false => family_end + usize::from(matches!(bytes.get(family_end), Some(b' ' | b'\t'))),
        };
        let text_end = memchr::memchr(b'\n', &bytes[text_at..]).map_or(bytes.len(), |i| text_at + i);
        let text = &self.text[text_at..text_end];
        if is_type {
            let kind = match text {
                "counter" | "gauge" | "histogram" | "summary" | "untyped" => MetricType::parse(text),
                _ => None,
            };
            self.kind = kind.ok_or_else(|| (text_at, format!("invalid metric type {:?}", excerpt(text))))?;
            sink.metadata(&family, MetadataField::Kind(self.kind));
        } else if text.contains('\\') {
            sink.metadata(&family, MetadataField::Help(&unescape(text, false)));
        } else {
            sink.metadata(&family, MetadataField::Help(text));
        }
        Ok((text_end + 1).min(bytes.len()))
    }
}

/// The end of the series at `at`, if it is the expected one.
pub(crate) fn expected_end(bytes: &[u8], at: usize, expected: &[u8]) -> Option<usize> {
    let end = at + expected.len();
    let is_there = !expected.is_empty() && bytes.get(at..end) == Some(expected);
    // A blank or a value follows; a brace or a name character would make it another series.
    let ends_there = match bytes.get(end)? {
        b' ' => expected.ends_with(b"}") || !matches!(bytes.get(end + 1), Some(b'{' | b' ' | b'\t')),
        _ => false,
    };
    (is_there && ends_there).then_some(end)
}

/// The end of the token at `at`.
pub(crate) fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest.iter().position(|b| matches!(b, b' ' | b'\t' | b'\n')).unwrap_or(rest.len())
}

/// The start of the next line, when only blanks are left on this one.
fn line_end(bytes: &[u8], at: usize) -> Result<usize, SyntaxError> {
    let at = skip_blanks(bytes, at);
    match bytes.get(at) {
        None => Ok(at),
        Some(b'\n') => Ok(at + 1),
        Some(_) => Err((at, "expected the end of the line after the timestamp".into())),
    }
}

/// The family of a metadata line, bare or quoted, and the end of its name.
pub(crate) fn family_name(text: &str, at: usize) -> Result<(Cow<'_, str>, usize), SyntaxError> {
    let bytes = text.as_bytes();
    if bytes.get(at) == Some(&b'"') {
        let mut end = at + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(b'\n') | None => return Err((at, "unterminated quote".into())),
                Some(_) => end += 1,
            }
        }
        return Ok((unescape(&text[at + 1..end], true).into(), end + 1));
    }
    let end = name_end(bytes, at);
    if end == at {
        return Err((at, "expected a metric name in metadata".into()));
    }
    Ok((text[at..end].into(), end))
}

#[cfg(test)]
mod tests;
