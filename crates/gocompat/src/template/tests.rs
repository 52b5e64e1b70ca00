use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// `shout` upper-cases a string, `fail` always fails.
struct TestFunctions;

impl Functions for TestFunctions {
    fn arity(&self, name: &str) -> Option<Arity> {
        ["shout", "fail"].contains(&name).then_some(Arity::Exactly(1))
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        match (name, args) {
            ("shout", [Value::Text(text)]) => Ok(Value::text(text.to_uppercase())),
            ("shout", [other]) => Err(CallError::wrong_type("string", other)),
            _ => Err(CallError::Failed("it failed".into())),
        }
    }
}

/// Data with a string, a number, a map and a list.
fn data() -> Value {
    let texts = BTreeMap::from([("a".to_string(), "1".to_string()), ("b".to_string(), "2".to_string())]);
    let items: Arc<[Value]> = ["x", "y", "z"].map(Value::text).into();
    Value::Record(Arc::new(Record {
        type_name: "main.Data",
        fields: vec![
            ("Name", Value::text("pharos")),
            ("Number", Value::Float(1.5)),
            ("Map", Value::Texts(Arc::new(texts))),
            ("List", Value::List(List { type_name: "[]string", items })),
            ("Took", Value::Duration(1_500_000_000)),
        ],
    }))
}

/// The output of a template, or its error.
fn run(text: &str) -> String {
    let is_function = |name: &str| TestFunctions.arity(name).is_some();
    let template = match Template::parse("t", text.to_string(), &is_function) {
        Ok(template) => template,
        Err(error) => return error.to_string(),
    };
    template.execute(&data(), &TestFunctions).unwrap_or_else(|error| error.to_string())
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(run(text), *expected, "{text}");
    }
}

#[test]
fn text_outside_of_actions_stays() {
    check(&[("", ""), ("plain {text}", "plain {text}"), ("a } b", "a } b")]);
}

#[test]
fn fields_and_keys_are_looked_up() {
    check(&[("{{ .Name }}", "pharos"), ("{{ .Map.a }}", "1"), ("{{ $.Map.b }}", "2"), ("[{{ .Map.missing }}]", "[]")]);
}

#[test]
fn a_field_that_a_struct_lacks_is_an_error() {
    check(&[(
        "{{ .Nope }}",
        "template: t:1:3: executing \"t\" at <.Nope>: can't evaluate field Nope in type main.Data",
    )]);
}

#[test]
fn values_print_as_go_prints_them() {
    check(&[
        ("{{ .Number }} {{ 7 }} {{ true }} {{ .Took }}", "1.5 7 true 1.5s"),
        ("{{ .Map }} {{ .List }}", "map[a:1 b:2] [x y z]"),
        ("{{ 1000000.0 }}", "1e+06"),
    ]);
}

#[test]
fn trim_markers_remove_space() {
    check(&[("a {{- \"x\" -}} b", "axb"), ("a {{- 1 }} b", "a1 b"), ("a\n\t{{ 1 -}}\n b", "a\n\t1b")]);
}

#[test]
fn comments_leave_no_trace() {
    check(&[("a{{/* gone */}}b", "ab"), ("a {{- /* gone */ -}} b", "ab")]);
}

#[test]
fn number_literals_have_gos_syntax() {
    check(&[
        ("{{ 0x1F }} {{ 0755 }} {{ 0b11 }} {{ 1_000 }}", "31 493 3 1000"),
        ("{{ -1 }} {{ +2 }} {{ 1e3 }} {{ .5 }} {{ 0x1p-2 }}", "-1 2 1000 0.5 0.25"),
    ]);
}

#[test]
fn string_literals_have_gos_syntax() {
    check(&[
        (r#"{{ "a\tb\n\x41é" }}"#, "a\tb\nAé"),
        ("{{ `raw \\n` }}", "raw \\n"),
        ("{{ 'a' }}", "97"),
        ("{{ \"open }}", "template: t:1: unterminated quoted string"),
    ]);
}

#[test]
fn conditions_choose_a_branch() {
    check(&[
        ("{{ if .Name }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .Map.missing }}yes{{ else }}no{{ end }}", "no"),
        ("{{ if false }}a{{ else if eq 1 1 }}b{{ else }}c{{ end }}", "b"),
    ]);
}

#[test]
fn empty_and_zero_values_are_false() {
    for value in ["false", "0", "0.0", "\"\"", ".Map.missing"] {
        assert_eq!(run(&format!("{{{{ if {value} }}}}true{{{{ else }}}}false{{{{ end }}}}")), "false", "{value}");
    }
}

#[test]
fn with_moves_the_dot() {
    check(&[
        ("{{ with .Map.a }}<{{ . }}>{{ end }}", "<1>"),
        ("{{ with .Map.missing }}x{{ else }}{{ .Name }}{{ end }}", "pharos"),
        ("{{ with .Map }}{{ $.Name }}{{ end }}", "pharos"),
    ]);
}

#[test]
fn range_walks_lists_maps_and_numbers() {
    check(&[
        ("{{ range .List }}{{ . }},{{ end }}", "x,y,z,"),
        ("{{ range $i, $v := .List }}{{ $i }}={{ $v }} {{ end }}", "0=x 1=y 2=z "),
        ("{{ range $k, $v := .Map }}{{ $k }}={{ $v }} {{ end }}", "a=1 b=2 "),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range 0 }}x{{ else }}none{{ end }}", "none"),
    ]);
}

#[test]
fn range_over_a_string_is_an_error() {
    assert!(run("{{ range .Name }}{{ end }}").ends_with("range can't iterate over pharos"));
}

#[test]
fn loops_break_and_continue() {
    check(&[
        ("{{ range .List }}{{ if eq . \"y\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "x"),
        ("{{ range .List }}{{ if eq . \"y\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "xz"),
        ("{{ break }}", "template: t:1: {{break}} outside {{range}}"),
    ]);
}

#[test]
fn variables_are_declared_and_assigned() {
    check(&[
        ("{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}", "12"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
    ]);
}

#[test]
fn variables_must_be_declared() {
    check(&[
        ("{{ $x }}", "template: t:1: undefined variable \"$x\""),
        ("{{ $x = 1 }}", "template: t:1: undefined variable \"$x\""),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "template: t:1: undefined variable \"$x\""),
    ]);
}

#[test]
fn named_templates_are_called_with_their_argument() {
    check(&[
        ("{{ define \"n\" }}({{ . }}){{ end }}{{ template \"n\" .Name }}", "(pharos)"),
        ("{{ block \"n\" .Map.a }}[{{ . }}]{{ end }}{{ template \"n\" 2 }}", "[1][2]"),
        (
            "{{ template \"none\" }}",
            "template: t:1:12: executing \"t\" at <{{template \"none\"}}>: template \"none\" not defined",
        ),
    ]);
}

#[test]
fn named_templates_do_not_see_variables_of_their_caller() {
    check(&[(
        "{{ $x := 1 }}{{ define \"n\" }}{{ $x }}{{ end }}{{ template \"n\" }}",
        "template: t:1: undefined variable \"$x\"",
    )]);
}

#[test]
fn pipelines_pass_the_value_as_the_last_argument() {
    check(&[
        ("{{ .Name | shout }}", "PHAROS"),
        ("{{ \"a\" | printf \"%s-%s\" \"b\" }}", "b-a"),
        ("{{ (printf \"%d\" 7) | len }}", "1"),
    ]);
}

#[test]
fn a_literal_cannot_be_a_later_stage_of_a_pipeline() {
    check(&[("{{ 1 | 2 }}", "template: t:1: non executable command in pipeline stage 2")]);
}

#[test]
fn comparisons_compare_values_of_one_type() {
    check(&[
        ("{{ eq 1 2 1 }} {{ ne \"a\" \"b\" }}", "true true"),
        ("{{ lt 1 2 }} {{ le 2 2 }} {{ gt \"b\" \"a\" }} {{ ge 1.5 2.5 }}", "true true true false"),
        ("{{ eq true false }} {{ eq nil nil }}", "false true"),
    ]);
    assert!(run("{{ eq 1 \"a\" }}").ends_with("error calling eq: incompatible types for comparison: int and string"));
    assert!(run("{{ lt true false }}").ends_with("error calling lt: invalid type for comparison"));
}

#[test]
fn and_and_or_stop_at_the_first_value_that_decides() {
    check(&[
        ("{{ and 1 0 (fail 1) }} {{ or 0 2 (fail 1) }}", "0 2"),
        ("{{ and 1 2 }} {{ or 0 \"\" }}", "2 "),
        ("{{ not 1 }} {{ not .Map.missing }}", "false true"),
    ]);
}

#[test]
fn index_reaches_into_lists_maps_and_strings() {
    check(&[("{{ index .List 1 }} {{ index .Map \"b\" }} {{ index \"abc\" 0 }}", "y 2 97")]);
    assert!(run("{{ index .List 3 }}").ends_with("error calling index: index out of range: 3"));
    assert!(run("{{ index .List \"a\" }}").ends_with("cannot index slice/array with type string"));
    assert!(run("{{ index nil 1 }}").ends_with("index of untyped nil"));
}

#[test]
fn slices_are_cut_from_lists_and_strings() {
    check(&[("{{ slice .List 1 }} {{ slice .List 0 1 }} {{ slice \"abcd\" 1 3 }}", "[y z] [x] bc")]);
    assert!(run("{{ slice .List 2 1 }}").ends_with("invalid slice index: 2 > 1"));
    assert!(run("{{ slice .List 9 }}").ends_with("index out of range: 9"));
}

#[test]
fn lengths_are_bytes_or_elements() {
    check(&[("{{ len .List }} {{ len .Map }} {{ len \"é\" }}", "3 2 2")]);
    assert!(run("{{ len 1 }}").ends_with("error calling len: len of type int"));
}

#[test]
fn print_puts_spaces_between_operands_that_are_not_strings() {
    check(&[
        ("{{ print 1 2 \"a\" \"b\" nil }}", "1 2ab<nil>"),
        ("{{ println 1 \"a\" }}", "1 a\n"),
        ("{{ print }}{{ println }}", "\n"),
    ]);
}

#[test]
fn printf_formats_integers() {
    check(&[("{{ printf \"%d|%5d|%-5d|%05d|%+d|% d\" 42 42 42 42 42 42 }}", "42|   42|42   |00042|+42| 42")]);
    check(&[("{{ printf \"%x %X %o %b %c %U\" 255 255 8 5 97 97 }}", "ff FF 10 101 a U+0061")]);
}

#[test]
fn printf_formats_floats() {
    check(&[(
        "{{ printf \"%.2f %e %g %v %07.2f\" 3.14159 1234.5 1e6 1.5 -2.5 }}",
        "3.14 1.234500e+03 1e+06 1.5 -002.50",
    )]);
}

#[test]
fn printf_formats_strings_and_truth_values() {
    check(&[(
        "{{ printf \"%s|%5s|%-5s|%.2s|%q|%x|%t|%T\" \"ab\" \"ab\" \"ab\" \"abc\" \"q\" \"az\" true 1 }}",
        "ab|   ab|ab   |ab|\"q\"|617a|true|int",
    )]);
}

#[test]
fn printf_names_mistakes_in_the_output() {
    check(&[
        ("{{ printf \"%d\" \"a\" }}", "%!d(string=a)"),
        ("{{ printf \"%s\" }}", "%!s(MISSING)"),
        ("{{ printf \"x\" 1 }}", "x%!(EXTRA int=1)"),
        ("{{ printf \"100%\" }}", "100%!(NOVERB)"),
        ("{{ printf \"%%\" }}", "%"),
    ]);
}

#[test]
fn printf_limits_padding() {
    assert_eq!(run("{{ printf \"%999999999d\" 1 }}").len(), 1000);
}

#[test]
fn escapes_suit_their_place() {
    check(&[
        ("{{ html \"<a href='x'>&\" }}", "&lt;a href=&#39;x&#39;&gt;&amp;"),
        ("{{ js \"it's <b>\" }}", "it\\'s \\u003Cb\\u003E"),
        ("{{ urlquery \"a b/ü\" }}", "a+b%2F%C3%BC"),
    ]);
}

#[test]
fn functions_of_the_program_are_called() {
    check(&[("{{ shout \"a\" }}", "A")]);
    assert!(run("{{ fail 1 }}").ends_with("at <fail 1>: error calling fail: it failed"));
    assert!(run("{{ shout 1 }}").ends_with("at <1>: expected string; found 1"));
}

#[test]
fn the_number_of_arguments_is_checked() {
    assert!(run("{{ shout }}").ends_with("wrong number of args for shout: want 1 got 0"));
    assert!(run("{{ lt 1 }}").ends_with("wrong number of args for lt: want 2 got 1"));
    assert!(run("{{ index }}").ends_with("wrong number of args for index: want at least 1 got 0"));
}

#[test]
fn syntax_errors_name_their_line() {
    check(&[
        ("\n\n{{ nope }}", "template: t:3: function \"nope\" not defined"),
        ("{{ if true }}", "template: t:1: unexpected EOF"),
        ("{{ end }}", "template: t:1: unexpected {{end}}"),
        ("{{ }}", "template: t:1: missing value for command"),
        ("{{ 1 ", "template: t:1: unclosed action"),
        ("{{/* open", "template: t:1: unclosed comment"),
        ("{{ 12x }}", "template: t:1: bad number syntax: \"12x\""),
    ]);
}

#[test]
fn runtime_errors_name_line_and_column() {
    check(&[("a\nbc{{ fail 1 }}", "template: t:2:5: executing \"t\" at <fail 1>: error calling fail: it failed")]);
}

#[test]
fn arguments_need_a_function() {
    assert!(run("{{ .Name 1 }}").ends_with("Name has arguments but cannot be invoked as function"));
    assert!(run("{{ .Map.a 1 }}").ends_with("a is not a method but has arguments"));
    assert!(run("{{ nil }}").ends_with("nil is not a command"));
}

#[test]
fn nesting_is_bounded() {
    assert!(run(&"{{ if true }}".repeat(5000)).contains("nested deeper"));
    assert!(run(&format!("{{{{ {} }}}}", "(".repeat(5000))).contains("nested deeper"));
}

#[test]
fn recursion_is_bounded() {
    let recursion = "{{ define \"n\" }}{{ template \"n\" . }}{{ template \"n\" . }}{{ end }}{{ template \"n\" . }}";
    assert!(run(recursion).contains("exceeded maximum template depth (100)"));
}

#[test]
fn output_is_bounded() {
    let endless = format!("{{{{ range 900000 }}}}{}{{{{ end }}}}", "x".repeat(1000));
    assert!(run(&endless).contains("bytes of output"));
}

#[test]
fn steps_are_bounded() {
    assert!(run("{{ range 999999 }}{{ range 999999 }}{{ end }}{{ end }}").contains("more than 1000000 steps"));
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "(\\{\\{|\\}\\}|-|if|else|end|range|with|define|template|\\$x|:=|=|\\.|\\||\\(|\\)|\"|`| |[a-z0-9.+]|\\n|/\\*|\\*/|é){0,30}") {
        let _any_outcome = run(&text);
    }
}
