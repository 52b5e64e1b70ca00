use super::*;

fn parsed(url: &str) -> RequestUrl {
    RequestUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn hosts_are_what_stands_there() {
    for (host, port, url) in [
        ("web.1", 9100, "http://web.1:9100/metrics"),
        ("2130706433", 80, "http://2130706433/metrics"),
        ("0x7f", 80, "http://0x7f/"),
        ("10.0.1", 443, "https://10.0.1"),
        ("a_b", 80, "http://a_b:/"),
        ("::1", 1, "http://[::1]:1/"),
        ("xn--bcher-kva.example", 80, "http://bücher.example/"),
    ] {
        assert_eq!((parsed(url).host.as_str(), parsed(url).port), (host, port), "{url}");
    }
}

#[test]
fn a_zone_is_not_sent() {
    let url = parsed("http://[fe80::1%25eth0]:9100/");
    assert_eq!((url.host.as_str(), url.zone.as_str()), ("fe80::1", "eth0"));
    assert_eq!(url.authority, "[fe80::1]:9100");
}

#[test]
fn paths_are_sent_as_they_are() {
    for target in ["/a/../b", "/%25/%5C", "/a|b", "/x?y={z}", "//", "/?a=b&c"] {
        assert_eq!(parsed(&format!("http://h{target}")).target.as_str(), target);
    }
    assert_eq!(parsed("http://h?a=b").target.as_str(), "/?a=b");
    assert_eq!(parsed("http://h/a b#c").target.as_str(), "/a%20b");
}

#[test]
fn malformed_urls_are_refused() {
    for (url, error) in [
        ("h:1", "unsupported protocol scheme"),
        ("ftp://h", "unsupported protocol scheme \"ftp\""),
        ("http://", "no Host"),
        ("http://h:x/", "invalid port \":x\" after host"),
        ("http://h:99999/", "invalid port"),
        ("http://[::1/", "missing ']'"),
        ("http://a%20b/", "invalid URL escape \"%20\""),
        ("http://h/\n", "invalid control character"),
        ("http://h/%zz", "invalid URL escape \"%zz\""),
        ("http://h/%2", "invalid URL escape \"%2\""),
    ] {
        let found = RequestUrl::parse(url).unwrap_err();
        assert!(found.contains(error), "{url}: {found}");
    }
}

#[test]
fn a_user_is_decoded() {
    assert_eq!(parsed("http://u:p%40@h/").user, Some(("u".into(), "p@".into())));
}

#[test]
fn redirects_are_resolved() {
    let base = parsed("https://h:1/a/b?c");
    for (location, target) in [
        ("/x", "/x"),
        ("x?y", "/a/x?y"),
        ("x?y=http://other/z", "/a/x?y=http://other/z"),
        ("x/y://z", "/a/x/y://z"),
        ("../x", "/x"),
        ("..", "/"),
        ("?d", "/a/b?d"),
        ("/x/./y/..", "/x/"),
        ("/x//y/../z?a=../b", "/x//z?a=../b"),
        ("caf%C3%A9/../d", "/a/d"),
        ("#part", "/a/b?c"),
    ] {
        let url = base.join(location).unwrap();
        assert_eq!((url.target.as_str(), url.authority.as_str()), (target, "h:1"), "{location}");
    }
    assert_eq!(base.join("//other/x").unwrap().authority, "other");
    assert!(!base.join("http://other/x").unwrap().is_https);
}

#[test]
fn a_page_read_over_tls_is_not_named_in_the_clear() {
    let (secure, clear) = (parsed("https://u:p@h:1/a?b"), parsed("http://h/"));
    assert_eq!(secure.referer_for(&secure).unwrap(), "https://h:1/a?b");
    assert_eq!(secure.referer_for(&clear), None);
    assert_eq!(clear.referer_for(&secure).unwrap(), "http://h/");
}

#[test]
fn credentials_stay_with_their_host() {
    let first = parsed("http://h.example:1/");
    for (url, may) in [
        ("http://h.example:2/", true),
        ("https://H.example/", true),
        ("http://a.h.example/", true),
        ("http://example/", false),
        ("http://evilh.example/", false),
    ] {
        assert_eq!(parsed(url).may_have_credentials_of(&first), may, "{url}");
    }
    assert!(!parsed("http://1.127.0.0.1/").may_have_credentials_of(&parsed("http://127.0.0.1/")));
}
