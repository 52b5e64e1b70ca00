use proptest::prelude::*;

use super::*;

#[test]
fn decimal_floats_are_read() {
    for (text, value) in [
        ("0", 0.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+2", 2.0),
        ("-1.5E-2", -0.015),
        ("1e400000", f64::INFINITY),
        ("9223372036854775808", 9_223_372_036_854_775_808.0),
    ] {
        let read = parse_float(text);
        assert_eq!(read, if value.is_finite() { Ok(value) } else { Err(ParseFloatError::Range) }, "{text}");
    }
}

#[test]
fn tiny_floats_become_zero() {
    assert_eq!(parse_float("1e-400"), Ok(0.0));
}

#[test]
fn infinity_is_read_in_any_case_and_with_a_sign() {
    for text in ["inf", "Inf", "INFINITY", "+Inf"] {
        assert_eq!(parse_float(text), Ok(f64::INFINITY), "{text}");
    }
    assert_eq!(parse_float("-inf"), Ok(f64::NEG_INFINITY));
}

#[test]
fn nan_takes_no_sign() {
    assert!(parse_float("NaN").unwrap().is_nan());
    assert!(parse_float("nan").unwrap().is_nan());
    assert_eq!(parse_float("-nan"), Err(ParseFloatError::Syntax));
    assert_eq!(parse_float("+NaN"), Err(ParseFloatError::Syntax));
}

#[test]
fn underscores_separate_digits_of_floats() {
    assert_eq!(parse_float("1_23.50_0_0e+1_2"), Ok(1.235e14));
    for text in ["-_123.5e+12", "1_.5", "1._5", "1_e5", "1e_5", "_1", "1_", "1__0"] {
        assert_eq!(parse_float(text), Err(ParseFloatError::Syntax), "{text}");
    }
}

#[test]
fn hexadecimal_floats_need_an_exponent() {
    for (text, value) in [
        ("0x1p-2", 0.25),
        ("0X1.8p1", 3.0),
        ("-0x.8p0", -0.5),
        ("0x1_0p4", 256.0),
        ("0x_1p0", 1.0),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1p-1074", f64::from_bits(1)),
        ("0x0p0", 0.0),
    ] {
        assert_eq!(parse_float(text), Ok(value), "{text}");
    }
    for text in ["0x10", "0x", "0xp1", "0x.p1", "0x1p", "0xgp1", "0x1p1.5"] {
        assert_eq!(parse_float(text), Err(ParseFloatError::Syntax), "{text}");
    }
}

#[test]
fn hexadecimal_floats_round_to_the_nearest_even() {
    for (text, value) in [
        // A tie between 2^53 and 2^53 + 2, then just above it.
        ("0x20000000000001p0", 9_007_199_254_740_992.0),
        ("0x20000000000001.8p0", 9_007_199_254_740_994.0),
        ("0x20000000000003p0", 9_007_199_254_740_996.0),
        // A digit far behind the point decides a tie.
        ("0x20000000000001.00000000000000001p0", 9_007_199_254_740_994.0),
        ("0x1.8p-1074", f64::from_bits(2)),
        ("0x1p-1075", 0.0),
        ("0x1.1p-1075", f64::from_bits(1)),
    ] {
        assert_eq!(parse_float(text), Ok(value), "{text}");
    }
}

#[test]
fn hexadecimal_floats_overflow() {
    assert_eq!(parse_float("0x1p1024"), Err(ParseFloatError::Range));
    assert_eq!(parse_float("0x1.fffffffffffff8p1023"), Err(ParseFloatError::Range));
    assert_eq!(parse_float("0x1p99999999999"), Err(ParseFloatError::Range));
    assert_eq!(parse_float("0x1p-99999999999"), Ok(0.0));
}

#[test]
fn what_is_not_a_number_is_refused() {
    for text in ["", "-", "+", ".", "e5", "1e", "1,5", "12a", " 1", "1 ", "١", "0b1", "infi"] {
        assert_eq!(parse_float(text), Err(ParseFloatError::Syntax), "{text}");
    }
}

#[test]
fn errors_of_floats_are_gos() {
    assert_eq!(ParseFloatError::Syntax.to_string(), "invalid syntax");
    assert_eq!(ParseFloatError::Range.to_string(), "value out of range");
}

#[test]
fn integers_have_the_base_of_their_prefix() {
    for (text, value) in
        [("42", 42), ("-42", -42), ("+42", 42), ("0x1F", 31), ("0X1f", 31), ("0b101", 5), ("0o17", 15), ("0755", 493)]
    {
        assert_eq!(parse_int(text), Some(value), "{text}");
    }
}

#[test]
fn underscores_separate_digits_of_integers() {
    for (text, value) in [("1_000", 1000), ("0x_1F", 31), ("0x1_F", 31), ("0_7", 7)] {
        assert_eq!(parse_int(text), Some(value), "{text}");
    }
    for text in ["_1", "1_", "1__0", "0x1_", "1_a"] {
        assert_eq!(parse_int(text), None, "{text}");
    }
}

#[test]
fn the_whole_range_of_integers_is_read() {
    assert_eq!(parse_int("9223372036854775807"), Some(i64::MAX));
    assert_eq!(parse_int("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(parse_int("9223372036854775808"), None);
}

#[test]
fn what_is_not_an_integer_is_refused() {
    for text in ["", "-", "0x", "089", "1.5", "1e3", "--1", "0x-1", "0b2", "abc"] {
        assert_eq!(parse_int(text), None, "{text}");
    }
}

#[test]
fn floats_have_an_exponent_when_they_are_small_or_large() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (999_999.0, "999999"),
        (1e6, "1e+06"),
        (1.5e300, "1.5e+300"),
        (-2.5e-7, "-2.5e-07"),
    ] {
        assert_eq!(GoFloat(value).to_string(), text);
    }
}

#[test]
fn floats_that_are_not_numbers_have_names() {
    assert_eq!(GoFloat(f64::NAN).to_string(), "NaN");
    assert_eq!(GoFloat(f64::INFINITY).to_string(), "+Inf");
    assert_eq!(GoFloat(f64::NEG_INFINITY).to_string(), "-Inf");
}

#[test]
fn general_form_keeps_significant_digits() {
    for (value, digits, text) in [
        (1234.5678, 4, "1235"),
        (12345.678, 4, "1.235e+04"),
        (0.00012346, 4, "0.0001235"),
        (0.000012345, 4, "1.234e-05"),
        (1.5, 4, "1.5"),
        (100.0, 4, "100"),
        (9.9996, 4, "10"),
        (0.0, 4, "0"),
        (f64::INFINITY, 4, "+Inf"),
        (2.0, 0, "2"),
        (0.123, 2, "0.12"),
        (123.0, 2, "1.2e+02"),
        (99.96, 2, "1e+02"),
    ] {
        assert_eq!(format_general(value, digits), text, "{value}");
    }
}

#[test]
fn fixed_and_exponential_form_keep_decimals() {
    assert_eq!(format_fixed(1.005, 2), "1.00");
    assert_eq!(format_fixed(f64::NAN, 2), "NaN");
    assert_eq!(format_exponential(1234.5, 2), "1.23e+03");
    assert_eq!(format_exponential(0.0, 1), "0.0e+00");
    assert_eq!(format_exponential(f64::NEG_INFINITY, 1), "-Inf");
}

#[test]
fn quotes_and_backslashes_are_escaped() {
    assert_eq!(GoQuoted(r#"a"b\c"#).to_string(), r#""a\"b\\c""#);
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(GoQuoted("\u{7}\u{8}\u{c}\n\r\t\u{b}").to_string(), r#""\a\b\f\n\r\t\v""#);
    assert_eq!(GoQuoted("\0\u{1f}\u{7f}").to_string(), r#""\x00\x1f\x7f""#);
}

#[test]
fn printable_characters_stay() {
    assert_eq!(GoQuoted("é世🦀 ").to_string(), "\"é世🦀 \"");
}

#[test]
fn unprintable_characters_are_escaped_by_number() {
    assert_eq!(GoQuoted("\u{a0}\u{feff}").to_string(), r#""\u00a0\ufeff""#);
}

#[test]
fn bytes_that_are_not_utf8_are_quoted_by_number() {
    assert_eq!(quote_bytes(b"a\xffb\n"), r#""a\xffb\n""#);
    assert_eq!(quote_bytes(b""), r#""""#);
}

#[test]
fn characters_are_quoted_in_single_quotes() {
    assert_eq!(go_char('a'), "'a'");
    assert_eq!(go_char('\''), r"'\''");
    assert_eq!(go_char('"'), "'\"'");
    assert_eq!(go_char('\n'), r"'\n'");
}

#[test]
fn characters_are_named_by_number() {
    assert_eq!(unicode_name('c'), "U+0063 'c'");
    assert_eq!(unicode_name('\''), "U+0027 '''");
    assert_eq!(unicode_name('\n'), "U+000A");
    assert_eq!(unicode_name('🦀'), "U+1F980 '🦀'");
}

#[test]
fn escape_sequences_are_unquoted() {
    for (literal, bytes) in [
        (r#""a\tb""#, &b"a\tb"[..]),
        (r#""\a\b\f\n\r\v""#, b"\x07\x08\x0c\n\r\x0b"),
        (r#""\101\x42""#, b"AB"),
        (r#""\xff""#, b"\xff"),
        (r#""é""#, "é".as_bytes()),
        (r#""\U0001f980""#, "🦀".as_bytes()),
        (r#"'\''"#, b"'"),
        (r#""""#, b""),
    ] {
        assert_eq!(unquote(literal), bytes, "{literal}");
    }
}

#[test]
fn raw_literals_are_taken_as_they_are() {
    assert_eq!(unquote(r"`a\n`"), br"a\n");
}

#[test]
fn broken_literals_do_not_panic() {
    for literal in ["", "\"", r#""\""#, r#""\x""#, r#""\u12""#, r#""\Uffffffff""#, "\"é\\"] {
        let _any_bytes = unquote(literal);
    }
}

proptest! {
    #[test]
    fn quoted_text_unquotes_to_itself(text in any::<String>()) {
        prop_assert_eq!(unquote(&GoQuoted(&text).to_string()), text.as_bytes());
    }

    #[test]
    fn quoted_bytes_unquote_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(unquote(&quote_bytes(&bytes)), bytes);
    }

    #[test]
    fn printed_floats_read_back(value in any::<f64>().prop_filter("a number", |v| !v.is_nan())) {
        prop_assert_eq!(parse_float(&GoFloat(value).to_string()).map(f64::to_bits), Ok(value.to_bits()));
    }

    #[test]
    fn hexadecimal_floats_agree_with_integers(number in any::<u64>(), exponent in -60i32..60) {
        let expected = number as f64 * 2f64.powi(exponent);
        prop_assert_eq!(parse_float(&format!("{number:#x}p{exponent}")), Ok(expected));
    }

    #[test]
    fn no_text_breaks_the_number_parsers(text in "[0-9a-fxpobeinE_.+-]{0,12}") {
        let _any_outcome = (parse_float(&text), parse_int(&text));
    }
}
