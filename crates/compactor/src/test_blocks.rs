//! Catalogue entries for the tests of this crate.

use pharos_cluster::BlockEntry;

/// A delta block of the window from 0 to 1000.
pub(crate) fn block(id: &str, max_t: i64, bytes: u64) -> BlockEntry {
    BlockEntry {
        id: id.into(),
        window_end: 1000,
        max_t,
        delta: true,
        bytes,
        series: 1,
        samples: 1,
        ..BlockEntry::default()
    }
}
