//! The translation of an expression from Go's syntax to Rust's.
//!
//! It is one pass from left to right. Flags are written just before the next atom, not where they occur, since in Go they
//! may stand between an atom and its repetition (`a(?i)*`). The flag `U` is applied and never written.

use super::class;
use super::error::{MAX_NESTING, RegexError};
use super::escape::{self, Escape};

/// A translated expression.
pub(crate) struct Translated {
    /// The expression in Rust's syntax. Its groups have no names: Go allows names that Rust does not.
    pub(crate) pattern: String,
    /// The names of the groups. The first group is the whole match.
    pub(crate) names: Vec<Option<String>>,
}

/// Translates an expression.
///
/// # Errors
/// Go refuses the expression, or it exceeds a limit.
pub(crate) fn translate(expression: &str) -> Result<Translated, RegexError> {
    let mut translator = Translator {
        whole: expression,
        rest: expression,
        out: String::with_capacity(expression.len() + 8),
        names: vec![None],
        groups: Vec::new(),
        pending: Flags::default(),
        ungreedy: false,
        copies: 1,
        operand: None,
        wrapped: 0,
    };
    translator.run()?;
    Ok(Translated { pattern: translator.out, names: translator.names })
}

/// How many copies of an atom nested repetitions may ask for.
const MAX_COPIES: u32 = 1000;

/// Changes of the flags `i`, `m` and `s`, which Rust has as well.
#[derive(Default, Clone, Copy)]
struct Flags {
    on: [bool; 3],
    off: [bool; 3],
}

impl Flags {
    const LETTERS: [char; 3] = ['i', 'm', 's'];

    fn set(&mut self, flag: usize, on: bool) {
        self.on[flag] = on;
        self.off[flag] = !on;
    }

    fn then(mut self, later: Flags) -> Flags {
        for flag in 0..3 {
            if later.on[flag] || later.off[flag] {
                self.set(flag, later.on[flag]);
            }
        }
        self
    }

    fn is_empty(self) -> bool {
        !self.on.contains(&true) && !self.off.contains(&true)
    }

    fn write(self, out: &mut String) {
        let chosen = |which: [bool; 3]| (0..3).filter(move |flag| which[*flag]).map(|flag| Flags::LETTERS[flag]);
        out.extend(chosen(self.on));
        if self.off.contains(&true) {
            out.push('-');
            out.extend(chosen(self.off));
        }
    }
}

/// What a repetition operator applies to.
struct Operand {
    /// The offset in the output at which the operand starts.
    start: usize,
    /// The number of copies of its innermost atom.
    copies: u32,
    /// Whether the operand is a repetition.
    repeated: bool,
}

/// An open group, and the state to which its end returns.
struct Group {
    start: usize,
    ungreedy: bool,
    copies: u32,
}

/// The bounds of a repetition operator.
#[derive(Clone, Copy)]
struct Count {
    min: u32,
    max: Option<u32>,
}

struct Translator<'e> {
    whole: &'e str,
    rest: &'e str,
    out: String,
    names: Vec<Option<String>>,
    groups: Vec<Group>,
    /// Flags that were not written yet.
    pending: Flags,
    ungreedy: bool,
    /// The most copies in the current group.
    copies: u32,
    operand: Option<Operand>,
    /// The number of repetitions that were wrapped in groups to be repeated again.
    wrapped: u32,
}

impl<'e> Translator<'e> {
    fn run(&mut self) -> Result<(), RegexError> {
        let mut last_repetition = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repetition = None;
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.settle();
                    self.write_flags();
                    self.out.push('|');
                    self.rest = &before[1..];
                }
                '*' | '+' | '?' => {
                    self.repeat(None, before, &before[1..], last_repetition)?;
                    repetition = Some(before);
                }
                '{' => match parse_count(before)? {
                    Some((count, after)) => {
                        self.repeat(Some(count), before, after, last_repetition)?;
                        repetition = Some(before);
                    }
                    None => self.literal('{', &before[1..]),
                },
                '[' => {
                    self.begin_atom();
                    self.rest = class::translate(before, &mut self.out)?;
                }
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.begin_atom();
                    self.out.push(c);
                    self.rest = &before[1..];
                }
                c => self.literal(c, &before[c.len_utf8()..]),
            }
            last_repetition = repetition;
        }
        if self.groups.is_empty() { Ok(()) } else { Err(RegexError::new("missing closing )", self.whole)) }
    }

    /// Ends the last operand: nothing can repeat it any more.
    fn settle(&mut self) {
        if let Some(operand) = self.operand.take() {
            self.copies = self.copies.max(operand.copies);
        }
    }

    fn write_flags(&mut self) {
        if !self.pending.is_empty() {
            self.out.push_str("(?");
            self.pending.write(&mut self.out);
            self.out.push(')');
            self.pending = Flags::default();
        }
    }

    /// What is written next can be repeated.
    fn begin_atom(&mut self) {
        self.settle();
        self.write_flags();
        self.operand = Some(Operand { start: self.out.len(), copies: 1, repeated: false });
    }

    fn literal(&mut self, c: char, after: &'e str) {
        self.begin_atom();
        escape::push_literal(c, &mut self.out);
        self.rest = after;
    }

    fn escape(&mut self) -> Result<(), RegexError> {
        if let Some(quoted) = self.rest.strip_prefix("\\Q") {
            let (text, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            text.chars().for_each(|c| self.literal(c, after));
            self.rest = after;
            return Ok(());
        }
        let (escape, after) = escape::parse(self.rest)?;
        self.begin_atom();
        match escape {
            Escape::Rune(rune) => escape::push_rune(rune, &mut self.out),
            Escape::Class(class) => self.out.push_str(&class),
            Escape::Assertion(assertion) => self.out.push_str(assertion),
        }
        self.rest = after;
        Ok(())
    }

    /// A group starts here, or flags change.
    fn open(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        if !text.starts_with("(?") {
            self.names.push(None);
            self.begin_group(Flags::default(), true);
            self.rest = &text[1..];
            return Ok(());
        }
        let name_at = if text.starts_with("(?P<") && text.len() > 4 {
            4
        } else if text.starts_with("(?<") && text.len() > 3 {
            3
        } else {
            return self.flags();
        };
        let invalid = |part| RegexError::new("invalid named capture", part);
        let end = text.find('>').ok_or_else(|| invalid(text))?;
        let name = text.get(name_at..end).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(invalid(&text[..=end]));
        }
        self.names.push(Some(name.to_string()));
        self.begin_group(Flags::default(), true);
        self.rest = &text[end + 1..];
        Ok(())
    }

    fn begin_group(&mut self, flags: Flags, capturing: bool) {
        self.settle();
        self.write_flags();
        self.groups.push(Group { start: self.out.len(), ungreedy: self.ungreedy, copies: self.copies });
        self.copies = 1;
        self.out.push('(');
        if !capturing {
            self.out.push('?');
            flags.write(&mut self.out);
            self.out.push(':');
        }
    }

    fn close(&mut self) -> Result<(), RegexError> {
        let group = self.groups.pop().ok_or_else(|| RegexError::new("unexpected )", self.whole))?;
        self.settle();
        self.out.push(')');
        // Flags end with their group.
        self.pending = Flags::default();
        self.ungreedy = group.ungreedy;
        self.operand = Some(Operand { start: group.start, copies: self.copies, repeated: false });
        self.copies = group.copies;
        self.rest = &self.rest[1..];
        Ok(())
    }

    /// `(?flags)` or `(?flags:`
    fn flags(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        let mut flags = Flags::default();
        let mut ungreedy = self.ungreedy;
        let mut positive = true;
        let mut any = false;
        for (at, c) in text.char_indices().skip(2) {
            let after = &text[at + c.len_utf8()..];
            match c {
                'i' => flags.set(0, positive),
                'm' => flags.set(1, positive),
                's' => flags.set(2, positive),
                'U' => ungreedy = positive,
                '-' if positive => {
                    positive = false;
                    any = false;
                    continue;
                }
                ':' | ')' if positive || any => {
                    if c == ':' {
                        self.begin_group(flags, false);
                    } else {
                        self.pending = self.pending.then(flags);
                    }
                    self.ungreedy = ungreedy;
                    self.rest = after;
                    return Ok(());
                }
                _ => return Err(invalid_flags(&text[..text.len() - after.len()])),
            }
            any = true;
        }
        Err(invalid_flags(text))
    }

    /// Applies the repetition operator between `before` and `after`. `last` is the text from the operator right before it.
    /// An operator without a count is `*`, `+` or `?`.
    fn repeat(
        &mut self,
        count: Option<Count>,
        before: &'e str,
        after: &'e str,
        last: Option<&'e str>,
    ) -> Result<(), RegexError> {
        let operator = until(before, after);
        let mut lazy = self.ungreedy;
        let mut rest = after;
        if let Some(stripped) = after.strip_prefix('?') {
            lazy = !lazy;
            rest = stripped;
        }
        if let Some(last) = last {
            return Err(RegexError::new("invalid nested repetition operator", until(last, rest)));
        }
        let Some(operand) = &mut self.operand else {
            return Err(RegexError::new("missing argument to repetition operator", until(before, rest)));
        };
        if let Some(count) = count {
            operand.copies = copies(count, operand.copies)
                .ok_or_else(|| RegexError::new("invalid repeat count", until(before, rest)))?;
        }
        if operand.repeated {
            self.wrapped += 1;
            if self.wrapped > MAX_NESTING {
                return Err(RegexError::nests_too_deeply(self.whole));
            }
            self.out.insert_str(operand.start, "(?:");
            self.out.push(')');
        }
        operand.repeated = true;
        self.out.push_str(operator);
        if lazy {
            self.out.push('?');
        }
        self.rest = rest;
        Ok(())
    }
}

fn invalid_flags(part: &str) -> RegexError {
    RegexError::new("invalid or unsupported Perl syntax", part)
}

/// `text` without its suffix `after`.
fn until<'t>(text: &'t str, after: &str) -> &'t str {
    &text[..text.len() - after.len()]
}

/// The copies of an innermost atom when an operand with `inner` copies is repeated. `None` if they are too many.
fn copies(count: Count, inner: u32) -> Option<u32> {
    match count.max.unwrap_or(count.min) {
        // `x{0}` is empty, and `x{0,}` is a loop.
        0 => Some(if count.max.is_some() { 1 } else { inner }),
        times => times.checked_mul(inner).filter(|copies| *copies <= MAX_COPIES),
    }
}

/// Reads `{min}`, `{min,}` or `{min,max}`. Returns it and the rest, or `None` if the text is something else.
fn parse_count(text: &str) -> Result<Option<(Count, &str)>, RegexError> {
    let Some((min, rest)) = text.strip_prefix('{').and_then(parse_number) else { return Ok(None) };
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => match parse_number(rest) {
            Some((max, rest)) => (Some(max), rest),
            None => return Ok(None),
        },
    };
    let Some(after) = rest.strip_prefix('}') else { return Ok(None) };
    if min > MAX_COPIES || max.is_some_and(|max| max > MAX_COPIES || max < min) {
        return Err(RegexError::new("invalid repeat count", until(text, after)));
    }
    Ok(Some((Count { min, max }, after)))
}

/// Reads a number without leading zeros. A number that is too large becomes the largest one.
fn parse_number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
