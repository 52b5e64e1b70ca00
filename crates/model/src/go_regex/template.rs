//! Templates: `$1`, `$name`, `${1}`, `${name}` and `$$`, as Go's `Regexp.Expand` has them.

/// Appends a template with what an expression captured. A group that is unknown or took no part is empty; a `$` that begins no
/// reference stays.
pub fn expand(captures: &regex::Captures<'_>, template: &str, out: &mut String) {
    let mut rest = template;
    while let Some((plain, after)) = rest.split_once('$') {
        out.push_str(plain);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(rest) else {
            out.push('$');
            continue;
        };
        let group = match index(name) {
            Some(index) => captures.get(index),
            None => captures.name(name),
        };
        out.push_str(group.map_or("", |group| group.as_str()));
        rest = after;
    }
    out.push_str(rest);
}

/// The name behind a `$`, and what follows: of letters, digits and underscores, in braces or as many as there are.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = text.strip_prefix('{').map_or((false, text), |text| (true, text));
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let after = if braced { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// A name of digits is a number, unless it has a leading zero.
fn index(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    // One that is too large is the number of no group.
    is_number.then(|| name.parse().unwrap_or(usize::MAX))
}
