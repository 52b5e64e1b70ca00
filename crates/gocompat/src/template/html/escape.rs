//! Escapers for text, attributes and URLs.

/// What stands for a value that would be dangerous where it is inserted. Go's, so that it can be searched for.
pub(super) const UNSAFE: &str = "ZgotmplZ";

/// What the value of an attribute is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AttributeKind {
    #[default]
    Plain,
    Url,
    Script,
    Style,
}

const URL_ATTRIBUTES: [&str; 18] = [
    "action",
    "archive",
    "background",
    "cite",
    "classid",
    "codebase",
    "data",
    "formaction",
    "href",
    "icon",
    "longdesc",
    "manifest",
    "poster",
    "profile",
    "src",
    "srcset",
    "usemap",
    "xmlns",
];

/// The kind of an attribute, by its name. Names that look like those of URLs count as such.
pub(super) fn attribute_kind(name: &str) -> AttributeKind {
    let name = name.to_ascii_lowercase();
    let name = match (name.strip_prefix("data-"), name.split_once(':')) {
        (Some(name), _) => name,
        (None, Some(("xmlns", _))) => return AttributeKind::Url,
        (None, Some((_, name))) => name,
        (None, None) => &name,
    };
    match name {
        "style" => AttributeKind::Style,
        name if URL_ATTRIBUTES.contains(&name) => AttributeKind::Url,
        name if name.starts_with("on") => AttributeKind::Script,
        name if ["src", "uri", "url"].iter().any(|part| name.contains(part)) => AttributeKind::Url,
        _ => AttributeKind::Plain,
    }
}

fn reference(c: char) -> Option<&'static str> {
    Some(match c {
        '\0' => "\u{fffd}",
        '"' => "&#34;",
        '&' => "&amp;",
        '\'' => "&#39;",
        '+' => "&#43;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => return None,
    })
}

/// Escapes for text and quoted attributes.
pub(super) fn html(text: &str) -> String {
    replace(text, reference)
}

/// Escapes like [`html`], but leaves character references alone.
pub(super) fn normalize_html(text: &str) -> String {
    replace(text, |c| reference(c).filter(|_| c != '&'))
}

/// Escapes for an attribute without quotes. With `normalize`, character references stay.
pub(super) fn unquoted(text: &str, normalize: bool) -> String {
    if text.is_empty() {
        return UNSAFE.into();
    }
    replace(text, |c| {
        Some(match c {
            '\0' => "&#xfffd;",
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\x0b' => "&#11;",
            '\x0c' => "&#12;",
            '\r' => "&#13;",
            ' ' => "&#32;",
            '=' => "&#61;",
            '`' => "&#96;",
            '&' if normalize => return None,
            c => return reference(c),
        })
    })
}

fn replace(text: &str, of: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match of(c) {
            Some(reference) => out.push_str(reference),
            None => out.push(c),
        }
    }
    out
}

/// Removes tags and comments from trusted HTML.
pub(super) fn strip_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        let end = match tag.strip_prefix("<!--") {
            Some(comment) => comment.find("-->").map(|end| end + 7),
            None => tag.find('>').map(|end| end + 1),
        };
        let Some(end) = end else { return out };
        rest = &tag[end..];
    }
    out + rest
}

/// The name of an attribute that a value gives.
pub(super) fn attribute_name(text: &str) -> String {
    let name = text.to_lowercase();
    let is_safe = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && attribute_kind(&name) == AttributeKind::Plain;
    if is_safe { name } else { UNSAFE.into() }
}

/// Replaces a URL that would run a script.
pub(super) fn filter_url(text: &str) -> String {
    let is_safe = match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|safe| scheme.eq_ignore_ascii_case(safe))
        }
        _ => true,
    };
    if is_safe { text.to_string() } else { format!("#{UNSAFE}") }
}

/// Escapes what a URL cannot contain. With `normalize`, what has a meaning in URLs and what is escaped already stays.
pub(super) fn url(text: &str, normalize: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let is_escape =
            *byte == b'%' && bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let stays = byte.is_ascii_alphanumeric()
            || b"-._~".contains(byte)
            || normalize && (is_escape || b"!#$&*+,/:;=?@[]".contains(byte));
        match stays {
            true => out.push(char::from(*byte)),
            false => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}
