//! Quoted text as Go's `strconv` and `%q` write it.

use std::fmt::{self, Write};

/// Displays a string as Go's `strconv.Quote` does, which is how Prometheus prints label values.
pub struct GoQuoted<'a>(pub &'a str);

impl fmt::Display for GoQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{b}' => f.write_str("\\v")?,
                c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
                c if is_printable(c) => write!(f, "{c}")?,
                c if (c as u32) < 0x10000 => write!(f, "\\u{:04x}", c as u32)?,
                c => write!(f, "\\U{:08x}", c as u32)?,
            }
        }
        f.write_str("\"")
    }
}

/// Approximates Go's `strconv.IsPrint`: everything but control and format characters, private use, and space other than
/// `' '`.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && (c == ' ' || !c.is_whitespace())
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}')
}

/// Quotes a character in single quotes, as Go's `%q` does.
pub fn go_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_string(),
        '"' => "'\"'".to_string(),
        _ => {
            let quoted = GoQuoted(c.encode_utf8(&mut [0; 4])).to_string();
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// Prints a character as Go's `%#U` does: `U+0063 'c'`, or only the number if it is not printable.
pub fn unicode_name(c: char) -> String {
    let quoted = go_char(c);
    let number = format!("U+{:04X}", c as u32);
    if quoted.len() > 3 && quoted.starts_with("'\\") && !matches!(c, '\'' | '\\') {
        return number;
    }
    format!("{number} '{c}'")
}

/// Quotes bytes that may not be UTF-8, as Go's `strconv.Quote` does.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = GoQuoted(chunk.valid()).to_string();
        quoted.push_str(&valid[1..valid.len() - 1]);
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}
