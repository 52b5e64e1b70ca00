use super::*;

#[test]
fn markup_is_escaped_as_go_escapes_it() {
    let text = payload(&"<a href=\"x\">&\u{2028}ü\n").unwrap();
    assert_eq!(text, "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\u2028ü\\n\"\n");
}

#[test]
fn whole_numbers_have_no_fraction() {
    assert_eq!(to_string(&1e6).unwrap(), "1000000");
    assert_eq!(to_string(&0.5).unwrap(), "0.5");
}
