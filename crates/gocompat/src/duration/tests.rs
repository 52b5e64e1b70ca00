use proptest::prelude::*;

use super::*;

#[test]
fn durations_add_up_their_units() {
    for (text, ms) in [
        ("0s", 0),
        ("324ms", 324),
        ("3s", 3000),
        ("1h30m", 5_400_000),
        ("4d1h", 349_200_000),
        ("3w2d1h", 1_990_800_000),
        ("10y", 315_360_000_000),
        ("1y2w3d4h5m6s7ms", 33_019_506_007),
    ] {
        assert_eq!(parse_duration(text), Ok(ms), "{text}");
    }
}

#[test]
fn only_zero_needs_no_unit() {
    assert_eq!(parse_duration("0"), Ok(0));
    assert_eq!(parse_duration("1"), Err("not a valid duration string: \"1\"".into()));
    assert_eq!(parse_duration("1h30"), Err("not a valid duration string: \"1h30\"".into()));
}

#[test]
fn units_fall_and_occur_once() {
    for text in ["1m1h", "1y1m1d", "1s1s"] {
        assert_eq!(parse_duration(text), Err(format!("not a valid duration string: {text:?}")));
    }
}

#[test]
fn an_unknown_unit_is_named() {
    assert_eq!(parse_duration("5hs"), Err("unknown unit \"hs\" in duration \"5hs\"".into()));
    assert_eq!(parse_duration("0b"), Err("unknown unit \"b\" in duration \"0b\"".into()));
}

#[test]
fn durations_are_whole_and_positive() {
    for text in ["-1w", "1.5d", "d", " 1s", "99999999999999999999s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    assert_eq!(parse_duration(""), Err("empty duration string".into()));
}

#[test]
fn durations_end_after_292_years() {
    assert_eq!(parse_duration("292y"), Ok(292 * 365 * 86_400_000));
    assert_eq!(parse_duration("293y"), Err("duration out of range".into()));
    assert_eq!(parse_duration("1000000000000000000w"), Err("duration out of range".into()));
}

#[test]
fn years_and_weeks_are_printed_only_when_they_divide() {
    for (ms, text) in [
        (0, "0s"),
        (5_400_000, "1h30m"),
        (90_061_001, "1d1h1m1s1ms"),
        (604_800_000, "1w"),
        (691_200_000, "8d"),
        (31_536_000_000, "1y"),
    ] {
        assert_eq!(format_duration(ms), text);
    }
}

#[test]
fn negative_durations_have_a_sign() {
    assert_eq!(format_duration(-60_000), "-1m");
    assert_eq!(format_duration(i64::MIN), "-106751991167d7h12m55s808ms");
}

#[test]
fn go_prints_subsecond_durations_in_one_unit() {
    for (ns, text) in [(0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (250_000_000, "250ms"), (-2_000_000, "-2ms")] {
        assert_eq!(go_duration(ns), text);
    }
}

#[test]
fn go_prints_hours_minutes_and_seconds() {
    for (ns, text) in [
        (1_000_000_000, "1s"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m0s"),
        (3_723_500_000_000, "1h2m3.5s"),
        (-90_000_000_000, "-1m30s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ] {
        assert_eq!(go_duration(ns), text);
    }
}

proptest! {
    #[test]
    fn printed_durations_parse_back(ms in 0i64..9_000_000_000_000) {
        prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
    }

    #[test]
    fn no_text_breaks_the_duration_parser(text in "[0-9a-z.-]{0,12}") {
        let _any_outcome = parse_duration(&text);
    }
}
