//! Catalogue entries for the tests of this crate.

use pharos_cluster::BlockEntry;

/// A delta block of the window from 0 to 1000.
pub(crate) fn block(id: &str, max_t: i64, bytes: u64) -> BlockEntry {
    BlockEntry {
        id: id.into(),
        window_start: 0,
        window_end: 1000,
        min_t: 0,
        max_t,
        shards: vec![],
        delta: true,
        sequence: 0,
        bytes,
        series: 1,
        samples: 1,
        resolution_ms: 0,
        cut: None,
        digests: Vec::new(),
        deletions_seen: None,
        meta: String::new(),
    }
}
