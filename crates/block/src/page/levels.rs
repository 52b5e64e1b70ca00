//! Decodes Parquet's run-length and bit-packed hybrid, and the lists that repetition and definition levels describe.

use super::{MAX_PAGE_VALUES, PageError, bad, take, uvarint};

/// A run of the hybrid encoding.
pub(crate) enum HybridRun<'a> {
    /// A value and how often it is repeated.
    Repeated(u32, usize),
    /// Bit-packed values and their number.
    Packed(&'a [u8], usize),
}

/// Calls `each` for the runs of `count` values of `width` bits, at most 32.
pub(crate) fn for_each_run(
    mut bytes: &[u8],
    width: u32,
    count: usize,
    mut each: impl FnMut(HybridRun<'_>) -> Result<(), PageError>,
) -> Result<(), PageError> {
    if width > 32 {
        return bad(format!("levels or codes of {width} bits"));
    }
    let mut left = count;
    while left > 0 {
        let head = uvarint(&mut bytes)?;
        let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_PAGE_VALUES {
            return bad(format!("a run of {length} values"));
        }
        if head & 1 == 0 {
            let mut value = [0u8; 4];
            let size = width.div_ceil(8) as usize;
            value[..size].copy_from_slice(take(&mut bytes, size)?);
            let n = length.min(left);
            each(HybridRun::Repeated(u32::from_le_bytes(value), n))?;
            left -= n;
        } else {
            let n = length.saturating_mul(8).min(left);
            let size = (length * width as usize).min(bytes.len());
            let packed = take(&mut bytes, size)?;
            if packed.len() * 8 < n * width as usize {
                return bad("bit-packed run is truncated");
            }
            each(HybridRun::Packed(packed, n))?;
            left -= n;
        }
    }
    Ok(())
}

/// The value at position `at` of a bit-packed run.
pub(crate) fn unpack(packed: &[u8], width: u32, at: usize) -> u32 {
    if width == 0 {
        return 0;
    }
    let bit = at * width as usize;
    let mut word = [0u8; 8];
    let from = &packed[bit / 8..packed.len().min(bit / 8 + 8)];
    word[..from.len()].copy_from_slice(from);
    ((u64::from_le_bytes(word) >> (bit % 8)) & ((1u64 << width) - 1)) as u32
}

/// Decodes all values of a hybrid.
pub(crate) fn decode_all(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u32>) -> Result<(), PageError> {
    out.reserve(count);
    for_each_run(bytes, width, count, |run| {
        match run {
            HybridRun::Repeated(value, n) => out.resize(out.len() + n, value),
            HybridRun::Packed(packed, n) => out.extend((0..n).map(|at| unpack(packed, width, at))),
        }
        Ok(())
    })
}

/// One list of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// The position of its first value among the non-null values of the page.
    pub(crate) values: u32,
    /// The number of elements, including nulls.
    pub(crate) len: u32,
    /// The position of its first entry in [`Lists::nulls`].
    pub(crate) nulls: u32,
    /// The number of nulls.
    pub(crate) null_count: u32,
}

/// The lists of a page, one for each row.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) rows: Vec<List>,
    /// The positions of nulls within their lists.
    pub(crate) nulls: Vec<u32>,
    /// The number of non-null values.
    pub(crate) values: usize,
}

impl Lists {
    /// Reads the levels at the start of a page body and moves past them. `max_def` is 1 for required elements and 2 for
    /// nullable ones; level 0 is an empty list.
    pub(crate) fn read(body: &mut &[u8], num_levels: usize, max_def: u32) -> Result<Lists, PageError> {
        let rep = level_bytes(body)?;
        let def = level_bytes(body)?;
        let mut starts: Vec<u32> = Vec::new();
        let mut at = 0u32;
        for_each_run(rep, 1, num_levels, |run| {
            match run {
                HybridRun::Repeated(1, n) => at += n as u32,
                HybridRun::Repeated(_, n) => {
                    starts.extend(at..at + n as u32);
                    at += n as u32;
                }
                HybridRun::Packed(packed, n) => {
                    starts.extend((0..n).filter(|i| unpack(packed, 1, *i) == 0).map(|i| at + i as u32));
                    at += n as u32;
                }
            }
            Ok(())
        })?;
        let absent = absent_positions(def, num_levels, max_def)?;
        Self::assemble(&starts, &absent, num_levels)
    }

    fn assemble(starts: &[u32], absent: &[(u32, bool)], num_levels: usize) -> Result<Lists, PageError> {
        if num_levels > 0 && starts.first() != Some(&0) {
            return bad("a page starts within a list");
        }
        let mut lists = Lists { rows: Vec::with_capacity(starts.len()), ..Lists::default() };
        let mut next_absent = absent.iter().peekable();
        let mut values = 0u32;
        for (row, &start) in starts.iter().enumerate() {
            let end = starts.get(row + 1).map_or(num_levels as u32, |next| *next);
            let mut list = List { values, len: end - start, nulls: lists.nulls.len() as u32, null_count: 0 };
            while let Some((at, empty)) = next_absent.next_if(|(at, _)| *at < end) {
                if !empty {
                    lists.nulls.push(at - start);
                    list.null_count += 1;
                } else if list.len == 1 {
                    list.len = 0;
                } else {
                    return bad("an empty list has elements");
                }
            }
            values += list.len - list.null_count;
            lists.rows.push(list);
        }
        lists.values = values as usize;
        Ok(lists)
    }
}

/// The positions without a value, each with whether it is an empty list rather than a null.
fn absent_positions(def: &[u8], num_levels: usize, max_def: u32) -> Result<Vec<(u32, bool)>, PageError> {
    let width = max_def.ilog2() + 1;
    let mut absent = Vec::new();
    let mut at = 0u32;
    for_each_run(def, width, num_levels, |run| {
        let n = match run {
            HybridRun::Repeated(level, n) => {
                if level < max_def {
                    absent.extend((at..at + n as u32).map(|at| (at, level == 0)));
                }
                n
            }
            HybridRun::Packed(packed, n) => {
                let levels = (0..n).map(|i| (at + i as u32, unpack(packed, width, i)));
                absent.extend(levels.filter(|(_, level)| *level < max_def).map(|(at, level)| (at, level == 0)));
                n
            }
        };
        at += n as u32;
        Ok(())
    })?;
    Ok(absent)
}

/// Reads the definition levels of a column that is not a list. Returns which rows have a value, or `None` when all have one.
pub(crate) fn presence(body: &mut &[u8], num_values: usize) -> Result<Option<Vec<bool>>, PageError> {
    let def = level_bytes(body)?;
    let absent = absent_positions(def, num_values, 1)?;
    Ok((!absent.is_empty()).then(|| {
        let mut present = vec![true; num_values];
        absent.iter().for_each(|(at, _)| present[*at as usize] = false);
        present
    }))
}

fn level_bytes<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], PageError> {
    let mut length = [0u8; 4];
    length.copy_from_slice(take(body, 4)?);
    take(body, u32::from_le_bytes(length) as usize)
}

#[cfg(test)]
mod tests;
