//! Decodes DELTA_BINARY_PACKED: blocks of deltas to a common minimum, in miniblocks with a bit width each.

use super::{PageError, bad, take, uvarint, zigzag};

/// The maximum number of values in a block.
const MAX_BLOCK_VALUES: u64 = 1 << 16;
/// How many values are unpacked at a time.
const STEP: usize = 32;

/// Appends exactly `count` values. For 32-bit columns only the low half of each is meaningful.
pub(crate) fn decode(mut bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), PageError> {
    let block = uvarint(&mut bytes)?;
    let miniblocks = uvarint(&mut bytes)?;
    let total = uvarint(&mut bytes)?;
    let first = zigzag(uvarint(&mut bytes)?);
    if total != count as u64 {
        return bad(format!("{total} packed values instead of {count}"));
    }
    if count == 0 {
        return Ok(());
    }
    let per_miniblock = block.checked_div(miniblocks).unwrap_or(0);
    if block > MAX_BLOCK_VALUES || per_miniblock == 0 || !per_miniblock.is_multiple_of(STEP as u64) {
        return bad(format!("blocks of {block} values in {miniblocks} miniblocks"));
    }
    let start = out.len();
    out.resize(start + count, 0);
    let values = &mut out[start..];
    values[0] = first;
    let mut rest = &mut values[1..];
    let mut last = first;
    while !rest.is_empty() {
        let min_delta = zigzag(uvarint(&mut bytes)?);
        let widths = take(&mut bytes, miniblocks as usize)?;
        for &width in widths {
            if rest.is_empty() {
                break;
            }
            let here = rest.len().min(per_miniblock as usize);
            let (now, later) = rest.split_at_mut(here);
            last = miniblock(&mut bytes, u32::from(width), per_miniblock as usize, min_delta, last, now)?;
            rest = later;
        }
    }
    Ok(())
}

fn miniblock(
    bytes: &mut &[u8],
    width: u32,
    size: usize,
    min_delta: i64,
    mut last: i64,
    out: &mut [i64],
) -> Result<i64, PageError> {
    if width > 64 {
        return bad(format!("deltas of {width} bits"));
    }
    if width == 0 {
        for value in out {
            last = last.wrapping_add(min_delta);
            *value = last;
        }
        return Ok(last);
    }
    let packed = take(bytes, size / 8 * width as usize)?;
    let step_bytes = STEP / 8 * width as usize;
    for (chunk, packed) in out.chunks_mut(STEP).zip(packed.chunks(step_bytes)) {
        // A padded copy lets whole words be read up to the end.
        let mut padded = [0u8; STEP * 8 + 16];
        padded[..packed.len()].copy_from_slice(packed);
        last = match width {
            1..=56 => unpack_narrow(&padded, width, min_delta, last, chunk),
            _ => unpack_wide(&padded, width, min_delta, last, chunk),
        };
    }
    Ok(last)
}

#[inline(always)]
fn unpack_narrow(padded: &[u8; 272], width: u32, min_delta: i64, mut last: i64, out: &mut [i64]) -> i64 {
    let mask = (1u64 << width) - 1;
    let mut bit = 0usize;
    for value in out {
        let mut word = [0u8; 8];
        word.copy_from_slice(&padded[bit / 8..bit / 8 + 8]);
        let delta = (u64::from_le_bytes(word) >> (bit % 8)) & mask;
        last = last.wrapping_add(min_delta).wrapping_add(delta as i64);
        *value = last;
        bit += width as usize;
    }
    last
}

fn unpack_wide(padded: &[u8; 272], width: u32, min_delta: i64, mut last: i64, out: &mut [i64]) -> i64 {
    let mask = u64::MAX >> (64 - width);
    let mut bit = 0usize;
    for value in out {
        let mut word = [0u8; 16];
        word.copy_from_slice(&padded[bit / 8..bit / 8 + 16]);
        let delta = (u128::from_le_bytes(word) >> (bit % 8)) as u64 & mask;
        last = last.wrapping_add(min_delta).wrapping_add(delta as i64);
        *value = last;
        bit += width as usize;
    }
    last
}

#[cfg(test)]
mod tests;
