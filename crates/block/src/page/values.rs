//! Decodes the values of a page: plain, delta-packed, byte-stream-split and dictionary-coded.

use super::header::{RawPage, ValueEncoding};
use super::{MAX_PAGE_VALUES, PageError, bad, delta, levels, take};

/// The width of the integers of a physical type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntWidth {
    /// INT32.
    Four,
    /// INT64.
    Eight,
}

/// Appends `count` integers.
pub(crate) fn integers(
    body: &[u8],
    encoding: ValueEncoding,
    width: IntWidth,
    dictionary: Option<&[i64]>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), PageError> {
    let start = out.len();
    match encoding {
        ValueEncoding::DeltaBinaryPacked => delta::decode(body, count, out)?,
        ValueEncoding::Plain => plain_integers(body, width, count, out)?,
        ValueEncoding::Dictionary => {
            let dictionary =
                dictionary.ok_or_else(|| PageError("page needs a dictionary, but there is none".into()))?;
            let mut codes = Vec::new();
            dictionary_codes(body, count, &mut codes)?;
            for code in codes {
                match dictionary.get(code as usize) {
                    Some(value) => out.push(*value),
                    None => return bad(format!("code {code} exceeds the dictionary of {} values", dictionary.len())),
                }
            }
        }
        ValueEncoding::ByteStreamSplit => return bad("integers are not byte-stream-split in blocks"),
    }
    if width == IntWidth::Four {
        out[start..].iter_mut().for_each(|v| *v = i64::from(*v as i32));
    }
    Ok(())
}

fn plain_integers(mut body: &[u8], width: IntWidth, count: usize, out: &mut Vec<i64>) -> Result<(), PageError> {
    match width {
        IntWidth::Four => {
            let (words, _) = take(&mut body, count * 4)?.as_chunks::<4>();
            out.extend(words.iter().map(|word| i64::from(i32::from_le_bytes(*word))));
        }
        IntWidth::Eight => {
            let (words, _) = take(&mut body, count * 8)?.as_chunks::<8>();
            out.extend(words.iter().map(|word| i64::from_le_bytes(*word)));
        }
    }
    Ok(())
}

/// Appends `count` doubles.
pub(crate) fn doubles(
    mut body: &[u8],
    encoding: ValueEncoding,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), PageError> {
    let bytes = take(&mut body, count * 8)?;
    match encoding {
        ValueEncoding::Plain => {
            let (words, _) = bytes.as_chunks::<8>();
            out.extend(words.iter().map(|word| f64::from_le_bytes(*word)));
        }
        ValueEncoding::ByteStreamSplit => {
            let stream = |k: usize| &bytes[k * count..(k + 1) * count];
            let streams: [&[u8]; 8] = std::array::from_fn(stream);
            out.extend((0..count).map(|i| f64::from_le_bytes(std::array::from_fn(|k| streams[k][i]))));
        }
        other => return bad(format!("doubles are not {other:?} in blocks")),
    }
    Ok(())
}

/// Appends the codes of `count` dictionary-coded values.
pub(crate) fn dictionary_codes(mut body: &[u8], count: usize, out: &mut Vec<u32>) -> Result<(), PageError> {
    if count == 0 {
        return Ok(());
    }
    let width = u32::from(take(&mut body, 1)?[0]);
    levels::decode_all(body, width, count, out)
}

/// The strings of a plain page, which must be UTF-8.
pub(crate) fn strings(mut body: &[u8], count: usize) -> Result<Vec<Box<str>>, PageError> {
    // Every string takes at least the four bytes of its length.
    if count > MAX_PAGE_VALUES || count > body.len() / 4 {
        return bad(format!("{count} strings in {} bytes", body.len()));
    }
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let mut length = [0u8; 4];
        length.copy_from_slice(take(&mut body, 4)?);
        let text = take(&mut body, u32::from_le_bytes(length) as usize)?;
        match std::str::from_utf8(text) {
            Ok(text) => out.push(text.into()),
            Err(_) => return bad("string is not UTF-8"),
        }
    }
    Ok(out)
}

/// The integers of a dictionary page.
pub(crate) fn integer_dictionary(page: &RawPage<'_>, width: IntWidth) -> Result<Vec<i64>, PageError> {
    let mut out = Vec::new();
    integers(&page.body, ValueEncoding::Plain, width, None, page.num_values, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
