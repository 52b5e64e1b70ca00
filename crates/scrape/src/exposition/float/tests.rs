use super::*;

#[test]
fn values_are_read_as_go_does() {
    for (text, value) in [
        ("0", 0.0),
        ("123456789012345", 123_456_789_012_345.0),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        ("+Inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        (".5", 0.5),
        ("1.", 1.0),
        ("12345678901234567890", 12_345_678_901_234_567_890.0),
    ] {
        assert_eq!(parse_value(text), Ok(value), "{text}");
    }
}

#[test]
fn any_nan_becomes_the_ordinary_one() {
    assert_eq!(parse_value("nan").unwrap().to_bits(), NORMAL_NAN.to_bits());
}

#[test]
fn values_that_go_refuses_are_refused() {
    for bad in ["", "-", "1_000", "0x1p-2", "0x10", "1e400", "-nan", "12a", "1,5", "١"] {
        assert!(parse_value(bad).is_err(), "{bad}");
    }
}

#[test]
fn errors_quote_only_the_start_of_a_long_value() {
    let error = parse_value(&"x".repeat(1000)).unwrap_err();
    assert_eq!(error, format!("invalid number {:?}", "x".repeat(64)));
}

#[test]
fn timestamps_round_towards_zero() {
    assert_eq!(parse_seconds("1.2345"), Ok(1234));
    assert_eq!(parse_seconds("-1.2345"), Ok(-1234));
}

#[test]
fn timestamps_that_are_no_time_are_refused() {
    assert_eq!(parse_seconds("NaN"), Err("invalid timestamp \"NaN\"".into()));
}

#[test]
fn timestamps_out_of_range_are_the_last_one() {
    assert_eq!(parse_seconds("1e300"), Ok(i64::MAX));
    assert_eq!(parse_seconds("-12345678901234567890.123"), Ok(i64::MAX));
}
