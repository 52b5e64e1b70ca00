use super::unicode_names::{CATEGORIES, SCRIPTS};
use super::*;

fn matches(expression: &str, text: &str) -> bool {
    GoRegex::anchored(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).is_match(text)
}

/// Each text of the first list matches and each of the second does not.
fn check(expression: &str, matching: &[&str], others: &[&str]) {
    for text in matching {
        assert!(matches(expression, text), "{expression} {text:?}");
    }
    for text in others {
        assert!(!matches(expression, text), "{expression} {text:?}");
    }
}

fn error(expression: &str) -> String {
    translate(expression).err().map_or_else(|| format!("{expression} is accepted"), |error| error.to_string())
}

#[test]
fn perl_classes_and_word_boundaries_are_ascii() {
    check(r"\d+", &["12"], &["١٢", "٣"]);
    check(r"\D", &["٣", "a", "\n"], &["1"]);
    check(r"\s", &[" ", "\t", "\n", "\r", "\u{c}"], &["\u{b}", "\u{a0}"]);
    check(r"\S", &["\u{b}", "\u{a0}"], &[" "]);
    check(r"\w+", &["a_1"], &["é"]);
    check(r"\W", &["é"], &["a"]);
    check(r"[\w.]+", &["a.b"], &["é"]);
    check(r"[^\d]+", &["ab", "٣"], &["1"]);
    check(r"[^\W]+", &["ab"], &["é"]);
    check(r"(?i)\w", &["ſ", "K"], &["é"]);
    check(r"é\bx", &["éx"], &[]);
    check(r"x\Bé", &[], &["xé"]);
    check(r"é\B.", &["éé", "é "], &["éx"]);
    check(r"a\b{2}", &["a"], &[]);
}

#[test]
fn classes_mean_what_they_mean_in_go() {
    check("[[]", &["["], &["a"]);
    check("[^[]", &["a", "\n"], &["["]);
    check("[]a]+", &["]a"], &["b"]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a&&b]+", &["&ab"], &["c"]);
    check("[[1]]", &["[]", "1]"], &["1", "["]);
    check("[+--]+", &["+,-"], &["."]);
    check("[a~~b]+", &["a~b"], &["c"]);
    check("[a-c[d-f]]", &["a]", "[]", "e]"], &["a", "]"]);
    check(r"[\w-a]+", &["a-_"], &["."]);
    check("[a-]+", &["a-"], &["b"]);
    check("[-a]+", &["a-"], &["b"]);
    check("[a^]+", &["a^"], &["b"]);
    check("[[:alpha:]]+", &["ab"], &["1", "é"]);
    check("[[:^alpha:][:lower:]]+", &["ab1é"], &["A"]);
    check("[[:a]", &["[", ":", "a"], &["]"]);
    check(r"[\x{D800}]", &[], &["\u{fffd}", "a"]);
    check(r"[^\x{D800}]", &["a", "\u{fffd}"], &[]);
    check(r"[\x{D7FF}-\x{DFFF}\n]", &["\u{d7ff}", "\n"], &["\u{e000}"]);
    check(r"[a\x{D800}-\x{E000}]", &["a", "\u{e000}"], &["\u{d7ff}"]);
    check(r"\x{D800}|a", &["a"], &["", "\u{fffd}"]);
    check(r"[^\x00-\x{10FFFF}]?", &[""], &["a"]);
    check("(?i)[k]", &["k", "K", "\u{212a}"], &[]);
}

#[test]
fn unicode_classes_have_gos_names() {
    check(r"\p{Greek}+", &["αβγ"], &["a"]);
    check(r"\p{^L}\PL\pN", &["1-1"], &["a-1"]);
    check(r"\P{^Lu}[\p{Lu}\PL]", &["AB", "A1"], &["aB", "Ab"]);
    check(r"\p{Any}", &["a", "\n"], &[]);
    check(r"\P{Any}|\p{Cs}|[\p{Cs}b]", &["b"], &["a"]);
    for name in CATEGORIES.iter().chain(SCRIPTS) {
        assert!(GoRegex::anchored(&format!(r"\p{{{name}}}[\P{{{name}}}]")).is_ok(), "{name}");
    }
    assert!(SCRIPTS.is_sorted());
}

#[test]
fn quoted_text_means_itself() {
    check(r"\Qa.b\E", &["a.b"], &["acb"]);
    check(r"\Qa.b\E+", &["a.bb"], &["a.ba.b"]);
    check(r"a\Q\E+", &["aa"], &[""]);
}

#[test]
fn octal_escapes_have_up_to_three_digits() {
    check(r"\061\01\0", &["1\u{1}\0"], &[]);
    check(r"\0018", &["\u{1}8"], &[]);
    check(r"[\0-\777]", &["a", "\u{1ff}"], &["\u{200}"]);
}

#[test]
fn escape_sequences_mean_characters() {
    check(r"\x41\x{42}\x{1F600}", &["AB😀"], &[]);
    check(r"\a\f\n\r\t\v", &["\u{7}\u{c}\n\r\t\u{b}"], &[]);
    check(r"\<a\>", &["<a>"], &["a"]);
    check(r"\_\-\!\/\#", &["_-!/#"], &[]);
}

#[test]
fn assertions_are_those_of_go() {
    check(r"\b{start}a", &[], &["a", "{start}a"]);
    check(r"x\b{start}a", &["x{start}a"], &[]);
    check(r"\Aa\z", &["a"], &[]);
    check("(?m)a$\n^b", &["a\nb"], &[]);
}

#[test]
fn braces_that_are_not_a_repetition_mean_themselves() {
    for text in
        ["{", "}", "a{", "a{1", "a{,2}", "a{b}", "a{1, 2}", "a{01}", "a{1,x}", "{}", "{,}", "a{1,", "a{99999999999,x}"]
    {
        check(text, &[text], &["a"]);
    }
    check("a{2}b{1,}c{1,2}d{0}e{0,0}", &["aabbbcc"], &["abc", "aabd"]);
    check("a{,2}{2}", &["a{,2}}"], &[]);
    check("(a{10}){100}", &[&"a".repeat(1000)], &[]);
    check("(a{1000}){0}b", &["b"], &[]);
    check("((a{500}){0}){1000}b", &["b"], &[]);
}

#[test]
fn flags_are_set_and_cleared() {
    check("(?)a", &["a"], &["A"]);
    check("(?ii)a", &["a", "A"], &[]);
    check("(?i-i)a", &["a"], &["A"]);
    check("(?-s).", &["a"], &["\n"]);
    check("(?-s:.).", &["a\n"], &["\n\n"]);
}

#[test]
fn flags_apply_to_the_rest_of_their_group() {
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("((?i)a|b)c", &["ac", "Bc"], &["AC"]);
    check("(?i)a|b", &["B"], &[]);
    check("a|(?i)b|c", &["a", "C"], &["A"]);
}

#[test]
fn flags_may_stand_before_a_repetition() {
    check("a(?i)*b", &["aaB", "b"], &["Ab"]);
    check("a+(?i)?b", &["aaB", "b"], &[]);
}

#[test]
fn assertions_and_empty_alternatives_can_be_repeated() {
    check("^*a$+", &["a"], &[]);
    check("(|a)*||b", &["", "aa", "b"], &["ab"]);
    check("()(?:)a", &["a"], &[]);
}

/// What the first group of an expression matches in `aaa`.
fn group(expression: &str) -> String {
    let regex = GoRegex::anchored(expression).unwrap();
    let captures = regex.captures("aaa").unwrap();
    let mut out = String::new();
    regex.expand("$1", &captures, &mut out);
    out
}

#[test]
fn repetitions_are_greedy_or_lazy() {
    assert_eq!(group("(a*).*"), "aaa");
    assert_eq!(group("(a*?).*"), "");
}

#[test]
fn the_ungreedy_flag_swaps_greedy_and_lazy() {
    assert_eq!(group("(?U)(a*).*"), "");
    assert_eq!(group("(?U)(a*?).*"), "aaa");
    assert_eq!(group("(?U:(a{1,2})).*"), "a");
}

#[test]
fn the_ungreedy_flag_ends_with_its_group() {
    assert_eq!(group("(?:(?U)(a{1,2})).*"), "a");
    assert_eq!(group("(?:(?U))(a{1,2}).*"), "aa");
    assert_eq!(group("(?U)(?-U)(a{1,2}).*"), "aa");
}

/// Checks that expressions are refused, and for which reasons.
#[track_caller]
fn check_refused(cases: &[(&str, &str)]) {
    for (expression, reason) in cases {
        assert_eq!(error(expression), format!("error parsing regexp: {reason}"), "{expression}");
    }
}

#[test]
fn invalid_repetitions_are_refused_in_gos_words() {
    check_refused(&[
        ("a**", "invalid nested repetition operator: `**`"),
        ("1++", "invalid nested repetition operator: `++`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a*??", "invalid nested repetition operator: `*??`"),
        ("**", "missing argument to repetition operator: `*`"),
        ("a|*?", "missing argument to repetition operator: `*?`"),
        ("(?i)+", "missing argument to repetition operator: `+`"),
        ("({2})", "missing argument to repetition operator: `{2}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(a{1000}){1000}", "invalid repeat count: `{1000}`"),
        ("(a{10}b|c){101}?", "invalid repeat count: `{101}?`"),
    ]);
}

#[test]
fn invalid_groups_are_refused_in_gos_words() {
    check_refused(&[
        ("(?x)", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?u)", "invalid or unsupported Perl syntax: `(?u`"),
        ("(?R)", "invalid or unsupported Perl syntax: `(?R`"),
        ("(?z)", "invalid or unsupported Perl syntax: `(?z`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?--i)", "invalid or unsupported Perl syntax: `(?--`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?<=a)", "invalid named capture: `(?<=a)`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        ("(?<>c)", "invalid named capture: `(?<>`"),
        ("(?<é>c)", "invalid named capture: `(?<é>`"),
    ]);
}

#[test]
fn invalid_escape_sequences_are_refused_in_gos_words() {
    check_refused(&[
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"a\1b", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\E", r"invalid escape sequence: `\E`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\xg12", r"invalid escape sequence: `\xg1`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{12g}", r"invalid escape sequence: `\x{12g`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\x{1", r"invalid escape sequence: `\x{1`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"[\Qa\E]", r"invalid escape sequence: `\Q`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[\\", "trailing backslash at end of expression: ``"),
    ]);
}

#[test]
fn invalid_classes_are_refused_in_gos_words() {
    check_refused(&[
        ("[a--b]", "invalid character class range: `a--`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[[::]]", "invalid character class range: `[::]`"),
        (r"\p{Emoji}", r"invalid character class range: `\p{Emoji}`"),
        (r"\p{greek}", r"invalid character class range: `\p{greek}`"),
        (r"[\p{lu}]", r"invalid character class range: `\p{lu}`"),
        (r"\pé", r"invalid character class range: `\pé`"),
        (r"\p", r"invalid character class range: `\p`"),
        (r"\p{^}", r"invalid character class range: `\p{^}`"),
        (r"\p{Lu", r"invalid character class range: `\p{Lu`"),
        ("x[", "missing closing ]: `[`"),
        ("x[a-", "missing closing ]: `[a-`"),
        ("[]", "missing closing ]: `[]`"),
    ]);
}

#[test]
fn invalid_parentheses_are_refused_in_gos_words() {
    check_refused(&[("x(a", "missing closing ): `x(a`"), ("x)a", "unexpected ): `x)a`")]);
}

#[test]
fn the_anchored_expression_is_what_must_be_valid() {
    assert_eq!(GoRegex::anchored("(").unwrap_err().to_string(), "error parsing regexp: missing closing ): `^(?s:()$`");
    assert!(GoRegex::anchored("a)|(b").is_ok(), "as in Prometheus");
    assert!(GoRegex::anchored(r"\Qa").is_err(), "as in Prometheus");
}

#[test]
fn size_and_depth_are_bounded() {
    for expression in [
        "(a{1000}){1000}".to_string(),
        format!("{}a{}", "(".repeat(2000), ")".repeat(2000)),
        format!("a*{}", "(?i)*".repeat(200_000)),
        "(".repeat(1_000_000),
        r"\pL{1000}".repeat(100),
    ] {
        assert!(GoRegex::anchored(&expression).is_err());
    }
}

#[test]
fn templates_expand_by_gos_rules() {
    let cases = [
        ("$1", "one"),
        ("${1}x", "onex"),
        ("$1x", ""),
        ("$1_", ""),
        ("$1-", "one-"),
        ("$0", "one-two"),
        ("$01|${01}|$00", "||"),
        ("$word|${word}|$words", "two|two|"),
        ("$wordé|$word٣|$word·", "||two·"),
        ("$2x|$7|$99999999999999999999", "||"),
        ("$$|$$1|$$$1", "$|$1|$one"),
        ("${}|${a b}|${a.b}|${1 }|${1", "${}|${a b}|${a.b}|${1 }|${1"),
        ("$-|$ |$é|$", "$-|$ ||$"),
        ("${${1}}", "${one}"),
        ("$1$1", "oneone"),
        ("é$1é", "é"),
        ("é${1}é", "éoneé"),
        ("", ""),
    ];
    let regex = GoRegex::anchored("(.*)-(?P<word>.*)(none)?").unwrap();
    let captures = regex.captures("one-two").unwrap();
    for (template, expected) in cases {
        let mut out = String::new();
        regex.expand(template, &captures, &mut out);
        assert_eq!(out, expected, "{template}");
    }
}

#[test]
fn groups_may_share_names_and_begin_with_digits() {
    let regex = GoRegex::anchored("(?P<x>a)|(?<x>b)(?P<1a>c)").unwrap();
    for (text, expected) in [("a", "a-"), ("bc", "b-c")] {
        let mut out = String::new();
        regex.expand("$x-${1a}", &regex.captures(text).unwrap(), &mut out);
        assert_eq!(out, expected);
    }
}

#[test]
fn an_unanchored_expression_matches_anywhere() {
    let regex = GoRegex::unanchored("b.").unwrap();
    assert!(regex.is_match("abc"));
    assert!(!regex.is_match("b\n"), "a dot does not match a newline");
    assert_eq!(GoRegex::unanchored("(").unwrap_err().to_string(), "error parsing regexp: missing closing ): `(`");
}

#[test]
fn all_matches_are_replaced() {
    for (expression, template, text, expected) in [
        ("(b)", "<$1>", "abcb", "a<b>c<b>"),
        ("x*", "-", "abxc", "-a-b-c-"),
        ("(?P<n>.)b", "$n$$", "abcb", "a$c$"),
        ("z", "!", "abc", "abc"),
        ("", "-", "é", "-é-"),
    ] {
        assert_eq!(GoRegex::unanchored(expression).unwrap().replace_all(text, template), expected, "{expression}");
    }
}

#[test]
fn the_memory_of_an_expression_is_known() {
    let (_, bytes) = Syntax::parse("a.*b").unwrap().compile_anchored().unwrap();
    assert_eq!(bytes, 16 << 10);
}
