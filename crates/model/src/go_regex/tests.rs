//! What Prometheus 3.15 answered.

use regex::Regex;

use super::*;

fn compiled(expression: &str) -> Regex {
    let translated = translate(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    Regex::new(&format!("^(?s:{translated})$")).unwrap_or_else(|e| panic!("{expression}: {translated}: {e}"))
}

#[test]
fn expressions_mean_what_they_mean_in_go() {
    for (expression, matching, not_matching) in [
        (r"\d+", "12", "٣"),
        (r"\D", "٣", "1"),
        (r"\w+", "a_1", "é"),
        (r"\W", "é", "a"),
        (r"\s", "\t", "\u{a0}"),
        (r"\S", "\u{a0}", " "),
        (r"a\b.", "a.", "aa"),
        (r"a\Bb", "ab", "a b"),
        (r"[\w.]+", "a.b", "é"),
        (r"[^\d]+", "ab", "1"),
        (r"[[]", "[", "a"),
        (r"[^[]", "a", "["),
        (r"[]a]+", "]a", "b"),
        (r"[^]a]", "b", "]"),
        (r"[a&&b]+", "&ab", "c"),
        (r"[[1]]", "[]", "1"),
        (r"[+--]+", "+,-", "."),
        (r"[a~~b]", "~", "c"),
        (r"[a-c[d-f]]", "b]", "b"),
        (r"[a-]+", "a-", "b"),
        (r"[\w-a]+", "-z", "é"),
        (r"[[:alpha:]]+", "ab", "1"),
        (r"[[:^alpha:]\n]+", "1\n", "a"),
        (r"[\n\x{e9}-\xea]+", "\né", "e"),
        (r"\Qa.b\E+", "a.bb", "acb"),
        (r"\Qa.b", "a.b", "acb"),
        ("{", "{", "}"),
        ("a{1", "a{1", "a"),
        ("a{,2}", "a{,2}", "aa"),
        ("a{b}", "a{b}", "ab"),
        ("a{1, 2}", "a{1, 2}", "aa"),
        ("a{01}", "a{01}", "a"),
        ("a{2}", "aa", "a"),
        ("a{2,}?", "aaa", "a"),
        ("a{0,2}", "", "aaa"),
        (r"\061", "1", "0"),
        (r"\0", "\0", "0"),
        (r"\12", "\n", "1"),
        (r"\x31", "1", "x"),
        (r"\x{1F600}", "😀", "x"),
        (r"\pL+", "éa", "1"),
        (r"\p{^L}", "1", "é"),
        (r"\P{^L}", "é", "1"),
        (r"\p{Greek}", "α", "a"),
        (r"[\p{Lu}\PL]+", "A1", "a"),
        ("(?)a", "a", "b"),
        ("(?ii)a", "A", "b"),
        ("(?i-i)a", "a", "A"),
        ("(?i:a)b", "Ab", "AB"),
        ("(?P<x>a)(?<y>b)", "ab", "a"),
        (r"\<a\>", "<a>", "a"),
        (r"a\b{start}", "a{start}", "a"),
        ("a|b", "b", "ab"),
        ("a.b", "a\nb", "ab"),
        ("a}]", "a}]", "a"),
        (r"\-\#\ \~", "-# ~", "a"),
        ("#é b", "#é b", "#é"),
        (r"\Aa\z", "a", "b"),
    ] {
        let regex = compiled(expression);
        let (yes, no) = (regex.is_match(matching), regex.is_match(not_matching));
        assert!(yes && !no, "{expression} ({regex}): {matching:?} {yes}, {not_matching:?} {no}");
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (expression, error) in [
        ("a**", "invalid nested repetition operator: `**`"),
        ("1++", "invalid nested repetition operator: `++`"),
        ("a*?+", "invalid nested repetition operator: `*?+`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?u)a", "invalid or unsupported Perl syntax: `(?u`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?i", "missing closing ): `(?i`"),
        ("(?P<a-b>a)", "invalid named capture: `(?P<a-b>`"),
        ("a(b", "missing closing ): `a(b`"),
        ("a)b", "unexpected ): `a)b`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Emoji}", r"invalid character class range: `\p{Emoji}`"),
        (r"\p{greek}", r"invalid character class range: `\p{greek}`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[]", "missing closing ]: `[]`"),
        ("[a-", "missing closing ]: `[a-`"),
    ] {
        let found = translate(expression).expect_err(expression).to_string();
        assert_eq!(found, format!("error parsing regexp: {error}"));
    }
}

#[test]
fn templates_are_gos() {
    let regex = Regex::new("(?P<first>.)(.)?(x)?").unwrap();
    for (template, expanded) in [
        ("$1-$2-$3", "a-b-"),
        ("${1}b $first ${first}", "ab a a"),
        ("$1b", ""),
        ("$01${01}$00", ""),
        ("$0", "ab"),
        ("$9$99999999999999999999", ""),
        ("$$1", "$1"),
        ("${}${a b}${a.b}${1 }", "${}${a b}${a.b}${1 }"),
        ("${1", "${1"),
        ("$1é|$é|$-|$", "||$-|$"),
        ("plain", "plain"),
    ] {
        let mut out = String::new();
        expand(&regex.captures("ab").unwrap(), template, &mut out);
        assert_eq!(out, expanded, "{template}");
    }
}
