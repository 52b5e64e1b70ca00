use super::*;
use crate::receivers::tests::notification;

fn render_with(templates: &Templates, template: &str) -> String {
    let notification = notification();
    let data = Data::new(&notification, &notification.alerts, templates.external_url());
    let renderer = Renderer::new(templates, data, notification.now);
    renderer.text(template).unwrap_or_else(|error| error.message)
}

fn render(template: &str) -> String {
    render_with(&Templates::load(&[], "http://am.example").unwrap(), template)
}

#[test]
fn the_subject_counts_firing_alerts_and_lists_labels() {
    assert_eq!(render(r#"{{ template "__subject" . }}"#), "[FIRING:1] Down (api)");
}

#[test]
fn the_default_texts_list_alerts() {
    let expected = "It is <down>\nAlerts Firing:\nLabels:\n - alertname = Down\n - instance = a\n - job = api\nAnnotations:\n - \
                    summary = It is <down>\nSource: http://prom/graph?g0=1\n\nAlerts Resolved:\nLabels:\n - alertname = Down\n - \
                    instance = b\n - job = api\nAnnotations:\n - summary = It is <down>\nSource: \n";
    assert_eq!(render(r#"{{ template "opsgenie.default.description" . }}"#), expected);
}

#[test]
fn the_priority_follows_the_severity() {
    assert_eq!(render(r#"[{{ template "jira.default.priority" . }}]"#), "[]");
}

#[test]
fn functions_work_as_in_alertmanager() {
    let cases = [
        ("{{ \"ab cd's\" | title }} {{ \"ÄB\" | toLower }} {{ \" x \" | trimSpace }}", "Ab Cd's äb x"),
        ("{{ match \"^a.c$\" \"abc\" }} {{ reReplaceAll \"b(.)\" \"<$1>\" \"abc\" }}", "true a<c>"),
        ("{{ stringSlice \"a\" \"b\" | join \"-\" }} {{ join \",\" (list 1 2.5 \"x\") }}", "a-b 1,2.5,x"),
        (
            "{{ urlUnescape \"a%20b+c\" }} {{ base64encode \"a?b>\" }} {{ base64decode \"YT9iPg==\" }}",
            "a b c YT9iPg== a?b>",
        ),
        (
            "{{ (dict \"a\" 1).a }} {{ len (append (list 1) 2 3) }} {{ dict \"k\" (list 1 true) | toJson }}",
            "1 3 {\"k\":[1,true]}",
        ),
        (
            "{{ humanizeDuration 3661 }} {{ humanizeDuration \"0.0123\" }} {{ since (index .Alerts 0).StartsAt | humanizeDuration }}",
            "1h 1m 1s 12.3ms 5m 0s",
        ),
        ("{{ (index .Alerts 0).StartsAt | tz \"Europe/Paris\" | date \"15:04 MST\" }}", "05:00 CET"),
        (
            "{{ toDate \"2006-01-02\" \"2026-03-07\" | date \"Jan 2\" }} {{ addDuration \"1h\" now }}",
            "Mar 7 1772859900000",
        ),
        ("{{ (index .Alerts 1).Labels | toJson }}", "{\"alertname\":\"Down\",\"instance\":\"b\",\"job\":\"api\"}"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn functions_fail_as_in_alertmanager() {
    let cases = [
        ("{{ dict 1 }}", "error calling dict: dict requires an even number of arguments"),
        ("{{ toUpper 1 }}", "at <1>: expected string; found 1"),
        ("{{ tz \"Nowhere\" now }}", "error calling tz: unknown time zone Nowhere"),
        ("{{ join \",\" 1 }}", "error calling join: join expects a slice or array, got int"),
    ];
    for (template, expected) in cases {
        assert!(render(template).ends_with(expected), "{template}: {}", render(template));
    }
}

#[test]
fn users_files_replace_the_defaults_and_may_refer_to_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.tmpl"), "{{ define \"__alertmanager\" }}AM{{ end }}{{ define \"mine\" }}{{ template \"slack.default.username\" . }}!{{ end }}").unwrap();
    let pattern = folder.path().join("*.tmpl").to_string_lossy().into_owned();
    let templates = Templates::load(&[pattern, "/nowhere/*.tmpl".into()], "").unwrap();
    assert_eq!(render_with(&templates, "{{ template \"mine\" . }}"), "AM!");
}

#[test]
fn a_broken_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.tmpl");
    std::fs::write(&file, "one\n{{ if }}").unwrap();
    let error = Templates::load(&[file.to_string_lossy().into_owned()], "").unwrap_err();
    assert_eq!(error.to_string(), "template: bad.tmpl:2: missing value for if");
}

#[test]
fn endless_templates_end() {
    let text = render("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}");
    assert!(text.contains("exceeded maximum template depth"), "{text}");
    let text = render("{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}");
    assert!(text.contains("steps"), "{text}");
    let text = render("{{ range 100000 }}{{ printf \"%1000s\" \"x\" }}{{ end }}");
    assert!(text.contains("bytes of output"), "{text}");
}

#[test]
fn expanded_texts_of_a_structure_become_what_they_are_as_yaml() {
    let templates = Templates::load(&[], "").unwrap();
    let notification = notification();
    let data = Data::new(&notification, &notification.alerts, "");
    let renderer = Renderer::new(&templates, data, notification.now);
    let structure = serde_json::json!({
        "{{ .Status }}": ["{{ len .Alerts }}", "{{ .CommonLabels | toJson }}", "a: {{ .Status }}", "{{ .Status | toJson }}", "# {{ .Status }}", 7],
    });
    let expected = serde_json::json!({
        "firing": [2, { "alertname": "Down", "job": "api" }, { "a": "firing" }, "firing", null, 7],
    });
    assert_eq!(renderer.structure(&structure).unwrap(), expected);
}

#[test]
fn the_default_mail_is_html_in_which_values_are_escaped() {
    let templates = Templates::load(&[], "http://am.example").unwrap();
    let notification = notification();
    let data = Data::new(&notification, &notification.alerts, templates.external_url());
    let html =
        Renderer::new(&templates, data, notification.now).html("{{ template \"email.default.html\" . }}").unwrap();
    assert!(html.contains("<title>[FIRING:1] Down (api)</title>"), "{html}");
    assert!(html.contains("It is &lt;down&gt;"), "{html}");
    assert!(html.contains("href=\"http://am.example/#/alerts?receiver=team%5C.x\""), "{html}");
    assert!(!html.contains("ZgotmplZ"), "{html}");
}
