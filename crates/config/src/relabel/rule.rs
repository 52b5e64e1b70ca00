//! Compiled relabelling rules, which rewrite or drop label sets.

use std::borrow::Cow;

use pharos_gocompat::GoRegex;
use pharos_model::LabelsBuilder;

use super::{DEFAULT_REGEX, DEFAULT_REPLACEMENT, RelabelAction, RelabelConfig, compile_regex};
use crate::error::ConfigError;
use crate::protocols::ValidationScheme;

/// A checked and compiled rule.
#[derive(Clone, Debug)]
pub struct RelabelRule {
    config: RelabelConfig,
    regex: GoRegex,
    scheme: ValidationScheme,
    /// Whether the expression matches anything, and neither target nor replacement refers to its groups.
    is_constant: bool,
}

impl PartialEq for RelabelRule {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.scheme == other.scheme
    }
}

impl RelabelRule {
    /// Checks and compiles a rule.
    pub fn new(config: RelabelConfig, scheme: ValidationScheme) -> Result<Self, ConfigError> {
        config.check(scheme)?;
        let regex = compile_regex(&config.regex).map_err(ConfigError::new)?;
        let is_constant =
            config.regex == DEFAULT_REGEX && !config.target_label.contains('$') && !config.replacement.contains('$');
        Ok(RelabelRule { config, regex, scheme, is_constant })
    }

    /// Applies the rule; returns false when it drops the label set.
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let config = &self.config;
        match config.action {
            RelabelAction::Keep => self.regex.is_match(&self.source(labels)),
            RelabelAction::Drop => !self.regex.is_match(&self.source(labels)),
            RelabelAction::KeepEqual => labels.get(&config.target_label) == self.source(labels),
            RelabelAction::DropEqual => labels.get(&config.target_label) != self.source(labels),
            _ => {
                self.rewrite(labels);
                true
            }
        }
    }

    fn rewrite(&self, labels: &mut LabelsBuilder) {
        let target = self.config.target_label.as_str();
        match self.config.action {
            RelabelAction::Replace if self.is_constant => {
                labels.set(target, &self.config.replacement);
            }
            RelabelAction::Replace => self.replace(labels),
            RelabelAction::Lowercase => {
                let value = map_chars(&self.source(labels), go_lowercase);
                labels.set(target, &value);
            }
            RelabelAction::Uppercase => {
                let value = map_chars(&self.source(labels), go_uppercase);
                labels.set(target, &value);
            }
            RelabelAction::HashMod => {
                let bucket = md5_tail(self.source(labels).as_bytes()) % self.config.modulus.max(1);
                labels.set(target, &bucket.to_string());
            }
            RelabelAction::LabelMap => self.map_names(labels),
            RelabelAction::LabelDrop => self.drop_names(labels, true),
            RelabelAction::LabelKeep => self.drop_names(labels, false),
            RelabelAction::Keep | RelabelAction::Drop | RelabelAction::KeepEqual | RelabelAction::DropEqual => {}
        }
    }

    /// The joined values of the source labels.
    fn source<'l>(&self, labels: &'l LabelsBuilder) -> Cow<'l, str> {
        match self.config.source_labels.as_deref().unwrap_or_default() {
            [] => Cow::Borrowed(""),
            [name] => Cow::Borrowed(labels.get(name)),
            names => {
                let values: Vec<&str> = names.iter().map(|name| labels.get(name)).collect();
                Cow::Owned(values.join(&self.config.separator))
            }
        }
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let value = self.source(labels);
        let Some(captures) = self.regex.captures(&value) else { return };
        let mut target = Cow::Borrowed(self.config.target_label.as_str());
        if target.contains('$') {
            let mut expanded = String::new();
            self.regex.expand(&self.config.target_label, &captures, &mut expanded);
            target = Cow::Owned(expanded);
        }
        if !self.scheme.is_valid_label_name(&target) {
            return;
        }
        let mut replacement = String::new();
        if self.config.replacement == DEFAULT_REPLACEMENT && self.config.regex == DEFAULT_REGEX {
            replacement.push_str(&value);
        } else {
            self.regex.expand(&self.config.replacement, &captures, &mut replacement);
        }
        labels.set(&target, &replacement);
    }

    fn map_names(&self, labels: &mut LabelsBuilder) {
        let mut mapped = Vec::new();
        for (name, value) in labels.iter() {
            if let Some(captures) = self.regex.captures(name) {
                let mut new_name = String::new();
                self.regex.expand(&self.config.replacement, &captures, &mut new_name);
                mapped.push((new_name, value.to_string()));
            }
        }
        for (name, value) in &mapped {
            labels.set(name, value);
        }
    }

    fn drop_names(&self, labels: &mut LabelsBuilder, drop_matching: bool) {
        let dropped: Vec<String> = labels
            .iter()
            .filter(|(name, _)| self.regex.is_match(name) == drop_matching)
            .map(|(name, _)| name.to_string())
            .collect();
        for name in &dropped {
            labels.remove(name);
        }
    }
}

/// Applies rules in order; returns false as soon as one drops the label set.
pub fn relabel(rules: &[RelabelRule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// The hash of `hashmod`: the last eight bytes of the MD5 digest, big-endian.
fn md5_tail(bytes: &[u8]) -> u64 {
    let digest = md5::compute(bytes).0;
    digest[8..].iter().fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// Maps characters one to one, as Go does.
fn map_chars(text: &str, map: impl Fn(char) -> char) -> String {
    text.chars().map(map).collect()
}

/// The simple lower case of a character.
fn go_lowercase(c: char) -> char {
    match c {
        // The only one whose full lower case has two characters.
        '\u{130}' => 'i',
        c => single(c.to_lowercase()).unwrap_or(c),
    }
}

/// The simple upper case of a character. One whose full upper case has several characters stays as it is, but for Greek
/// letters with an iota below, which have a title case.
fn go_uppercase(c: char) -> char {
    let offset = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        c => return single(c.to_uppercase()).unwrap_or(c),
    };
    char::from_u32(c as u32 + offset).unwrap_or(c)
}

/// The only character of an iterator; `None` when there are several.
fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next();
    if chars.next().is_none() { first } else { None }
}

#[cfg(test)]
mod tests;
