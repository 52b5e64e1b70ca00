//! String literals of Go and PromQL: what they stand for.

/// The bytes that a string literal stands for, which may not be UTF-8.
///
/// Callers have checked the literal. Of an invalid one the result is unspecified.
pub fn unquote(literal: &str) -> Vec<u8> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or("");
    if literal.starts_with('`') || !inner.contains('\\') {
        return inner.as_bytes().to_vec();
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..backslash]);
        rest = unescape(&rest[backslash + 1..], &mut bytes);
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Appends what an escape sequence stands for and returns the rest.
fn unescape<'a>(sequence: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let Some(&kind) = sequence.as_bytes().first() else { return "" };
    let (skip, digits, base) = match kind {
        b'0'..=b'7' => (0, 3, 8),
        b'x' => (1, 2, 16),
        b'u' => (1, 4, 16),
        b'U' => (1, 8, 16),
        _ => {
            bytes.push(match kind {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => other,
            });
            return sequence.get(1..).unwrap_or("");
        }
    };
    let number = sequence.get(skip..skip + digits).unwrap_or("");
    let value = u32::from_str_radix(number, base).unwrap_or(0);
    match u8::try_from(value) {
        Ok(byte) if matches!(kind, b'x' | b'0'..=b'7') => bytes.push(byte),
        _ => {
            let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    sequence.get(skip + digits..).unwrap_or("")
}
