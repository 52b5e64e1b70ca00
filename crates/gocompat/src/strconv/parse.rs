//! Numbers as Go reads them.

/// Why a text is not a float, in Go's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseFloatError {
    /// The text is not a number.
    #[error("invalid syntax")]
    Syntax,
    /// The number is larger than the largest float.
    #[error("value out of range")]
    Range,
}

/// Reads a float as `strconv.ParseFloat(text, 64)` does: decimal or, with a `p` exponent, hexadecimal; `inf`, `infinity`
/// and `nan` in any case; underscores between digits.
///
/// # Errors
/// The text is not a number, or it is too large.
pub fn parse_float(text: &str) -> Result<f64, ParseFloatError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let magnitude = parse_hex_float(unsigned, digits)?;
        return Ok(if text.starts_with('-') { -magnitude } else { magnitude });
    }
    let is_word = unsigned.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_word {
        let is_signed_nan = unsigned.len() < text.len() && unsigned.eq_ignore_ascii_case("nan");
        return if is_signed_nan {
            Err(ParseFloatError::Syntax)
        } else {
            text.parse().map_err(|_| ParseFloatError::Syntax)
        };
    }
    let parsed = match unsigned.contains('_') {
        true if !underscores_separate_digits(unsigned) => return Err(ParseFloatError::Syntax),
        true => text.replace('_', "").parse::<f64>(),
        false => text.parse::<f64>(),
    };
    match parsed {
        Ok(value) if value.is_infinite() => Err(ParseFloatError::Range),
        Ok(value) => Ok(value),
        Err(_) => Err(ParseFloatError::Syntax),
    }
}

/// The value of `0x` and `digits`, which must have an exponent. `whole` is the text with its prefix.
fn parse_hex_float(whole: &str, digits: &str) -> Result<f64, ParseFloatError> {
    if !underscores_separate_digits(whole) {
        return Err(ParseFloatError::Syntax);
    }
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let (mantissa, exponent) = digits.split_once('p').ok_or(ParseFloatError::Syntax)?;
    let exponent: i64 = exponent.parse().map_err(|_| ParseFloatError::Syntax)?;
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if integer.is_empty() && fraction.is_empty() {
        return Err(ParseFloatError::Syntax);
    }
    let mut value = 0u64;
    let mut shift = 0i64;
    let mut lost = false;
    for (index, digit) in integer.chars().chain(fraction.chars()).enumerate() {
        let digit = digit.to_digit(16).ok_or(ParseFloatError::Syntax)?;
        if value >> 58 == 0 {
            value = value << 4 | u64::from(digit);
        } else {
            lost |= digit != 0;
            shift += 4;
        }
        shift -= if index >= integer.len() { 4 } else { 0 };
    }
    // A lost digit only matters for the rounding, where the lowest bit stands in for it.
    let value = value | u64::from(lost);
    let scaled = scale(value, exponent.saturating_add(shift));
    if scaled.is_infinite() { Err(ParseFloatError::Range) } else { Ok(scaled) }
}

/// `value * 2^exponent`, rounded once to the nearest float, ties to even.
fn scale(value: u64, exponent: i64) -> f64 {
    if value == 0 {
        return 0.0;
    }
    let bits = i64::from(64 - value.leading_zeros());
    let top = exponent.saturating_add(bits);
    if top > 1024 {
        return f64::INFINITY;
    }
    // A float keeps 53 bits, a subnormal one those down to 2^-1074.
    let drop = (bits - 53).max(-1074i64.saturating_sub(exponent)).max(0);
    if drop > 64 {
        return 0.0;
    }
    let kept = if drop == 64 { 0 } else { value >> drop };
    let rest = u128::from(value) - (u128::from(kept) << drop);
    let half = if drop == 0 { u128::MAX } else { 1u128 << (drop - 1) };
    let rounded = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
    let exponent = exponent + drop;
    // Both factors are exact, and so is the product unless it overflows.
    let first = exponent.clamp(-1022, 1023);
    rounded as f64 * power_of_two(first) * power_of_two((exponent - first).clamp(-1022, 1023))
}

/// `2^exponent` for exponents of normal floats.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Reads an integer as `strconv.ParseInt(text, 0, 64)` does: decimal, or with the prefix `0x`, `0b`, `0o` or `0`.
/// Underscores may separate digits.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !underscores_separate_digits(unsigned) {
        return None;
    }
    let (digits, base) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&unsigned[2..], 16),
        [b'0', b'b' | b'B', _, ..] => (&unsigned[2..], 2),
        [b'0', b'o' | b'O', _, ..] => (&unsigned[2..], 8),
        [b'0', _, ..] => (&unsigned[1..], 8),
        _ => (unsigned, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), base).ok()
}

/// Whether each underscore stands between two digits, or between the base's prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_prefixed = matches!(bytes, [b'0', b'x' | b'X' | b'b' | b'B' | b'o' | b'O', ..]);
    let is_hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let is_digit = |byte: u8| byte.is_ascii_digit() || is_hex && byte.is_ascii_hexdigit();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(at, _)| {
        let previous = at.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b'_');
        let next = bytes.get(at + 1).copied().unwrap_or(b'_');
        let follows_prefix = is_prefixed && at == 2;
        (is_digit(previous) || follows_prefix) && is_digit(next)
    })
}
