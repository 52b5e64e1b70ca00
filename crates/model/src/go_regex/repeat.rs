//! Counts of repetitions: `{2}`, `{2,}`, `{2,5}`.

use super::{GoRegexError, before};

const MAX_COUNT: u32 = 1000;

/// What follows a count at the start of `text`. None when the brace is plain, an error when the count is none that Go takes.
pub(super) fn count(text: &str) -> Result<Option<&str>, GoRegexError> {
    let Some((least, most, after)) = bounds(text) else { return Ok(None) };
    if least > MAX_COUNT || most.is_some_and(|most| most > MAX_COUNT || most < least) {
        return Err(GoRegexError::new("invalid repeat count", before(text, after)));
    }
    Ok(Some(after))
}

fn bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (least, rest) = number(text.strip_prefix('{')?)?;
    if let Some(after) = rest.strip_prefix('}') {
        return Some((least, Some(least), after));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(after) = rest.strip_prefix('}') {
        return Some((least, None, after));
    }
    let (most, rest) = number(rest)?;
    Some((least, Some(most), rest.strip_prefix('}')?))
}

/// A number without a leading zero; one that is too large for a count is as good as any other of the kind.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    let is_number = digits > 0 && (digits == 1 || !number.starts_with('0'));
    is_number.then(|| (number.parse().unwrap_or(u32::MAX), rest))
}
