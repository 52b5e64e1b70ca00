//! How long a message with markup is for Telegram: tags do not count, and character references count once.

/// The characters of a message that are shown. Where the markup is broken, all count.
pub(super) fn visible_chars(message: &str) -> usize {
    let mut count = 0;
    let mut rest = message;
    while let Some(at) = rest.find('<') {
        count += text_chars(&rest[..at]);
        let tag = &rest[at..];
        let name = tag[1..].trim_start_matches('/');
        match name.chars().next() {
            Some('!' | '?') => return message.chars().count(),
            Some(first) if first.is_ascii_alphabetic() => match tag_length(tag) {
                Some(length) => rest = &tag[length..],
                None => return message.chars().count(),
            },
            _ => {
                count += 1;
                rest = &tag[1..];
            }
        }
    }
    count + text_chars(rest)
}

/// The length of a tag, whose values may have quotes.
fn tag_length(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.bytes()
        .position(|byte| {
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), byte) if open == byte => quote = None,
                _ => {}
            }
            quote.is_none() && byte == b'>'
        })
        .map(|at| at + 1)
}

fn text_chars(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let reference = if first == '&' { reference_length(rest) } else { None };
        count += 1;
        rest = &rest[reference.unwrap_or(first.len_utf8())..];
    }
    count
}

/// The length of a character reference that Telegram knows: four names, and numbers of up to seven digits.
fn reference_length(text: &str) -> Option<usize> {
    let after = &text[1..];
    let end = match after.strip_prefix('#') {
        None => {
            let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            matches!(&after[..length], "lt" | "gt" | "amp" | "quot").then_some(1 + length)?
        }
        Some(number) => {
            let (digits, radix, begin) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16, 3),
                None => (number, 10, 2),
            };
            let length = digits.chars().take_while(|c| c.is_digit(radix)).count();
            let code = u32::from_str_radix(&digits[..length], radix).ok()?;
            let is_valid = code != 0 && code < u32::from(char::MAX) && begin + length < 10;
            is_valid.then_some(begin + length)?
        }
    };
    Some(end + usize::from(text[end..].starts_with(';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_do_not_count_and_references_count_once() {
        assert_eq!(visible_chars("<b>ä</b> &lt;&#39;&amp;x &nope; a < b"), 19);
        assert_eq!(visible_chars("<a href=\"x>y\">z</a>"), 1);
    }

    #[test]
    fn broken_markup_counts_whole() {
        assert_eq!(visible_chars("ab<i"), 4);
        assert_eq!(visible_chars("<!-- x -->y"), 11);
    }
}
