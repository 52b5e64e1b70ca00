//! Translates metric and attribute names of OTLP to those of the configured strategy.

use std::borrow::Cow;

use pharos_config::{OtlpConfig, TranslationStrategy};

/// The kind of a metric, as far as its name depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Gauge,
    MonotonicSum,
    Other,
}

/// The translated name of a metric. It is an error when nothing of the name is left.
pub(super) fn metric_name(
    strategy: TranslationStrategy,
    name: &str,
    unit: &str,
    shape: Shape,
) -> Result<String, String> {
    let translated = match (strategy.escapes(), strategy.adds_suffixes()) {
        (true, true) => escaped_with_suffixes(name, unit, shape),
        (true, false) => fields(name, |c| is_plain(c) || c == '_').collect::<Vec<_>>().join("_"),
        (false, true) => unescaped_with_suffixes(name, unit, shape),
        (false, false) => name.to_string(),
    };
    let translated = match translated.as_bytes().first() {
        Some(b'0'..=b'9') if strategy.escapes() => format!("_{translated}"),
        _ => translated,
    };
    if translated.is_empty() {
        return Err(format!("normalization for metric {name:?} resulted in empty name"));
    }
    if strategy.escapes() && translated != name && translated.bytes().all(|b| b == b'_') {
        return Err(format!("normalization for metric {name:?} resulted in invalid name {translated:?}"));
    }
    Ok(translated)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn fields(text: &str, keep: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    text.split(move |c| !keep(c)).filter(|field| !field.is_empty())
}

/// The words of the name, those of the unit that it lacks, and `total` or `ratio`, joined by underscores.
fn escaped_with_suffixes(name: &str, unit: &str, shape: Shape) -> String {
    let (unit_word, per) = unit_words(unit);
    let mut unit_word = escaped_unit(&unit_word);
    let mut per = escaped_unit(&per);
    let mut words: Vec<&str> = fields(name, is_plain).collect();
    if words.contains(&unit_word.as_str()) {
        unit_word.clear();
    }
    if per == "per_" {
        per.clear();
    }
    if per.ends_with('_') {
        per.pop();
    }
    if !per.is_empty() && unit_word.ends_with('_') {
        unit_word.pop();
    }
    words.extend([unit_word.as_str(), per.as_str()].into_iter().filter(|word| !word.is_empty()));
    if let Some(last) = last_word(unit, shape) {
        words.retain(|word| *word != last);
        words.push(last);
    }
    words.join("_")
}

/// The name with all suffixes. Those that it already has are not repeated.
fn unescaped_with_suffixes(name: &str, unit: &str, shape: Shape) -> String {
    let (unit_word, per) = unit_words(unit);
    let last = last_word(unit, shape);
    let mut name = name;
    for suffix in [last.unwrap_or(""), &per] {
        // The delimiter before the suffix is removed too, whatever it is.
        if let Some(stem) = name.strip_suffix(suffix).filter(|stem| !suffix.is_empty() && stem.len() > 1) {
            let delimiter = stem.chars().next_back().map_or(0, char::len_utf8);
            name = &stem[..stem.len() - delimiter];
        }
    }
    let mut full = name.to_string();
    let unit_word = if full.ends_with(&*unit_word) { "" } else { &*unit_word };
    for suffix in [unit_word, &per, last.unwrap_or("")].into_iter().filter(|suffix| !suffix.is_empty()) {
        full.push('_');
        full.push_str(suffix);
    }
    full
}

fn last_word(unit: &str, shape: Shape) -> Option<&'static str> {
    match shape {
        Shape::MonotonicSum => Some("total"),
        Shape::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    }
}

/// The unit in the metadata.
pub(super) fn unit_name(unit: &str) -> String {
    let (word, per) = unit_words(unit);
    let words: Vec<String> = [word, per].iter().map(|w| escaped_unit(w)).filter(|w| !w.is_empty()).collect();
    let joined = words.join("_");
    let joined = joined.strip_prefix('_').unwrap_or(&joined);
    joined.strip_suffix('_').unwrap_or(joined).to_string()
}

/// Splits a unit such as `By/s` into `bytes` and `per_second`. Annotations in braces are ignored.
fn unit_words(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (unit, per) = unit.split_once('/').unwrap_or((unit, ""));
    let known = |text: &'_ str| !text.is_empty() && !text.contains(['{', '}']);
    let unit = unit.trim();
    let per = per.trim();
    let unit = if known(unit) { plural(unit) } else { "" };
    let per = if known(per) { Cow::Owned(format!("per_{}", singular(per))) } else { Cow::Borrowed("") };
    (Cow::Borrowed(unit), per)
}

fn plural(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn singular(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit with other characters replaced by single underscores, without a leading one.
fn escaped_unit(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        let c = if is_plain(c) { c } else { '_' };
        if c != '_' || !escaped.ends_with('_') {
            escaped.push(c);
        }
    }
    escaped.strip_prefix('_').map(str::to_string).unwrap_or(escaped)
}

/// The label name of an attribute. It is an error when nothing of the name is left.
pub(super) fn label_name<'a>(config: &OtlpConfig, attribute: &'a str) -> Result<Cow<'a, str>, String> {
    if attribute.is_empty() {
        return Err("label name is empty".into());
    }
    let name = match config.translation_strategy.escapes() {
        false => Cow::Borrowed(attribute),
        true => escaped_label(config, attribute),
    };
    match name.bytes().all(|b| b == b'_') {
        true => Err(format!("normalization for label name {attribute:?} resulted in invalid name {name:?}")),
        false => Ok(name),
    }
}

fn escaped_label<'a>(config: &OtlpConfig, attribute: &'a str) -> Cow<'a, str> {
    let keep_runs = config.label_name_preserve_multiple_underscores;
    let fine = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && (keep_runs || !name.contains("__"))
    };
    let inner = match attribute.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")) {
        Some(inner) if !keep_runs => inner,
        _ => attribute,
    };
    let reserved = inner.len() != attribute.len();
    let mut name = if fine(attribute) { Cow::Borrowed(attribute) } else { Cow::Owned(underscored(inner, keep_runs)) };
    if reserved && !fine(attribute) {
        name = Cow::Owned(format!("__{name}__"));
    }
    match name.as_bytes() {
        [b'0'..=b'9', ..] => Cow::Owned(format!("key_{name}")),
        [b'_', rest @ ..] if config.label_name_underscore_sanitization && rest.first() != Some(&b'_') => {
            Cow::Owned(format!("key{name}"))
        }
        _ => name,
    }
}

fn underscored(text: &str, keep_runs: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c),
            _ if keep_runs || !out.ends_with('_') => out.push('_'),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests;
