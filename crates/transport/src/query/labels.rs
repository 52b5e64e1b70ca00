//! Encodes label sets, each as its difference from the previous one.
//!
//! An encoded set consists of the length of the prefix that its canonical form shares with the previous set's, the
//! length of the remaining bytes, and these bytes. Sorted sets share most of their bytes.

use pharos_model::Labels;
use pharos_model::wire::{Malformed, Reader, put_bytes, put_uvarint};

/// Encodes label sets one after the other.
#[derive(Default)]
pub struct LabelsWriter {
    out: Vec<u8>,
    before: Vec<u8>,
}

impl LabelsWriter {
    /// Appends a label set.
    pub fn push(&mut self, labels: &Labels) {
        let bytes = labels.as_bytes();
        let same = self.before.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        put_uvarint(&mut self.out, same as u64);
        put_bytes(&mut self.out, &bytes[same..]);
        self.before.truncate(same);
        self.before.extend_from_slice(&bytes[same..]);
    }

    /// The number of bytes written since the last [`LabelsWriter::take`].
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Returns `true` if no label set was written since the last [`LabelsWriter::take`].
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes the encoded bytes. The next set is written in full, so the bytes can be decoded on their own.
    pub fn take(&mut self) -> Vec<u8> {
        self.before.clear();
        std::mem::take(&mut self.out)
    }
}

/// Encodes label sets.
pub fn write_labels<'a>(labels: impl IntoIterator<Item = &'a Labels>) -> Vec<u8> {
    let mut writer = LabelsWriter::default();
    labels.into_iter().for_each(|labels| writer.push(labels));
    writer.take()
}

/// Decodes label sets until the end of `bytes` and appends them to `out`.
///
/// `take` gets the size of each set in bytes before the set is allocated. An error from it ends decoding.
///
/// # Errors
/// The bytes are malformed, or `take` failed.
pub fn read_labels<E: From<Malformed>>(
    bytes: &[u8],
    out: &mut Vec<Labels>,
    mut take: impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(bytes);
    let mut before: Vec<u8> = Vec::new();
    while !reader.is_empty() {
        let same = usize::try_from(reader.uvarint()?).unwrap_or(usize::MAX);
        if same > before.len() {
            return Err(Malformed("label set shares more bytes than there are").into());
        }
        let rest = reader.prefixed()?;
        take(same + rest.len())?;
        before.truncate(same);
        before.extend_from_slice(rest);
        let labels = Labels::from_canonical(&before).map_err(|_| Malformed("label set is not canonical"))?;
        out.push(labels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], most: usize) -> Result<Vec<Labels>, Malformed> {
        let (mut out, mut taken) = (Vec::new(), 0);
        read_labels(bytes, &mut out, |bytes| {
            taken += bytes;
            if taken > most { Err(Malformed("too much")) } else { Ok(()) }
        })?;
        Ok(out)
    }

    fn sets() -> impl Strategy<Value = Vec<Labels>> {
        let labels = prop::collection::btree_map("[a-c_]{1,3}", "[a-zü]{1,4}", 0..4);
        prop::collection::vec(labels.prop_map(Labels::from_pairs), 0..20)
    }

    proptest! {
        #[test]
        fn label_sets_round_trip(sets in sets()) {
            prop_assert_eq!(read(&write_labels(&sets), usize::MAX), Ok(sets));
        }

        #[test]
        fn corrupt_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), sets in sets(), at in any::<prop::sample::Index>()) {
            let _any = read(&bytes, 1 << 16);
            bytes = write_labels(&sets);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 0x41;
                let _any = read(&bytes, 1 << 16);
            }
        }
    }

    #[test]
    fn small_input_cannot_exceed_the_memory_limit() {
        let long = Labels::from_pairs([("a", "x".repeat(1000))]);
        let mut bytes = write_labels([&long]);
        let whole = long.as_bytes().len() as u64;
        for _ in 0..100 {
            put_uvarint(&mut bytes, whole);
            put_bytes(&mut bytes, b"");
        }
        assert_eq!(read(&bytes, 50_000), Err(Malformed("too much")));
        assert_eq!(read(&bytes, usize::MAX).unwrap().len(), 101);
    }
}
