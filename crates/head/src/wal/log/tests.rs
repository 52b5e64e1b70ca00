use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::super::segment::SegmentReader;
use super::*;
use crate::fs::DirLock;

/// Files in memory.
#[derive(Clone, Default)]
struct MemFs(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

struct MemFile {
    fs: MemFs,
    path: PathBuf,
}

impl LogFile for MemFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut files = self.fs.0.lock();
        let file = files.entry(self.path.clone()).or_default();
        file.resize(offset as usize, 0);
        file.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.fs.0.lock().entry(self.path.clone()).or_default().resize(len as usize, 0);
        Ok(())
    }
}

impl Fs for MemFs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(MemFile { fs: self.clone(), path: path.into() }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.0.lock().get(path).cloned().unwrap_or_default())))
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn open(fs: &MemFs, segment_bytes: u64) -> Log {
    let metrics = HeadMetrics::register(&prometheus::Registry::new()).unwrap();
    let config = LogConfig { dir: "/wal".into(), first_segment: 5, segment_bytes, max_pending_bytes: 1 << 20 };
    let opening = Box::new(|out: &mut Vec<u8>| out.extend(record(OPENING)));
    let log = Log::open(config, Arc::new(fs.clone()), Arc::new(metrics), opening).unwrap();
    log.add_declarable(1 << 30);
    log
}

/// What every segment begins with.
const OPENING: &[u8] = b"opening";

fn record(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = super::super::segment::begin_record(&mut bytes);
    bytes.extend_from_slice(payload);
    super::super::segment::end_record(&mut bytes, start);
    bytes
}

fn push(log: &Log, payload: &[u8], declared: u64) -> Commit {
    log.push(log.ticket(), &record(payload), declared)
}

/// The payloads of every segment, by number.
fn contents(fs: &MemFs) -> BTreeMap<u32, Vec<Vec<u8>>> {
    let mut segments = BTreeMap::new();
    for (path, bytes) in fs.0.lock().iter() {
        let number = super::super::segment::parse_file_name(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let mut reader =
            SegmentReader::new(Box::new(io::Cursor::new(bytes.clone())), bytes.len() as u64, number).unwrap();
        let payloads: &mut Vec<Vec<u8>> = segments.entry(number).or_default();
        assert_eq!(reader.next().unwrap(), Some(OPENING));
        let mut offset = reader.offset();
        while let Some(payload) = reader.next().unwrap() {
            let mut durable = Vec::new();
            put_durable(&mut durable, offset);
            if record(payload) != durable {
                payloads.push(payload.to_vec());
            }
            offset = reader.offset();
        }
    }
    segments
}

#[test]
fn pushed_records_are_written_in_order() {
    let fs = MemFs::default();
    let log = open(&fs, 1 << 20);
    for payload in [b"a", b"b", b"c"] {
        push(&log, payload, 0).wait().unwrap();
    }
    assert_eq!(contents(&fs), BTreeMap::from([(5, vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()])]));
}

#[test]
fn records_queued_at_the_end_are_written_on_drop() {
    let fs = MemFs::default();
    let log = open(&fs, 1 << 20);
    for i in 0..100u8 {
        drop(push(&log, &[i], 0));
    }
    drop(log);
    assert_eq!(contents(&fs)[&5].len(), 100);
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let fs = MemFs::default();
    let log = open(&fs, 20);
    push(&log, &[1; 12], 0).wait().unwrap();
    assert_eq!(log.ticket().segment(), 6);
    push(&log, &[2; 12], 0).wait().unwrap();
    let segments = contents(&fs);
    assert_eq!(segments[&5], [vec![1; 12]]);
    assert_eq!(segments[&6], [vec![2; 12]]);
}

#[test]
fn a_segment_grows_until_declarations_are_a_small_part_of_it() {
    let log = open(&MemFs::default(), 20);
    push(&log, &[1; 22], 20).wait().unwrap();
    assert_eq!(log.ticket().segment(), 5, "30 of 80 bytes");
    push(&log, &[1; 42], 0).wait().unwrap();
    assert_eq!(log.ticket().segment(), 6, "80 of 80 bytes");
}

#[test]
fn an_empty_segment_is_never_rotated() {
    let log = open(&MemFs::default(), 1 << 20);
    log.rotate(0);
    assert_eq!(log.ticket().segment(), 5);
}

#[test]
fn a_segment_below_the_minimum_is_not_rotated() {
    let log = open(&MemFs::default(), 1 << 20);
    push(&log, b"x", 0).wait().unwrap();
    log.rotate(100);
    assert_eq!(log.ticket().segment(), 5);
    log.rotate(9);
    assert_eq!(log.ticket().segment(), 6);
}

#[test]
fn pushing_nothing_resolves_with_what_was_pushed_before() {
    let fs = MemFs::default();
    let log = open(&fs, 1 << 20);
    push(&log, b"x", 0).wait().unwrap();
    assert!(log.push(log.ticket(), &[], 0).is_durable());
    assert_eq!(log.pending_bytes(), 0);
}

#[test]
fn the_oldest_open_segment_is_the_current_one_when_nothing_is_queued() {
    let log = open(&MemFs::default(), 20);
    push(&log, &[1; 12], 0).wait().unwrap();
    log.commit().wait().unwrap();
    // The writer reports its segment until it asks for more work.
    while log.oldest_open() != 6 {
        std::thread::yield_now();
    }
}

#[test]
fn a_log_accepts_records_while_it_can_be_written() {
    let log = open(&MemFs::default(), 1 << 20);
    assert!(log.check().is_ok());
}

#[test]
fn a_segment_does_not_wait_for_declarations_that_the_next_one_will_not_repeat() {
    let log = open(&MemFs::default(), 20);
    push(&log, &[1; 22], 20).wait().unwrap();
    log.add_declarable(-(1 << 30));
    log.rotate(20);
    assert_eq!(log.ticket().segment(), 6);
    assert_eq!(log.take_closed(), [(5, 30)]);
    assert_eq!(log.take_closed(), []);
}

#[test]
fn every_round_but_the_first_of_a_segment_begins_with_a_durable_record_and_the_last_ends_with_one() {
    let fs = MemFs::default();
    let log = open(&fs, 1 << 20);
    push(&log, b"a", 0).wait().unwrap();
    push(&log, b"b", 0).wait().unwrap();
    drop(log);
    let bytes = fs.0.lock().values().next().unwrap().clone();
    let mut expected = [&header(5)[..], &record(OPENING), &record(b"a")].concat();
    let at = expected.len() as u64;
    put_durable(&mut expected, at);
    expected.extend(record(b"b"));
    let end = expected.len() as u64;
    put_durable(&mut expected, end);
    assert_eq!(bytes, expected);
}
