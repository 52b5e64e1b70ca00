use proptest::prelude::*;

use super::*;

fn expand(text: &str, value: f64) -> String {
    let labels = Labels::from_pairs([("instance", "web-1.example.org:9100"), ("job", "node")]);
    let external = Arc::new(BTreeMap::from([("region".to_string(), "eu".to_string())]));
    let data = alert_data(&labels, external, "http://pharos.example.org/x", &SampleValue::Float(value));
    let query = |text: &str| match text {
        "up" => Ok([("b", 2.0), ("a", 1.0)]
            .map(|(name, v)| VectorSample {
                labels: Labels::from_pairs([("instance", name)]),
                t: 0,
                value: SampleValue::Float(v),
            })
            .to_vec()),
        "none" => Ok(Vec::new()),
        _ => Err("no such query".into()),
    };
    let around =
        TemplateContext { t_ms: 1_700_000_000_500, external_url: "http://pharos.example.org/x", query: &query };
    let template = match Template::of_alert("A", text) {
        Ok(template) => template,
        Err(error) => return error.to_string(),
    };
    template.expand(&data, &around).unwrap_or_else(|error| error.to_string())
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(expand(text, 1.5e6), *expected, "{text}");
    }
}

#[test]
fn data_has_short_names() {
    check(&[
        ("{{ $labels.instance }} of {{ $labels.job }}", "web-1.example.org:9100 of node"),
        ("{{ .Labels.job }} {{ $externalLabels.region }} {{ $externalURL }}", "node eu http://pharos.example.org/x"),
        ("{{ $value }} {{ .Value }}", "1.5e+06 1.5e+06"),
        ("[{{ $labels.missing }}]", "[]"),
        ("{{ $labels }}", "map[instance:web-1.example.org:9100 job:node]"),
    ]);
}

#[test]
fn conditions_look_at_labels_and_the_value() {
    check(&[
        ("{{ if gt $value 10.0 }}high{{ else if eq $value 1.0 }}one{{ else }}low{{ end }}", "high"),
        ("{{ if and (gt $value 1.0) (eq $labels.job \"node\") }}yes{{ end }}", "yes"),
        ("{{ if or false $labels.missing }}yes{{ else }}no{{ end }}", "no"),
        ("{{ with $labels.job }}<{{ . }}>{{ end }}{{ with $labels.none }}x{{ else }}none{{ end }}", "<node>none"),
    ]);
}

#[test]
fn queries_give_lists_of_samples() {
    check(&[
        ("{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", "b=2;a=1;"),
        ("{{ range $i, $s := query \"up\" }}{{ if $i }},{{ end }}{{ $s.Value }}{{ end }}", "2,1"),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ query \"up\" | len }}", "2"),
    ]);
    assert!(expand("{{ query \"bad\" }}", 0.0).contains("error calling query: no such query"));
}

#[test]
fn samples_are_taken_apart() {
    check(&[
        ("{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"instance\" }}", "2 b"),
        ("[{{ query \"up\" | first | strvalue }}]", "[]"),
        ("[{{ query \"up\" | first | label \"none\" }}]", "[]"),
    ]);
    assert!(expand("{{ value 1 }}", 0.0).contains("can't handle 1 for arg of type *template.sample"));
}

#[test]
fn samples_are_sorted_by_a_label() {
    check(&[("{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}{{ end }}", "ab")]);
    let error = expand("{{ sortByLabel \"a\" 1 }}", 0.0);
    assert!(error.contains("can't handle 1 for arg of type template.queryResult"), "{error}");
}

#[test]
fn the_first_of_no_samples_is_an_error() {
    let lead = super::SHORT_NAMES.len();
    assert_eq!(
        expand("{{ query \"none\" | first }}", 0.0),
        format!(
            "error executing template __alert_A: template: __alert_A:1:{}: executing \"__alert_A\" at <first>: error \
             calling first: first() called on vector with no elements",
            lead + 18
        )
    );
}

#[test]
fn args_name_the_arguments_of_a_template() {
    check(&[
        ("{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" (args 1 \"b\") }}", "1-b"),
        ("{{ args }}", "map[]"),
    ]);
}

#[test]
fn numbers_are_humanized_with_decimal_prefixes() {
    check(&[
        (
            "{{ humanize 0.0 }} {{ humanize 1234567.0 }} {{ humanize .00012 }} {{ humanize -1500.0 }}",
            "0 1.235M 120u -1.5k",
        ),
        ("{{ $value | humanize }} {{ humanize 1 }} {{ humanize \"2e9\" }}", "1.5M 1 2G"),
        ("{{ humanize \"Inf\" }} {{ humanize \"NaN\" }}", "+Inf NaN"),
    ]);
}

#[test]
fn numbers_are_humanized_with_binary_prefixes() {
    check(&[("{{ humanize1024 1048576.0 }} {{ humanize1024 0.5 }} {{ humanize1024 -2048.0 }}", "1Mi 0.5 -2ki")]);
}

#[test]
fn durations_are_humanized() {
    check(&[
        (
            "{{ humanizeDuration 0.0 }} {{ humanizeDuration 3725.0 }} {{ humanizeDuration 90061.5 }}",
            "0s 1h 2m 5s 1d 1h 1m 1s",
        ),
        (
            "{{ humanizeDuration 0.025 }} {{ humanizeDuration 1.2345678 }} {{ humanizeDuration -61.0 }}",
            "25ms 1.235s -1m 1s",
        ),
    ]);
}

#[test]
fn percentages_and_timestamps_are_humanized() {
    check(&[
        ("{{ humanizePercentage 0.12345 }} {{ \"0.5\" | humanizePercentage }}", "12.35% 50%"),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ humanizeTimestamp \"+Inf\" }}", "+Inf"),
    ]);
    assert!(expand("{{ humanizeTimestamp 1e30 }}", 0.0).contains("cannot be represented as a nanoseconds timestamp"));
}

#[test]
fn text_that_is_not_a_number_is_not_humanized() {
    for (text, reason) in [
        ("{{ humanize \"a\" }}", "error calling humanize: strconv.ParseFloat: parsing \"a\": invalid syntax"),
        ("{{ humanize \"0x10\" }}", "error calling humanize: strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
        ("{{ humanize true }}", "error calling humanize: can't convert bool to float"),
    ] {
        assert!(expand(text, 0.0).ends_with(reason), "{text}");
    }
}

#[test]
fn durations_and_times_are_converted() {
    check(&[
        ("{{ parseDuration \"1h2m\" }} {{ parseDuration \"-5s\" }}", "3720 -5"),
        ("{{ toDuration 90.0 }} {{ toTime 0.0 }}", "1m30s 1970-01-01 00:00:00 +0000 UTC"),
        ("{{ humanize (toDuration 1500.0) }}", "1.5k"),
    ]);
    assert!(expand("{{ parseDuration \"1x\" }}", 0.0).contains("unknown unit \"x\" in duration \"1x\""));
    assert!(expand("{{ (toTime 0.0).Year }}", 0.0).contains("can't evaluate field Year in type *time.Time"));
}

#[test]
fn the_case_of_text_changes() {
    check(&[("{{ title \"aa bb\" }} {{ toUpper \"aa\" }} {{ \"BB\" | toLower }}", "Aa Bb AA bb")]);
}

#[test]
fn regular_expressions_are_those_of_go() {
    check(&[
        ("{{ match \"^a\" \"abc\" }} {{ match \"b$\" \"abc\" }}", "true false"),
        ("{{ match \"\\\\d\" \"٣\" }}", "false"),
        ("{{ reReplaceAll \"(b)\" \"<$1>\" \"abcb\" }} {{ reReplaceAll \"x*\" \"-\" \"ab\" }}", "a<b>c<b> -a-b-"),
    ]);
    let error = expand("{{ match \"(\" \"a\" }}", 0.0);
    assert!(error.ends_with("error calling match: error parsing regexp: missing closing ): `(`"), "{error}");
}

#[test]
fn ports_and_domains_are_stripped() {
    check(&[
        ("{{ stripPort \"host:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"host\" }}", "host ::1 host"),
        ("{{ stripDomain $labels.instance }} {{ stripDomain \"a.b\" }}", "web-1:9100 a"),
        ("{{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"10.0.0.1\" }}", "10.0.0.1:80 10.0.0.1"),
    ]);
}

#[test]
fn links_lead_to_the_expression() {
    check(&[
        ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("{{ tableLink \"a+b\" }}", "/graph?g0.expr=a%2Bb&g0.tab=1"),
        ("{{ urlQueryEscape \"a b\" }} {{ safeHtml \"<b>\" }}", "a+b <b>"),
    ]);
}

#[test]
fn the_evaluation_is_known() {
    check(&[("{{ now }} {{ externalURL }} {{ pathPrefix }}", "1.7000000005e+09 http://pharos.example.org/x /x")]);
}

#[test]
fn functions_of_text_refuse_other_types() {
    assert!(expand("{{ title 1 }}", 0.0).ends_with("at <1>: expected string; found 1"));
}

#[test]
fn fields_of_histograms_are_known() {
    let histogram = pharos_model::Histogram { count: 3.0, sum: 1.5, zero_count: 2.0, schema: -1, ..Default::default() };
    let value = sample_value(&SampleValue::Histogram(Arc::new(histogram)));
    for (field, expected) in [("Count", "3"), ("Sum", "1.5"), ("ZeroCount", "2"), ("Schema", "-1")] {
        assert_eq!(value.field(field).unwrap().to_string(), expected);
    }
    assert_eq!(value.field("Nope").unwrap_err(), "can't evaluate field Nope in type *histogram.FloatHistogram");
    assert!(value.to_string().starts_with("{count:3, sum:1.5"));
}

#[test]
fn errors_name_the_alert_and_the_line() {
    for (text, reason) in [
        ("{{ nope }}", "1: function \"nope\" not defined"),
        ("{{ $nope }}", "1: undefined variable \"$nope\""),
        ("a\n{{ if true }}", "2: unexpected EOF"),
    ] {
        assert_eq!(expand(text, 0.0), format!("error parsing template __alert_A: template: __alert_A:{reason}"));
    }
    assert!(expand("{{ .Nope }}", 0.0).contains("can't evaluate field Nope in type struct"));
}

#[test]
fn hostile_templates_end() {
    let recursion = "{{ define \"t\" }}{{ template \"t\" . }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}";
    assert!(expand(recursion, 0.0).contains("maximum template depth"));
    assert!(expand(&"{{ if true }}".repeat(5000), 0.0).contains("nested deeper"));
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "(\\{\\{|\\}\\}|-|if|else|end|range|with|define|template|\\$x|:=|=|\\.|\\||\\(|\\)|\"|`| |[a-z0-9.+]|\\n|/\\*|\\*/|é){0,30}") {
        let _any_outcome = expand(&text, 1.0);
    }
}
