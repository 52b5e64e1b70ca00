use pharos_config::{GlobalConfig, ScrapeConfig};
use pharos_model::SystemClock;
use prometheus::Registry;

use super::*;

fn section(yaml: &str) -> Arc<ResolvedScrapeConfig> {
    let section: ScrapeConfig = serde_saphyr::from_str(&format!("job_name: a\n{yaml}")).unwrap();
    Arc::new(section.validate(&GlobalConfig::default().resolve().unwrap()).unwrap())
}

fn manager() -> DiscoveryManager {
    DiscoveryManager::new(Arc::new(SystemClock::new()), DiscoveryMetrics::new(&Registry::new()).unwrap())
}

const STATIC: &str = "static_configs: [{targets: ['a:1', 'a:2'], labels: {zone: z}}, {targets: ['b:1']}]";

#[tokio::test]
async fn static_targets_are_published_at_once() {
    let receivers = manager().subscribe((&*section(STATIC)).into(), None).unwrap();
    let targets = receivers[0].borrow().clone().unwrap();
    let shown: Vec<String> = targets.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [r#"{__address__="a:1", zone="z"}"#, r#"{__address__="a:2", zone="z"}"#, r#"{__address__="b:1"}"#]
    );
}

#[tokio::test]
async fn each_mechanism_has_a_receiver() {
    let yaml = format!("{STATIC}\nfile_sd_configs: [{{files: [a.json]}}, {{files: [b.json]}}]");
    assert_eq!(manager().subscribe((&*section(&yaml)).into(), None).unwrap().len(), 3);
}

#[tokio::test]
async fn equal_mechanisms_share_a_task() {
    let mut manager = manager();
    let first = manager.subscribe((&*section(STATIC)).into(), None).unwrap();
    let second = manager.subscribe((&*section(&format!("{STATIC}\nsample_limit: 5"))).into(), None).unwrap();
    assert_eq!(manager.running.len(), 1);
    assert!(first[0].same_channel(&second[0]));
}

#[tokio::test]
async fn unused_mechanisms_are_stopped() {
    let mut manager = manager();
    let mut removed = manager.subscribe((&*section(STATIC)).into(), None).unwrap().remove(0);
    let kept = section("static_configs: [{targets: ['c:1']}]");
    manager.subscribe((&*kept).into(), None).unwrap();
    manager.retain([(&*kept).into()]);
    assert_eq!(manager.running.len(), 1);
    removed.mark_unchanged();
    assert!(removed.changed().await.is_err(), "its task has ended");
}

#[tokio::test]
async fn a_server_with_a_bad_certificate_cannot_be_subscribed_to() {
    let yaml = "http_sd_configs: [{url: 'http://h', tls_config: {ca: nonsense}}]";
    let error = manager().subscribe((&*section(yaml)).into(), None).unwrap_err();
    assert!(error.to_string().starts_with("unable to use specified CA cert"), "{error}");
}

#[tokio::test]
async fn missing_files_publish_no_targets() {
    let mut targets = manager_task(&section("file_sd_configs: [{files: ['/does/not/exist.json']}]")).await;
    let published = tokio::time::timeout(std::time::Duration::from_secs(20), targets.1.wait_for(Option::is_some));
    assert!(published.await.unwrap().unwrap().as_deref().unwrap().is_empty());
}

/// A manager with the only receiver of a section.
async fn manager_task(section: &ResolvedScrapeConfig) -> (DiscoveryManager, watch::Receiver<DiscoveredTargets>) {
    let mut manager = manager();
    let receiver = manager.subscribe(section.into(), None).unwrap().remove(0);
    (manager, receiver)
}

#[tokio::test]
async fn a_mechanism_that_replaces_another_begins_with_its_targets() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
    let old = section(&format!("file_sd_configs: [{{files: ['{}']}}]", path("a.json")));
    let new = section(&format!(
        "{STATIC}\nhttp_sd_configs: [{{url: 'http://127.0.0.1:1'}}]\nfile_sd_configs: [{{files: ['{}']}}]",
        path("b.json")
    ));
    let (mut manager, mut before) = manager_task(&old).await;
    before.wait_for(Option::is_some).await.unwrap();
    let after = manager.subscribe((&*new).into(), Some((&*old).into())).unwrap();
    let [_, file, http] = &after[..] else { panic!("{} receivers", after.len()) };
    assert_eq!(file.borrow().as_ref().unwrap().len(), 1, "until its own file was read");
    assert!(http.borrow().is_none(), "there was none of its kind before");
    let mut file = file.clone();
    file.wait_for(|targets| targets.as_ref().is_some_and(|targets| targets.is_empty())).await.unwrap();
}
