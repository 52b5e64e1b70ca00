//! Lists of addresses, such as `a@example.com, "B, C" <b@example.com>`.

/// The addresses of a list, without the names.
///
/// # Errors
/// The list is empty, or an entry is not an address.
pub(super) fn addresses(list: &str) -> Result<Vec<String>, String> {
    entries(list)?.into_iter().map(address).collect()
}

/// The entries of a list. Commas in quotes, comments and angle brackets separate none.
fn entries(list: &str) -> Result<Vec<&str>, String> {
    let mut entries = Vec::new();
    let mut begin = 0;
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0usize);
    for (at, c) in list.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '<' => depth += 1,
            ')' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                entries.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if is_quoted {
        return Err("mail: unclosed quoted-string".into());
    }
    entries.push(&list[begin..]);
    let entries: Vec<_> = entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() { Err("mail: no address".into()) } else { Ok(entries) }
}

fn address(entry: &str) -> Result<String, String> {
    let address = match entry.rfind('<') {
        Some(at) => entry[at + 1..].split_once('>').map(|(address, _)| address).ok_or("mail: unclosed angle-addr")?,
        None => entry.split('(').next().unwrap_or(entry),
    };
    let address = address.trim();
    let (local, domain) = address.rsplit_once('@').ok_or("mail: missing '@' or angle-addr")?;
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let is_atom = |text: &str, also: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || !c.is_ascii() || also.contains(c))
    };
    let has_control = address.chars().any(|c| c.is_control());
    match () {
        () if has_control => Err("mail: control character in address".into()),
        () if !is_quoted && !is_atom(local, ".!#$%&'*+-/=?^_`{|}~") => Err("mail: invalid string in address".into()),
        () if !is_atom(domain, ".-[]:_") => Err("mail: no angle-addr".into()),
        () => Ok(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_plain_and_named_addresses() {
        let list = "a@example.com, \"B, (C)\" <b@example.com>,D <d@[::1]>, e@example.com (E, F)";
        assert_eq!(addresses(list).unwrap(), ["a@example.com", "b@example.com", "d@[::1]", "e@example.com"]);
    }

    #[test]
    fn what_could_be_a_command_is_no_address() {
        for text in
            ["", " , ", "a", "a@", "@b", "a b@c", "<a@b", "a@b\r\nDATA", "<a@b>\r\nRCPT TO:<c@d> <x\r@y>", "\"a@b"]
        {
            assert!(addresses(text).is_err(), "{text:?}");
        }
    }
}
