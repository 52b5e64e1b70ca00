//! Truncation, by the limits of services.

/// Cuts a text after `limit` characters, the last of which becomes an ellipsis.
pub(crate) fn truncate_chars(text: String, limit: usize) -> String {
    let Some((_, _)) = text.char_indices().nth(limit) else { return text };
    let kept = if limit <= 3 { limit } else { limit - 1 };
    let mut cut: String = text.chars().take(kept).collect();
    if limit > 3 {
        cut.push('…');
    }
    cut
}

/// Cuts a text to `limit` bytes, the last of which are an ellipsis.
pub(crate) fn truncate_bytes(text: String, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text;
    }
    if limit < ELLIPSIS.len() {
        return ".".repeat(limit);
    }
    let end = text.floor_char_boundary(limit - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_limit_stays() {
        assert_eq!(truncate_chars("äöü".into(), 3), "äöü");
        assert_eq!(truncate_bytes("abc".into(), 3), "abc");
    }

    #[test]
    fn a_longer_text_ends_with_an_ellipsis() {
        assert_eq!(truncate_chars("abcdef".into(), 5), "abcd…");
        assert_eq!(truncate_chars("abcdef".into(), 3), "abc");
        assert_eq!(truncate_bytes("abcdefgh".into(), 6), "abc…");
        assert_eq!(truncate_bytes("äöüäöü".into(), 6), "ä…");
    }

    #[test]
    fn limits_below_the_ellipsis_hold() {
        assert_eq!(truncate_bytes("abcdef".into(), 3), "…");
        assert_eq!(truncate_bytes("abcdef".into(), 2), "..");
    }
}
