//! The URL of a target, formatted as Go's `net/url` does from a scheme, host, path and parameters.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The URL with its path and query escaped. The host appears as it was discovered.
pub(super) fn target_url(scheme: &str, address: &str, path: &str, params: &BTreeMap<String, Vec<String>>) -> String {
    let mut url = format!("{scheme}://");
    // A percent sign introduces the zone of an address, and anything else that is escaped here is invalid in a host, so the client
    // refuses it.
    escape(&mut url, address, |byte| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte));
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    escape(&mut url, path, |byte| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte));
    let mut separator = '?';
    for (name, value) in params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
        url.push(separator);
        escape_query(&mut url, name);
        url.push('=');
        escape_query(&mut url, value);
        separator = '&';
    }
    url
}

fn escape(url: &mut String, text: &str, is_plain: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        match is_plain(byte) {
            true => url.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => drop(write!(url, "%{byte:02X}")),
        }
    }
}

fn escape_query(url: &mut String, text: &str) {
    for (number, part) in text.split(' ').enumerate() {
        if number > 0 {
            url.push('+');
        }
        escape(url, part, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str, path: &str) -> String {
        target_url("http", address, path, &BTreeMap::new())
    }

    #[test]
    fn paths_are_escaped_as_go_does() {
        for (path, shown) in [
            ("", "http://h"),
            ("metrics", "http://h/metrics"),
            ("/a%20b", "http://h/a%2520b"),
            ("/a\\b", "http://h/a%5Cb"),
            ("/../x/./y", "http://h/../x/./y"),
            ("/a|b[c]", "http://h/a%7Cb%5Bc%5D"),
            ("/a?b#c", "http://h/a%3Fb%23c"),
            ("/ü", "http://h/%C3%BC"),
            ("//x", "http://h//x"),
            ("/a(b)!*'", "http://h/a%28b%29%21%2A%27"),
            ("/$&+,;=:@~", "http://h/$&+,;=:@~"),
        ] {
            assert_eq!(url("h", path), shown);
        }
    }

    #[test]
    fn hosts_are_not_changed() {
        for (address, shown) in [
            ("web.1:9100", "http://web.1:9100/"),
            ("2130706433", "http://2130706433/"),
            ("[fe80::1%eth0]:80", "http://[fe80::1%25eth0]:80/"),
            ("H:80", "http://H:80/"),
        ] {
            assert_eq!(url(address, "/"), shown);
        }
    }

    #[test]
    fn parameters_are_sorted_and_escaped() {
        let params = BTreeMap::from([
            ("b".to_string(), vec!["x y".to_string(), "é&=".to_string()]),
            ("a[]".to_string(), vec!["https://h/?x=1".to_string()]),
        ]);
        assert_eq!(
            target_url("http", "h", "/p", &params),
            "http://h/p?a%5B%5D=https%3A%2F%2Fh%2F%3Fx%3D1&b=x+y&b=%C3%A9%26%3D"
        );
    }
}
