//! A state as bytes: JSON, compressed with zstd, with a checksum. The form of snapshots, of the watch and of exports.

use std::io;
use std::io::Read;

use bytes::Bytes;

use crate::state::ClusterState;

/// Fast, and a tenth of the JSON all the same.
const LEVEL: i32 = 1;

/// Most bytes that a state may have when it is unpacked; the bytes may come from elsewhere.
const MOST_BYTES: u64 = 4 << 30;

/// Packs a state.
pub fn encode(state: &ClusterState) -> io::Result<Bytes> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    serde_json::to_writer(&mut encoder, state)?;
    Ok(encoder.finish()?.into())
}

/// Unpacks and checks a state.
pub fn decode(bytes: &[u8]) -> io::Result<ClusterState> {
    let mut json = Vec::new();
    zstd::Decoder::new(bytes)?.take(MOST_BYTES).read_to_end(&mut json)?;
    let state: ClusterState = serde_json::from_slice(&json)?;
    state.check().map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::{Command, Settings};

    fn state() -> ClusterState {
        let mut state = ClusterState::default();
        let settings = Settings { cluster: "c".into(), shards: 8, replication_factor: 3 };
        state.apply(&Command::Bootstrap { settings }).unwrap();
        state
    }

    #[test]
    fn states_come_back() {
        assert_eq!(decode(&encode(&state()).unwrap()).unwrap(), state());
    }

    #[test]
    fn states_that_cannot_be_are_errors() {
        let broken = ClusterState { shards: Default::default(), ..state() };
        let error = decode(&encode(&broken).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "0 shards where the settings say 8");
    }

    proptest! {
        #[test]
        fn damage_is_an_error(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(&state()).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(read, state());
            }
        }

        #[test]
        fn nothing_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
