use pharos_cluster::{ClusterState, Member, MemberState, Role};
use pharos_config::{AlertingConfig, AlertmanagerConfig, RelabelConfig, TargetGroup, ValidationScheme};
use pharos_model::Labels;

use super::*;

fn rule(config: RelabelConfig) -> RelabelRule {
    RelabelRule::new(config, ValidationScheme::default()).unwrap()
}

fn alert(labels: &[(&str, &str)]) -> OutgoingAlert {
    OutgoingAlert {
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: Texts::new(),
        starts_at_ms: 0,
        ends_at_ms: 0,
        generator_url: String::new(),
    }
}

fn labels(alerts: &[OutgoingAlert]) -> Vec<String> {
    alerts.iter().map(|alert| alert.labels.to_string()).collect()
}

#[test]
fn alerts_get_the_external_labels_that_they_lack() {
    let external = Texts::from([("dc".to_string(), "x".to_string()), ("own".to_string(), "no".to_string())]);
    let sent = relabelled(&[alert(&[("alertname", "A"), ("own", "yes")])], &external, &[]);
    assert_eq!(labels(&sent), [r#"{alertname="A", dc="x", own="yes"}"#]);
}

#[test]
fn relabelling_changes_and_drops_alerts() {
    let drop = RelabelConfig {
        source_labels: Some(vec!["severity".into()]),
        regex: "info".into(),
        action: pharos_config::RelabelAction::Drop,
        ..RelabelConfig::default()
    };
    let set = RelabelConfig { target_label: "to".into(), replacement: "ops".into(), ..RelabelConfig::default() };
    let alerts = [alert(&[("alertname", "A"), ("severity", "info")]), alert(&[("alertname", "B")])];
    let sent = relabelled(&alerts, &Texts::new(), &[rule(drop), rule(set)]);
    assert_eq!(labels(&sent), [r#"{alertname="B", to="ops"}"#]);
}

fn resolved(section: AlertmanagerConfig) -> Arc<ResolvedAlertmanagers> {
    Arc::new(section.validate(ValidationScheme::default()).unwrap())
}

fn section(targets: &[&str]) -> AlertmanagerConfig {
    let targets = targets.iter().map(|target| target.to_string()).collect();
    let group = TargetGroup { targets, ..TargetGroup::default() };
    AlertmanagerConfig { static_configs: vec![group], ..AlertmanagerConfig::default() }
}

#[test]
fn urls_have_scheme_address_and_path() {
    let labels = [Labels::from_pairs([("__address__", "am:9093")])];
    let config = AlertmanagerConfig { scheme: "https".into(), path_prefix: "x/".into(), ..section(&[]) };
    let found = targets::discovered(labels.iter(), &resolved(config));
    assert_eq!(found.active.into_iter().collect::<Vec<_>>(), ["https://am:9093/x/api/v2/alerts"]);
}

#[test]
fn alertmanagers_are_relabelled_dropped_and_counted_once() {
    let drop = RelabelConfig {
        source_labels: Some(vec!["__address__".into()]),
        regex: "b.*".into(),
        action: pharos_config::RelabelAction::Drop,
        ..RelabelConfig::default()
    };
    let labels = ["a:1", "b:1", "a:1", "c/d"].map(|address| Labels::from_pairs([("__address__", address)]));
    let config = AlertmanagerConfig { relabel_configs: vec![Some(drop)], ..section(&[]) };
    let found = targets::discovered(labels.iter(), &resolved(config));
    assert_eq!(found.active.into_iter().collect::<Vec<_>>(), ["http://a:1/api/v2/alerts"]);
    assert_eq!(found.dropped, ["http://b:1/api/v2/alerts"]);
}

fn rules(sections: Vec<AlertmanagerConfig>) -> NotifierRules {
    let alertmanagers = sections.into_iter().map(resolved).collect();
    let alert_relabel = AlertingConfig::default().alert_relabelling(ValidationScheme::default()).unwrap();
    let alerting = ResolvedAlerting { alert_relabel, alertmanagers };
    NotifierRules { alerting, external_labels: Arc::default() }
}

/// Keeps the alerts that it gets.
#[derive(Default)]
struct BuiltIn(Mutex<Vec<String>>);

impl AlertSink for BuiltIn {
    fn send(&self, _: &TenantId, alerts: &[OutgoingAlert]) {
        self.0.lock().extend(labels(alerts));
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reload_replaces_alertmanagers_and_the_built_in_one_stays() {
    let config = NotifierConfig { queue_capacity: 10, batch_size: 5, drain: false };
    let clock: Arc<dyn Clock> = Arc::new(pharos_model::SystemClock::new());
    let built_in = Arc::new(BuiltIn::default());
    let sink: Arc<dyn AlertSink> = built_in.clone();
    let own = OwnAlertmanagers { built_in: Some(("http://own".into(), sink)), members: None };
    let notifier = Notifier::create(config, rules(vec![section(&["a:1"])]), own, clock, &Registry::new()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(notifier.clone().run(stopped));
    until(|| notifier.alertmanagers().active == ["http://own", "http://a:1/api/v2/alerts"]).await;
    notifier.apply(notifier.prepare(rules(vec![section(&["b:1"]), section(&["c:1"])])).unwrap());
    let active = ["http://own", "http://b:1/api/v2/alerts", "http://c:1/api/v2/alerts"];
    until(|| notifier.alertmanagers().active == active).await;
    notifier.send(&TenantId::default(), &[alert(&[("alertname", "A")])]);
    notifier.send(&TenantId::new("team").unwrap(), &[alert(&[("alertname", "A")]), alert(&[("tenant", "x")])]);
    let sent = [r#"{alertname="A"}"#, r#"{alertname="A", tenant="team"}"#, r#"{tenant="x"}"#];
    assert_eq!(*built_in.0.lock(), sent);
    stop.send_replace(true);
    running.await.unwrap();
}

/// A view with these members, of which all but the first have an Alertmanager.
fn view(members: &[&str]) -> View {
    let member = |(at, id): (usize, &&str)| {
        let roles = if at == 0 { [Role::Ruler].into() } else { [Role::Ruler, Role::Alertmanager].into() };
        let (address, http_address) = (format!("{id}:7946"), format!("{id}:9090"));
        let state = MemberState::Active;
        (
            id.to_string(),
            Arc::new(Member { id: id.to_string(), address, http_address, roles, state, ..Member::default() }),
        )
    };
    let members = Arc::new(members.iter().enumerate().map(member).collect());
    View::new(Arc::new(ClusterState { members, ..ClusterState::default() }))
}

#[tokio::test]
async fn alertmanagers_of_other_nodes_come_and_go_with_the_members() {
    let config = NotifierConfig { queue_capacity: 10, batch_size: 5, drain: false };
    let clock: Arc<dyn Clock> = Arc::new(pharos_model::SystemClock::new());
    let (views, watched) = watch::channel(view(&["none", "own", "b"]));
    let connect = Arc::new(pharos_transport::Channels::new());
    let members = MemberAlertmanagers { node: "own".into(), views: watched, connect };
    let own = OwnAlertmanagers { built_in: None, members: Some(members) };
    let notifier = Notifier::create(config, rules(Vec::new()), own, clock, &Registry::new()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(notifier.clone().run(stopped));
    let url = |id: &str| format!("http://{id}:9090/alertmanager/api/v2/alerts");
    until(|| notifier.alertmanagers().active == [url("b")]).await;
    views.send_replace(view(&["none", "own", "b", "c"]));
    until(|| notifier.alertmanagers().active == [url("b"), url("c")]).await;
    views.send_replace(view(&["none", "own", "c"]));
    until(|| notifier.alertmanagers().active == [url("c")]).await;
    stop.send_replace(true);
    running.await.unwrap();
}
