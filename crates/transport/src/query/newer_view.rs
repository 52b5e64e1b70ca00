//! How a reader learns that its view is out of date: a response names the version of the source's view, in a header, if an
//! epoch of a shard that was read is newer there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tonic::metadata::MetadataMap;

use super::source::Admitted;

/// The header of a response with the version of the source's view.
const NEWER_VIEW_HEADER: &str = "x-pharos-newer-view";

/// The newest version that sources have named to one reader. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct NewerView(Arc<AtomicU64>);

impl NewerView {
    /// The newest version; 0 if none was named.
    pub fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Remembers what a source said when it admitted the reader.
    pub fn note(&self, admitted: Admitted) {
        self.0.fetch_max(admitted.newer_version.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Adds the header to the metadata of a response, if there is a newer version to name.
pub(super) fn write_admitted(admitted: Admitted, metadata: &mut MetadataMap) {
    if let Some(version) = admitted.newer_version {
        metadata.insert(NEWER_VIEW_HEADER, version.into());
    }
}

/// Reads the header. A malformed one names nothing.
pub(super) fn read_admitted(metadata: &MetadataMap) -> Admitted {
    let version = metadata.get(NEWER_VIEW_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    Admitted { newer_version: version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_survives_the_header() {
        for newer_version in [None, Some(1), Some(u64::MAX)] {
            let mut metadata = MetadataMap::new();
            write_admitted(Admitted { newer_version }, &mut metadata);
            assert_eq!(read_admitted(&metadata), Admitted { newer_version });
        }
    }

    #[test]
    fn a_malformed_header_names_nothing() {
        for value in ["", "-1", "seven", "99999999999999999999"] {
            let mut metadata = MetadataMap::new();
            metadata.insert(NEWER_VIEW_HEADER, value.parse().unwrap());
            assert_eq!(read_admitted(&metadata), Admitted::default(), "{value:?}");
        }
    }

    #[test]
    fn the_newest_version_is_remembered() {
        let newer = NewerView::default();
        for named in [None, Some(7), Some(5), None] {
            newer.note(Admitted { newer_version: named });
        }
        assert_eq!(newer.version(), 7);
    }
}
