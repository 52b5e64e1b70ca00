//! Damaged blocks are errors that name the file, never panics.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::BlockError;

fn sample_block() -> FinishedBlock {
    let histogram = Arc::new(Histogram { sum: 1.5, count: 3.0, ..Histogram::default() });
    let mut series: Vec<TestSeries> = (0..40)
        .map(|i| TestSeries {
            ht: vec![1, 2],
            h: vec![histogram.clone(); 2],
            st: (0..100).map(|s| s / 50).collect(),
            exemplars: vec![Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, t: 5 }],
            ..TestSeries::floats(
                &[("__name__", "m"), ("i", &i.to_string()), ("job", "a")],
                (0..100).map(|s| s * 1000 + i / 20).collect(),
                (0..100)
                    .map(|s| if i % 4 == 0 { (s as f64).sqrt() } else { f64::from(s) * f64::from(i as i32) })
                    .collect(),
            )
        })
        .collect();
    write(options(), &mut series)
}

/// Reads everything and returns it as text. It must not panic.
async fn read_everything(store: Arc<dyn ObjectStore>, meta: &BlockMeta) -> Result<String, BlockError> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let reader = BlockReader::open(store.clone(), meta.folder(), Arc::new(meta.clone()), cache).await?;
    let selection = reader.select(&[], TimeRange::ALL, 0).await?;
    let mut batch = SeriesBatch::default();
    selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await?;
    let mut all = format!("{:?}", selection.exemplars(0..selection.len(), TimeRange::ALL).await?);
    all += &format!("{:?}", reader.label_names(&[], TimeRange::ALL).await?);
    for (at, labels) in selection.labels().iter().enumerate() {
        let view = batch.view(at);
        all += &format!("{labels} {:?} {:?} {:?} {:?}", view.t, bits(view.v), view.st, selection.metadata(at));
        all += &format!("{:?} {:?} {:?}", view.ht, view.h, view.hst);
    }
    Ok(all)
}

/// Reads a block of which one file was changed. Without checksums, the change reaches the decoders of pages.
fn damaged(
    block: &FinishedBlock,
    file: usize,
    with_checksums: bool,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<String, BlockError> {
    let mut block = block.clone();
    let mut bytes = block.files[file].1.to_vec();
    change(&mut bytes);
    let key = b"pharos.crc32";
    if !with_checksums && let Some(at) = bytes.windows(key.len()).position(|part| part == key) {
        bytes[at] = b'X';
    }
    let name = block.files[file].0.clone();
    let meta = block.meta.files.get_mut(&name).unwrap();
    meta.bytes = bytes.len() as u64;
    meta.crc = meta.crc.filter(|_| with_checksums);
    block.files[file].1 = Bytes::from(bytes);
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let read = read_everything(store.clone(), &block.meta).await;
        drop(BlockMeta::read_from_bucket(store.as_ref(), &block.meta.folder()).await);
        read
    })
}

#[test]
fn a_changed_byte_is_an_error_that_names_the_file_or_does_not_matter() {
    let block = sample_block();
    let whole = damaged(&block, 0, true, |_| {}).unwrap();
    assert_eq!(damaged(&block, 0, false, |_| {}).unwrap(), whole);
    for file in 0..block.files.len() {
        let length = block.files[file].1.len();
        // All positions would take minutes. This step is coprime to the structures, so it reaches all kinds of them.
        for at in (0..length).step_by(13).chain(length.saturating_sub(120)..length) {
            for flip in [0xff, 0x01, 0x80] {
                match damaged(&block, file, true, |bytes| bytes[at] ^= flip) {
                    Ok(read) => assert_eq!(read, whole, "byte {at} of {} does not matter", block.files[file].0),
                    Err(BlockError::Damaged { file: named, .. }) => assert!(named.ends_with(&block.files[file].0)),
                    Err(other) => panic!("byte {at} of {}: {other}", block.files[file].0),
                }
                let _ = damaged(&block, file, false, |bytes| bytes[at] ^= flip);
            }
        }
    }
}

#[test]
fn truncated_and_empty_files_are_errors_that_name_the_file() {
    let block = sample_block();
    for file in 0..3 {
        for keep in [0, 4, 11, block.files[file].1.len() / 2] {
            let error = damaged(&block, file, true, |bytes| bytes.truncate(keep)).unwrap_err().to_string();
            assert!(error.contains(&block.files[file].0), "{error}");
        }
    }
}

#[test]
fn a_file_with_the_magic_number_only_is_an_error() {
    let error = damaged(&sample_block(), 1, true, |bytes| *bytes = b"PAR1 hello PAR1".to_vec()).unwrap_err();
    assert!(matches!(error, BlockError::Damaged { .. }), "{error}");
}

#[test]
fn a_file_under_the_name_of_another_is_an_error() {
    let block = sample_block();
    let other = block.files[2].1.to_vec();
    assert!(damaged(&block, 1, false, |bytes| *bytes = other).is_err());
}

#[test]
fn a_footer_with_a_wrong_checksum_is_an_error() {
    let mut block = sample_block();
    let file = block.meta.files.get_mut("series.parquet").unwrap();
    file.crc = file.crc.map(|crc| crc ^ 1);
    let error = damaged(&block, 0, true, |_| {}).unwrap_err().to_string();
    assert!(error.contains("series.parquet") && error.contains("wrong checksum"), "{error}");
}

#[test]
fn a_file_that_the_metadata_does_not_list_is_an_error() {
    let mut block = sample_block();
    block.meta.files.remove("ts.parquet");
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let error = read_everything(store, &block.meta).await.unwrap_err();
        assert!(matches!(&error, BlockError::Meta { reason, .. } if reason.contains("ts.parquet")), "{error}");
    });
}

#[test]
fn a_block_of_an_unknown_version_is_not_opened() {
    let mut block = sample_block();
    block.meta.version = 99;
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        assert!(matches!(read_everything(store, &block.meta).await, Err(BlockError::Meta { .. })));
    });
}

#[test]
fn a_missing_file_is_an_error() {
    let mut block = sample_block();
    block.files.remove(0);
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        assert!(matches!(read_everything(store, &block.meta).await, Err(BlockError::Store(_))));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn garbage_anywhere_is_an_error_or_harmless(file in 0usize..5, at in any::<prop::sample::Index>(), junk in proptest::collection::vec(any::<u8>(), 1..40)) {
        let block = sample_block();
        let _ = damaged(&block, file, false, |bytes| {
            let at = at.index(bytes.len());
            let end = (at + junk.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&junk[..end - at]);
        });
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = crate::page::header::parse_page(&bytes, false);
        let _ = crate::page::delta::decode(&bytes, 100, &mut Vec::new());
        let _ = crate::page::levels::Lists::read(&mut &bytes[..], 100, 2);
        let _ = crate::page::index::offset_index(&bytes, 100, 1000);
        let _ = crate::page::values::strings(&bytes, 10);
    }
}
