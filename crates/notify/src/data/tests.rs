use super::*;
use crate::receivers::tests::notification;
use crate::templates::{Renderer, Templates};

fn render(template: &str) -> String {
    let templates = Templates::load(&[], "http://am.example").unwrap();
    let notification = notification();
    let data = Data::new(&notification, &notification.alerts, templates.external_url());
    let renderer = Renderer::new(&templates, data, notification.now);
    renderer.text(template).unwrap_or_else(|error| error.message)
}

#[test]
fn common_pairs_are_those_of_all_alerts() {
    assert_eq!(render("{{ .CommonLabels }}"), "alertname=Down, job=api");
    assert_eq!(render("{{ .CommonAnnotations }}"), "summary=It is <down>");
}

#[test]
fn pairs_have_the_methods_of_alertmanager() {
    assert_eq!(render("{{ .CommonLabels.Names }} {{ .CommonLabels.Values.Join \"+\" }}"), "[alertname job] Down+api");
    assert_eq!(render("{{ (.CommonLabels.Remove .GroupLabels.Names).Names }}"), "[job]");
    assert_eq!(
        render("{{ range .CommonLabels.SortedPairs }}{{ .Name }}:{{ .Value }};{{ end }}"),
        "alertname:Down;job:api;"
    );
    assert_eq!(
        render("{{ .CommonLabels.job }}{{ index .CommonLabels \"job\" }}[{{ .CommonLabels.none }}]"),
        "apiapi[]"
    );
    assert_eq!(render("{{ if .RouteLabels }}yes{{ else }}no{{ end }}{{ len .CommonLabels }}"), "no2");
}

#[test]
fn alerts_are_taken_by_their_status() {
    assert_eq!(render("{{ len .Alerts }} {{ len .Alerts.Firing }} {{ len .Alerts.Resolved }}"), "2 1 1");
    assert_eq!(render("{{ (index .Alerts.Resolved 0).Labels.instance }}"), "b");
}

#[test]
fn times_have_the_methods_of_go() {
    assert_eq!(
        render("{{ (index .Alerts 0).StartsAt.Format \"15:04\" }} {{ (index .Alerts 0).StartsAt.Unix }}"),
        "04:00 1772856000"
    );
    assert_eq!(
        render("{{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 0).StartsAt.Weekday }}"),
        "true Saturday"
    );
}

#[test]
fn misuse_is_explained_as_in_go() {
    let error = |column: usize, reason: &str| format!("template: :1:{column}: executing \"\" at <{reason}");
    assert_eq!(render("{{ .Nope }}"), error(3, ".Nope>: can't evaluate field Nope in type *template.Data"));
    let names = ".CommonLabels.Names>: wrong number of args for Names: want 0 got 1";
    assert_eq!(render("{{ .CommonLabels.Names 1 }}"), error(16, names));
    let remove = ".CommonLabels.Remove>: wrong number of args for Remove: want 1 got 0";
    assert_eq!(render("{{ .CommonLabels.Remove }}"), error(16, remove));
}

#[test]
fn the_payload_has_the_names_and_times_of_alertmanager() {
    let notification = notification();
    let data = Data::new(&notification, &notification.alerts[..1], "http://am.example");
    let expected = concat!(
        r#"{"receiver":"team\\.x","status":"firing","alerts":[{"status":"firing","#,
        r#""labels":{"alertname":"Down","instance":"a","job":"api"},"#,
        r#""annotations":{"summary":"It is \u003cdown\u003e"},"startsAt":"2026-03-07T04:00:00Z","#,
        r#""endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prom/graph?g0=1","#,
        r#""fingerprint":"FINGERPRINT"}],"notification_reason":"first notification","groupLabels":{"alertname":"Down"},"#,
        r#""commonLabels":{"alertname":"Down","instance":"a","job":"api"},"#,
        r#""commonAnnotations":{"summary":"It is \u003cdown\u003e"},"routeLabels":{},"externalURL":"http://am.example"}"#,
    );
    let expected = expected.replace("FINGERPRINT", &notification.alerts[0].fingerprint().to_string());
    assert_eq!(crate::json::to_string(&data).unwrap(), expected);
}
