//! The encoding of a state in snapshots, watches and exports: JSON, compressed by zstd with a checksum.

use std::io;
use std::io::Read;

use bytes::Bytes;

use crate::state::ClusterState;

/// The fastest level already shrinks the JSON to a tenth.
const LEVEL: i32 = 1;

/// Maximum size of a decompressed state, which may come from another node.
const MAX_BYTES: u64 = 4 << 30;

/// Encodes a state. A state that [`decode`] would not read is an error of kind `FileTooLarge`.
pub fn encode(state: &ClusterState) -> io::Result<Bytes> {
    encode_within(state, MAX_BYTES)
}

fn encode_within(state: &ClusterState, max_bytes: u64) -> io::Result<Bytes> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut limited = Limited { encoder, left: max_bytes };
    serde_json::to_writer(&mut limited, state)?;
    Ok(limited.encoder.finish()?.into())
}

/// Fails at the first byte too many.
struct Limited {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    left: u64,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the cluster state is larger than what can be read back",
            ));
        };
        self.left = left;
        self.encoder.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// Decodes a state and checks its invariants. A state that breaks one is an error of kind `InvalidData`.
pub fn decode(bytes: &[u8]) -> io::Result<ClusterState> {
    decode_within(bytes, MAX_BYTES)
}

fn decode_within(bytes: &[u8], max_bytes: u64) -> io::Result<ClusterState> {
    let mut json = Vec::new();
    zstd::Decoder::new(bytes)?.take(max_bytes).read_to_end(&mut json)?;
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
    fn an_encoded_state_decodes_to_itself() {
        assert_eq!(decode(&encode(&state()).unwrap()).unwrap(), state());
    }

    #[test]
    fn what_cannot_be_read_back_is_not_encoded() {
        let size = serde_json::to_vec(&state()).unwrap().len() as u64;
        let readable = encode_within(&state(), size).unwrap();
        assert_eq!(decode_within(&readable, size).unwrap(), state());
        let error = encode_within(&state(), size - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(decode_within(&readable, size - 1).is_err());
    }

    #[test]
    fn a_state_that_breaks_an_invariant_is_an_error() {
        let broken = ClusterState { shards: Default::default(), ..state() };
        let error = decode(&encode(&broken).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "0 shards, expected 8 by the settings");
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_decode_to_another_state(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(&state()).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(read, state());
            }
        }

        #[test]
        fn random_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
