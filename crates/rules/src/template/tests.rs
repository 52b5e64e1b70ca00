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

#[test]
fn data_and_control() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ $labels.instance }} of {{ $labels.job }}", "web-1.example.org:9100 of node"),
        ("{{ .Labels.job }} {{ $externalLabels.region }} {{ $externalURL }}", "node eu http://pharos.example.org/x"),
        ("[{{ $labels.missing }}]", "[]"),
        ("{{ $value }}", "1.5e+06"),
        ("{{ $value | humanize }}", "1.5M"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{ \"x\" -}}  b", "a xb"),
        ("{{ if gt $value 10.0 }}high{{ else if eq $value 1.0 }}one{{ else }}low{{ end }}", "high"),
        ("{{ if and (gt $value 1.0) (eq $labels.job \"node\") }}yes{{ end }}", "yes"),
        ("{{ if or false $labels.missing }}yes{{ else }}no{{ end }}", "no"),
        ("{{ with $labels.job }}<{{ . }}>{{ end }}{{ with $labels.none }}x{{ else }}none{{ end }}", "<node>none"),
        ("{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", "b=2;a=1;"),
        ("{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}{{ end }}", "ab"),
        ("{{ range $i, $s := query \"up\" }}{{ if $i }},{{ end }}{{ $s.Value }}{{ end }}", "2,1"),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ range query \"up\" }}{{ break }}{{ end }}.", "."),
        ("{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"instance\" }}", "2 b"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ define \"t\" }}({{ . }}){{ end }}{{ template \"t\" $labels.job }}", "(node)"),
        ("{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" (args 1 \"b\") }}", "1-b"),
        ("{{ $labels }}", "map[instance:web-1.example.org:9100 job:node]"),
        ("{{ len $labels }} {{ index $labels \"job\" }} {{ not true }}", "2 node false"),
    ] {
        assert_eq!(expand(text, 1.5e6), expected, "{text}");
    }
}

#[test]
fn functions() {
    for (text, expected) in [
        (
            "{{ humanize 0.0 }} {{ humanize 1234567.0 }} {{ humanize .00012 }} {{ humanize -1500.0 }}",
            "0 1.235M 120u -1.5k",
        ),
        ("{{ humanize1024 1048576.0 }} {{ humanize1024 0.5 }}", "1Mi 0.5"),
        (
            "{{ humanizeDuration 0.0 }} {{ humanizeDuration 3725.0 }} {{ humanizeDuration 90061.5 }}",
            "0s 1h 2m 5s 1d 1h 1m 1s",
        ),
        (
            "{{ humanizeDuration 0.025 }} {{ humanizeDuration 1.2345678 }} {{ humanizeDuration -61.0 }}",
            "25ms 1.235s -1m 1s",
        ),
        ("{{ humanizePercentage 0.12345 }} {{ \"0.5\" | humanizePercentage }}", "12.35% 50%"),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        (
            "{{ printf \"%.2f|%5d|%-5s|%q|%05.1f|%x|%v%%\" 3.14159 42 \"ab\" \"q\" 2.5 255 true }}",
            "3.14|   42|ab   |\"q\"|002.5|ff|true%",
        ),
        (
            "{{ printf \"%d\" 1.5 }} {{ printf \"%s\" }} {{ printf \"x\" 1 }}",
            "%!d(float64=1.5) %!s(MISSING) x%!(EXTRA int=1)",
        ),
        ("{{ title \"aa bb\" }} {{ toUpper \"aa\" }} {{ \"BB\" | toLower }}", "Aa Bb AA bb"),
        ("{{ match \"^a\" \"abc\" }} {{ reReplaceAll \"(b)\" \"<$1>\" \"abc\" }}", "true a<b>c"),
        (
            "{{ stripPort \"host:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripDomain $labels.instance }} {{ stripDomain \"10.0.0.1:80\" }}",
            "host ::1 web-1:9100 10.0.0.1:80",
        ),
        (
            "{{ graphLink \"up == 0\" }} {{ tableLink \"a+b\" }}",
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=a%2Bb&g0.tab=1",
        ),
        (
            "{{ parseDuration \"1h2m\" }} {{ toDuration 90.0 }} {{ toTime 0.0 }}",
            "3720 1m30s 1970-01-01 00:00:00 +0000 UTC",
        ),
        ("{{ now }} {{ externalURL }} {{ pathPrefix }}", "1.7000000005e+09 http://pharos.example.org/x /x"),
        (
            "{{ print 1 2 \"a\" nil }} {{ js \"it's\" }} {{ html \"<a>\" }} {{ urlQueryEscape \"a b\" }}",
            "1 2a<nil> it\\'s &lt;a&gt; a+b",
        ),
        ("{{ slice \"abcd\" 1 3 }} {{ lt 1 2 }} {{ ne \"a\" \"b\" }} {{ eq 1 2 1 }}", "bc true true true"),
    ] {
        assert_eq!(expand(text, 0.0), expected, "{text}");
    }
}

#[test]
fn mistakes_have_their_place() {
    let lead = super::SHORT_NAMES.len();
    for (text, expected) in [
        (
            "{{ nope }}",
            "error parsing template __alert_A: template: __alert_A:1: function \"nope\" not defined".to_string(),
        ),
        ("{{ $nope }}", "error parsing template __alert_A: template: __alert_A:1: undefined variable \"$nope\"".into()),
        ("a\n{{ if true }}", "error parsing template __alert_A: template: __alert_A:2: unexpected EOF".into()),
        ("{{ end }}", "error parsing template __alert_A: template: __alert_A:1: unexpected {{end}}".into()),
        (
            "{{ query \"none\" | first }}",
            format!(
                "error executing template __alert_A: template: __alert_A:1:{}: executing \"__alert_A\" at <first>: error calling first: first() called on vector with no elements",
                lead + 18
            ),
        ),
    ] {
        assert_eq!(expand(text, 0.0), expected, "{text}");
    }
    assert!(expand("{{ .Nope }}", 0.0).contains("can't evaluate field Nope in type struct"));
    assert!(expand("{{ query \"bad\" }}", 0.0).contains("error calling query: no such query"));
    assert!(expand("{{ eq 1 \"a\" }}", 0.0).contains("incompatible types for comparison: int and string"));
}

#[test]
fn hostile_templates_end() {
    let recursion = "{{ define \"t\" }}{{ template \"t\" . }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}";
    assert!(expand(recursion, 0.0).contains("maximum template depth"));
    let nested = "{{ if true }}".repeat(5000);
    assert!(expand(&nested, 0.0).contains("nested deeper"));
    let parens = format!("{{{{ {} }}}}", "(".repeat(5000));
    assert!(expand(&parens, 0.0).contains("nested deeper"));
    let much = format!("{{{{ range 900000 }}}}{}{{{{ end }}}}", "x".repeat(1000));
    assert!(expand(&much, 0.0).contains("bytes of output"));
    assert!(expand("{{ range 999999 }}{{ range 999999 }}{{ end }}{{ end }}", 0.0).contains("steps"));
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "(\\{\\{|\\}\\}|-|if|else|end|range|with|define|template|\\$x|:=|=|\\.|\\||\\(|\\)|\"|`| |[a-z0-9.+]|\\n|/\\*|\\*/|é){0,30}") {
        let _any_outcome = expand(&text, 1.0);
    }
}
