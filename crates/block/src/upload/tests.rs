use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;
use crate::objects::testing::FaultyStore;
use crate::objects::{Counting, StoreMetrics};
use crate::tests::{TestSeries, options, run, write};

fn block() -> FinishedBlock {
    write(options(), &mut [TestSeries::floats(&[("__name__", "up")], vec![1], vec![1.0])])
}

#[test]
fn every_file_of_a_block_is_uploaded() {
    run(async {
        let block = block();
        let store = InMemory::new();
        upload(&store, &block.meta.folder(), &block).await.unwrap();
        for (name, bytes) in &block.files {
            let object = store.get(&block.meta.folder().join(name.as_str())).await.unwrap();
            assert_eq!(object.bytes().await.unwrap(), bytes);
        }
    });
}

#[test]
fn an_upload_may_be_repeated() {
    run(async {
        let block = block();
        let store = InMemory::new();
        for _ in 0..2 {
            upload(&store, &block.meta.folder(), &block).await.unwrap();
        }
    });
}

#[test]
fn a_failed_upload_is_an_error_and_can_be_completed_later() {
    run(async {
        let block = block();
        let memory = Arc::new(InMemory::new());
        let faulty = FaultyStore::failing_after(memory.clone(), 1);
        let error = upload(&faulty, &block.meta.folder(), &block).await.unwrap_err();
        assert!(matches!(error, BlockError::Store(_)), "{error}");
        upload(memory.as_ref(), &block.meta.folder(), &block).await.unwrap();
    });
}

#[test]
fn an_upload_is_there_only_with_all_files_at_their_sizes() {
    run(async {
        let block = block();
        let store = InMemory::new();
        assert!(!is_uploaded(&store, &block.meta).await.unwrap(), "nothing was uploaded");
        upload(&store, &block.meta.folder(), &block).await.unwrap();
        assert!(is_uploaded(&store, &block.meta).await.unwrap());
        let path = block.meta.folder().join(block.files[0].0.as_str());
        store.put(&path, Bytes::from_static(b"cut").into()).await.unwrap();
        assert!(!is_uploaded(&store, &block.meta).await.unwrap(), "a file is too short");
        store.delete(&path).await.unwrap();
        assert!(!is_uploaded(&store, &block.meta).await.unwrap(), "a file is missing");
    });
}

#[test]
fn a_large_file_is_uploaded_in_parts() {
    run(async {
        let metrics = StoreMetrics::new(&prometheus::Registry::new()).unwrap();
        let store = Counting::new(InMemory::new(), metrics.clone());
        let large = Bytes::from(vec![7u8; 2 * PART_BYTES + 1]);
        put(&store, &Path::from("large"), &large).await.unwrap();
        assert_eq!(metrics.requests("put_part"), 3);
        assert_eq!(store.get(&Path::from("large")).await.unwrap().bytes().await.unwrap(), large);
    });
}

#[test]
fn a_file_of_one_part_is_uploaded_in_one_request() {
    run(async {
        let metrics = StoreMetrics::new(&prometheus::Registry::new()).unwrap();
        let store = Counting::new(InMemory::new(), metrics.clone());
        put(&store, &Path::from("small"), &Bytes::from(vec![7u8; PART_BYTES])).await.unwrap();
        assert_eq!(metrics.requests("put"), 1);
        assert_eq!(metrics.requests("put_part"), 0);
    });
}
