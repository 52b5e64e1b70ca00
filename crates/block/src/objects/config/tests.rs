use super::*;

fn metrics() -> StoreMetrics {
    StoreMetrics::new(&prometheus::Registry::new()).unwrap()
}

fn s3(fields: &str) -> S3Config {
    let text = format!(r#"{{"type":"s3","bucket":"b"{fields}}}"#);
    match serde_json::from_str(&text).unwrap() {
        ObjectStoreConfig::S3(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_of_s3_have_defaults() {
    let config = s3("");
    assert_eq!(config.region, "us-east-1");
    assert_eq!(config.endpoint, None);
    assert_eq!(config.max_retries, 8);
    assert_eq!(config.timeout_seconds, 60);
    assert!(config.path_style);
}

#[test]
fn keys_are_neither_printed_nor_serialized() {
    let config = ObjectStoreConfig::S3(s3(r#","access_key":"me-hush","secret_key":"hush""#));
    assert!(!format!("{config:?}").contains("hush"));
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(text.matches("<secret>").count(), 2);
}

#[test]
fn absent_keys_are_not_serialized() {
    let text = serde_json::to_string(&ObjectStoreConfig::S3(s3(""))).unwrap();
    assert!(!text.contains("access_key") && !text.contains("secret_key"), "{text}");
}

#[test]
fn an_unknown_field_is_named() {
    let error = serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"s3","bucket":"b","regio":"x"}"#).unwrap_err();
    assert!(error.to_string().contains("regio"), "{error}");
}

#[test]
fn an_unknown_kind_of_store_is_an_error() {
    assert!(serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"gcs"}"#).is_err());
}

#[test]
fn a_bucket_is_required() {
    assert!(serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"s3"}"#).is_err());
    assert!(serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"filesystem"}"#).is_err());
}

#[test]
fn a_folder_is_created() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    ObjectStoreConfig::filesystem(&folder).build(metrics()).unwrap();
    assert!(folder.is_dir());
}

#[test]
fn a_folder_that_cannot_be_created_is_named() {
    let error = ObjectStoreConfig::filesystem("/proc/nothing").build(metrics()).unwrap_err().to_string();
    assert!(error.contains("/proc/nothing"), "{error}");
}

#[test]
fn an_s3_store_is_built_without_a_request() {
    let config = s3(r#","endpoint":"http://localhost:9","prefix":"/x/","access_key":"a","secret_key":"s""#);
    ObjectStoreConfig::S3(config).build(metrics()).unwrap();
}
