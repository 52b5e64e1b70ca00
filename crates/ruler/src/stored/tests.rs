use object_store::memory::InMemory;

use super::*;

const GROUP: &str = "name: g\nrules:\n- record: r\n  expr: up\n";

fn stored() -> StoredRules {
    StoredRules::new(Arc::new(InMemory::new()))
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

#[tokio::test]
async fn groups_are_listed_by_namespace_and_tenant() {
    let stored = stored();
    let a = tenant("a");
    for (namespace, name) in [("n", "z"), ("n", "g"), ("Other one", "g")] {
        stored.set(&a, namespace, &GROUP.replace("name: g", &format!("name: {name}"))).await.unwrap();
    }
    stored.set(&tenant("b"), "n", GROUP).await.unwrap();
    let names = |groups: BTreeMap<String, Vec<RuleGroup>>| -> Vec<String> {
        let named = |(namespace, groups): (String, Vec<RuleGroup>)| {
            let names: Vec<String> = groups.into_iter().map(|group| group.name).collect();
            format!("{namespace}: {}", names.join(" "))
        };
        groups.into_iter().map(named).collect()
    };
    assert_eq!(names(stored.list(&a, None).await.unwrap()), ["Other one: g", "n: g z"]);
    assert_eq!(names(stored.list(&a, Some("n")).await.unwrap()), ["n: g z"]);
    assert_eq!(stored.list(&a, Some("none")).await, Err(NotFound("no rule groups found")));
    assert_eq!(stored.get(&a, "n", "g").await, Ok(RuleGroups::parse_group(GROUP).unwrap()));
}

#[tokio::test]
async fn deleted_groups_are_gone() {
    let stored = stored();
    let a = tenant("a");
    for name in ["g", "h", "i"] {
        stored.set(&a, "n", &format!("name: {name}")).await.unwrap();
    }
    stored.delete(&a, "n", "g").await.unwrap();
    assert_eq!(stored.get(&a, "n", "g").await, Err(NotFound("group does not exist")));
    assert_eq!(stored.delete(&a, "n", "g").await, Err(NotFound("group does not exist")));
    stored.delete_namespace(&a, "n").await.unwrap();
    assert_eq!(stored.list(&a, None).await, Err(NotFound("no rule groups found")));
    assert_eq!(stored.delete_namespace(&a, "n").await, Err(NotFound("no rule groups found")));
}

#[tokio::test]
async fn what_is_not_a_group_is_refused() {
    let stored = stored();
    let a = tenant("a");
    let refused = async |namespace: &str, text: &str| match stored.set(&a, namespace, text).await {
        Err(Invalid(reason)) => reason,
        other => panic!("{text}: {other:?}"),
    };
    assert!(refused("n", "name: g\nrules: [{record: r}]").await.contains("field 'expr' must be set in rule"));
    assert!(refused("n", "rules: []").await.contains("rule group name must not be empty"));
    assert!(refused("n", "name: g\nsource_tenants: [x]").await.contains("field source_tenants not found"));
    assert!(refused("n", "groups: []").await.contains("field groups not found"));
    assert!(refused("n", "").await.contains("name"));
    assert!(refused("n", &format!("name: g # {}", "x".repeat(MAX_GROUP_BYTES))).await.contains("the limit is 1048576"));
    assert!(refused("", GROUP).await.contains("a name is empty"));
    assert!(refused(&"x".repeat(151), GROUP).await.contains("151 bytes"));
    assert!(refused("n", &format!("name: {}", "x".repeat(151))).await.contains("151 bytes"));
    assert_eq!(stored.list(&a, None).await, Err(NotFound("no rule groups found")));
}

#[tokio::test]
async fn a_tenant_has_a_limited_number_of_groups() {
    let stored = stored();
    let a = tenant("a");
    for number in 0..MAX_GROUPS {
        let path = path::of_group(&a, "n", &format!("g{number}"));
        stored.objects.put(&path, format!("name: g{number}").into()).await.unwrap();
    }
    assert_eq!(
        stored.set(&a, "m", "name: one-more").await,
        Err(Invalid("per-user rule groups limit (limit: 1000 actual: 1001) exceeded".into()))
    );
    stored.set(&a, "n", "name: g7\ninterval: 1m").await.unwrap();
    stored.set(&tenant("b"), "n", GROUP).await.unwrap();
}
