//! What this crate expects of any object store, run against the stores that it builds and decorates.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use prometheus::Registry;

use super::testing::FaultyStore;
use super::*;
use crate::tests::run;

/// The conformance suite.
async fn conforms(store: &dyn ObjectStore) {
    objects_are_written_and_read(store).await;
    ranges_are_read(store).await;
    uploads_in_parts_are_completed_or_aborted(store).await;
    objects_are_listed_by_folder(store).await;
    objects_are_copied_and_deleted(store).await;
}

fn path(text: &str) -> Path {
    Path::from(text)
}

async fn text(store: &dyn ObjectStore, at: &Path) -> String {
    String::from_utf8(store.get(at).await.unwrap().bytes().await.unwrap().to_vec()).unwrap()
}

async fn objects_are_written_and_read(store: &dyn ObjectStore) {
    let at = path("write/a");
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&at).await, Err(Error::NotFound { .. })));
    store.put(&at, "first".into()).await.unwrap();
    assert_eq!(store.head(&at).await.unwrap().size, 5);
    store.put(&at, "second".into()).await.unwrap();
    assert_eq!(text(store, &at).await, "second", "a put overwrites");
}

async fn ranges_are_read(store: &dyn ObjectStore) {
    let at = path("ranges/a");
    assert!(matches!(store.get_range(&at, 0..1).await, Err(Error::NotFound { .. })));
    store.put(&at, "hello world".into()).await.unwrap();
    assert_eq!(store.get_range(&at, 6..11).await.unwrap(), "world");
    assert_eq!(store.get_ranges(&at, &[0..1, 10..11]).await.unwrap(), ["h", "d"]);
}

async fn uploads_in_parts_are_completed_or_aborted(store: &dyn ObjectStore) {
    let mut upload = store.put_multipart(&path("parts/whole")).await.unwrap();
    upload.put_part(vec![1u8; 6 << 20].into()).await.unwrap();
    upload.put_part(vec![2u8; 10].into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.head(&path("parts/whole")).await.unwrap().size, (6 << 20) + 10);
    let mut aborted = store.put_multipart(&path("parts/half")).await.unwrap();
    aborted.put_part(vec![1u8; 10].into()).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(matches!(store.head(&path("parts/half")).await, Err(Error::NotFound { .. })));
}

async fn objects_are_listed_by_folder(store: &dyn ObjectStore) {
    for name in ["list/a", "list/b/c", "list/b/d"] {
        store.put(&path(name), "x".into()).await.unwrap();
    }
    let listed = store.list(Some(&path("list"))).map_ok(|object| object.location.to_string());
    let mut listed: Vec<String> = listed.try_collect().await.unwrap();
    listed.sort();
    assert_eq!(listed, ["list/a", "list/b/c", "list/b/d"]);
    let below = store.list_with_delimiter(Some(&path("list"))).await.unwrap();
    assert_eq!(below.objects.len(), 1);
    assert_eq!(below.common_prefixes, [path("list/b")]);
}

async fn objects_are_copied_and_deleted(store: &dyn ObjectStore) {
    let at = path("copy/a");
    let copy = path("copy/b");
    store.put(&at, "x".into()).await.unwrap();
    store.copy(&at, &copy).await.unwrap();
    store.delete(&at).await.unwrap();
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    assert_eq!(text(store, &copy).await, "x");
}

fn metrics() -> StoreMetrics {
    StoreMetrics::new(&Registry::new()).unwrap()
}

#[test]
fn a_store_in_memory_conforms() {
    run(conforms(&InMemory::new()));
}

#[test]
fn a_retrying_store_conforms() {
    run(conforms(&Retrying::new(InMemory::new(), RetryPolicy::default())));
}

#[test]
fn a_counting_store_conforms() {
    run(conforms(&Counting::new(InMemory::new(), metrics())));
}

#[test]
fn a_store_in_a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    run(conforms(ObjectStoreConfig::filesystem(folder.path()).build(metrics()).unwrap().as_ref()));
}

#[test]
fn a_faulty_store_without_failures_conforms() {
    run(conforms(&FaultyStore::failing_first(Arc::default(), 0)));
}

#[test]
fn requests_and_bytes_are_counted_by_operation() {
    run(async {
        let metrics = metrics();
        let store = Counting::new(InMemory::new(), metrics.clone());
        store.put(&path("a"), "12345".into()).await.unwrap();
        store.get_range(&path("a"), 1..3).await.unwrap();
        store.head(&path("a")).await.unwrap();
        assert_eq!(metrics.requests("put"), 1);
        assert_eq!(metrics.bytes("put"), 5);
        assert_eq!(metrics.requests("get"), 1);
        assert_eq!(metrics.bytes("get"), 2);
        assert_eq!(metrics.requests("head"), 1);
        assert_eq!(metrics.bytes("head"), 0);
    });
}

#[test]
fn failures_are_counted_without_bytes() {
    run(async {
        let metrics = metrics();
        let store = Counting::new(FaultyStore::failing_first(Arc::default(), 1), metrics.clone());
        assert!(store.put(&path("a"), "12345".into()).await.is_err());
        assert_eq!(metrics.requests("put"), 1);
        assert_eq!(metrics.errors("put"), 1);
        assert_eq!(metrics.bytes("put"), 0);
    });
}

#[test]
fn an_object_that_does_not_exist_is_not_a_failure() {
    run(async {
        let metrics = metrics();
        let store = Counting::new(InMemory::new(), metrics.clone());
        assert!(store.get(&path("a")).await.is_err());
        assert_eq!(metrics.requests("get"), 1);
        assert_eq!(metrics.errors("get"), 0);
    });
}

#[test]
fn the_parts_of_an_upload_are_counted() {
    run(async {
        let metrics = metrics();
        let store = Counting::new(InMemory::new(), metrics.clone());
        let mut upload = store.put_multipart(&path("a")).await.unwrap();
        upload.put_part(vec![0u8; 10].into()).await.unwrap();
        upload.put_part(vec![0u8; 5].into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(metrics.requests("put_part"), 2);
        assert_eq!(metrics.bytes("put_part"), 15);
        assert_eq!(metrics.requests("put"), 2, "its begin and its end");
    });
}

#[test]
fn metrics_can_be_registered_once() {
    let registry = Registry::new();
    StoreMetrics::new(&registry).unwrap();
    assert!(StoreMetrics::new(&registry).is_err());
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        timeout: Duration::from_millis(50),
        min_interval: Duration::from_millis(1),
        max_interval: Duration::from_millis(2),
    }
}

#[test]
fn transient_failures_are_retried() {
    run(async {
        let faulty = FaultyStore::failing_first(Arc::default(), 2);
        let store = Retrying::new(faulty.clone(), policy());
        store.put(&path("a"), "x".into()).await.unwrap();
        assert_eq!(faulty.requests(), 3);
        assert_eq!(text(&store, &path("a")).await, "x");
    });
}

#[test]
fn a_missing_object_is_not_retried() {
    run(async {
        let faulty = FaultyStore::failing_first(Arc::default(), 0);
        let store = Retrying::new(faulty.clone(), policy());
        assert!(matches!(store.head(&path("a")).await, Err(Error::NotFound { .. })));
        assert_eq!(faulty.requests(), 1);
    });
}

#[test]
fn retries_end_after_the_last_attempt() {
    run(async {
        let faulty = FaultyStore::failing_after(Arc::default(), 0);
        let store = Retrying::new(faulty.clone(), policy());
        let error = store.put(&path("a"), "x".into()).await.unwrap_err();
        assert!(error.to_string().contains("injected failure"), "{error}");
        assert_eq!(faulty.requests(), 3);
    });
}

#[test]
fn a_request_that_hangs_is_cancelled() {
    run(async {
        let faulty = FaultyStore::hanging();
        let store = Retrying::new(faulty.clone(), policy());
        let error = store.put(&path("a"), "x".into()).await.unwrap_err();
        assert!(error.to_string().contains("took longer than 50ms"), "{error}");
        assert_eq!(faulty.requests(), 3, "it is retried as well");
    });
}

#[test]
fn conditional_puts_and_copies_are_not_retried() {
    run(async {
        let faulty = FaultyStore::failing_after(Arc::default(), 0);
        let store = Retrying::new(faulty.clone(), policy());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        assert!(store.put_opts(&path("a"), "x".into(), create).await.is_err());
        assert_eq!(faulty.requests(), 1);
        let create = CopyOptions { mode: CopyMode::Create, ..CopyOptions::default() };
        assert!(store.copy_opts(&path("a"), &path("b"), create).await.is_err());
        assert_eq!(faulty.requests(), 2);
    });
}
