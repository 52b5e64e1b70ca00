//! Encodings of mail: words of headers, and bodies as quoted-printable text.

/// The longest line of a body, without its end.
const MAX_LINE: usize = 76;
/// The longest content of an encoded word.
const MAX_WORD: usize = 75 - "=?utf-8?q?".len() - "?=".len();

/// The value of a header. One with other than printable ASCII becomes encoded words, so that none can begin a header of its
/// own.
pub(super) fn header(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if is_plain {
        return value.to_string();
    }
    let mut out = String::from("=?utf-8?q?");
    let mut length = 0;
    for c in value.chars() {
        let encoded = match c {
            ' ' => "_".to_string(),
            '!'..='~' if !matches!(c, '=' | '?' | '_') => c.to_string(),
            c => c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("={byte:02X}")).collect(),
        };
        if length + encoded.len() > MAX_WORD {
            out.push_str("?= =?utf-8?q?");
            length = 0;
        }
        length += encoded.len();
        out.push_str(&encoded);
    }
    out + "?="
}

/// A text as quoted-printable, with lines that end in CR and LF.
pub(super) fn quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (index, line) in text.replace("\r\n", "\n").replace('\r', "\n").split('\n').enumerate() {
        if index > 0 {
            out.push_str("\r\n");
        }
        quote_line(line.as_bytes(), &mut out);
    }
    out
}

fn quote_line(line: &[u8], out: &mut String) {
    let mut length = 0;
    for (at, byte) in line.iter().enumerate() {
        let is_last = at + 1 == line.len();
        let stays = matches!(byte, b'!'..=b'~') && *byte != b'=' || matches!(byte, b' ' | b'\t') && !is_last;
        let width = if stays { 1 } else { 3 };
        // The last column of a line that goes on is its equals sign.
        if length + width > MAX_LINE - 1 {
            out.push_str("=\r\n");
            length = 0;
        }
        length += width;
        match stays {
            true => out.push(char::from(*byte)),
            false => out.push_str(&format!("={byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_other_than_ascii_become_words() {
        assert_eq!(header("plain [x] = ?"), "plain [x] = ?");
        assert_eq!(header("Zürich: a_b?"), "=?utf-8?q?Z=C3=BCrich:_a=5Fb=3F?=");
        assert_eq!(header("a\r\nBcc: b"), "=?utf-8?q?a=0D=0ABcc:_b?=");
        let long = header(&"ü".repeat(30));
        assert!(long.split(' ').all(|word| word.len() <= 75), "{long}");
    }

    #[test]
    fn bodies_keep_their_lines_below_the_limit() {
        assert_eq!(quoted_printable("a=b ü\nend \n"), "a=3Db =C3=BC\r\nend=20\r\n");
        let long = quoted_printable(&"x".repeat(200));
        assert!(long.split("\r\n").all(|line| line.len() <= MAX_LINE), "{long}");
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(200));
    }
}
