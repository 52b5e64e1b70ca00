//! The float codec: a byte-aligned stream of tokens to which samples are appended one at a time.
//!
//! A decoder starts at the first timestamp with delta, value, scale and start timestamp 0. The tokens are:
//!
//! | token | meaning |
//! |---|---|
//! | `00nnnnnn` | n+1 samples with the same delta and value as the previous sample |
//! | `01zzzzzz` | same delta; the scaled integer changes by zigzag z |
//! | `10kkkkkk` | same delta; a value of kind k follows |
//! | `11kkkkkk` | the change of the delta as a varint, then a value of kind k |
//!
//! The kinds are: 0, the same value; 1 to 8, the zigzag change of the scaled integer in that many bytes; 9, the XOR with the
//! previous bits (a byte with the number of leading zero bytes and the length, then the bytes); 10, a new scale byte and the
//! scaled integer as a varint; 11, which is not a sample, the change of the start timestamp as a varint.
//!
//! A value is the scaled integer divided by `10^scale` wherever that is exact to the bit. Integers and short decimals take
//! one to three bytes, and runs of a constant almost none.

use pharos_model::labels::read_uvarint;
use pharos_model::wire::{put_uvarint, put_varint, unzigzag, zigzag};

const MAX_RUN: u8 = 0x3f;
const SMALL: u8 = 0x40;
const GENERAL: u8 = 0x80;
const WITH_TIME: u8 = 0x40;
const XOR: u8 = 9;
const RESCALE: u8 = 10;
const START: u8 = 11;

const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Doubles represent all integers up to this one exactly.
const MAX_INT: i64 = 1 << 53;
/// After a value that no scale fits, this many values are tried at the current scale only.
const VALUES_WITHOUT_SEARCH: u8 = 15;

/// The state after the last sample, from which the next one is encoded.
#[derive(Clone, Debug)]
pub(crate) struct FloatEncoder {
    /// Timestamp of the last sample.
    pub(crate) t: i64,
    delta: i64,
    /// Bits of the last value.
    pub(crate) bits: u64,
    int: i64,
    /// Start timestamp of the last sample.
    pub(crate) st: i64,
    scale: u8,
    /// How many more values are encoded without a search for a better scale.
    searches_paused: u8,
    /// Whether the last token is a run that can be extended.
    in_run: bool,
}

impl FloatEncoder {
    /// An encoder whose first sample will be at `first_t`.
    pub(crate) fn new(first_t: i64) -> Self {
        FloatEncoder { t: first_t, delta: 0, bits: 0, int: 0, st: 0, scale: 0, searches_paused: 0, in_run: false }
    }

    /// Appends a sample.
    #[inline]
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, t: i64, v: f64, st: i64) {
        if st != self.st {
            out.push(GENERAL | START);
            put_varint(out, st.wrapping_sub(self.st));
            self.st = st;
            self.in_run = false;
        }
        let delta = t.wrapping_sub(self.t);
        let change = delta.wrapping_sub(self.delta);
        let bits = v.to_bits();
        self.t = t;
        if change == 0 && bits == self.bits {
            match out.last_mut() {
                Some(last) if self.in_run && *last < MAX_RUN => *last += 1,
                _ => {
                    out.push(0);
                    self.in_run = true;
                }
            }
            return;
        }
        self.in_run = false;
        self.delta = delta;
        self.append_changed(out, change, v, bits);
    }

    fn append_changed(&mut self, out: &mut Vec<u8>, change: i64, v: f64, bits: u64) {
        let before = std::mem::replace(&mut self.bits, bits);
        if bits == before {
            return put_token(out, change, 0);
        }
        if let Some(int) = scaled(v, self.scale) {
            let z = zigzag(int - self.int);
            self.int = int;
            if change == 0 && z < 64 {
                return out.push(SMALL | z as u8);
            }
            let len = (8 - z.leading_zeros() as usize / 8).max(1);
            put_token(out, change, len as u8);
            return out.extend_from_slice(&z.to_le_bytes()[..len]);
        }
        if let Some((scale, int)) = self.search(v) {
            self.scale = scale;
            self.int = int;
            put_token(out, change, RESCALE);
            out.push(scale);
            return put_varint(out, int);
        }
        put_token(out, change, XOR);
        let xor = bits ^ before;
        let lead = xor.leading_zeros() as usize / 8;
        let trail = xor.trailing_zeros() as usize / 8;
        out.push((lead << 4 | (8 - lead - trail)) as u8);
        out.extend_from_slice(&xor.to_be_bytes()[lead..8 - trail]);
    }

    /// The smallest scale at which the value is an exact integer.
    fn search(&mut self, v: f64) -> Option<(u8, i64)> {
        if self.searches_paused > 0 {
            self.searches_paused -= 1;
            return None;
        }
        let found = (0..POWERS.len() as u8).find_map(|scale| scaled(v, scale).map(|int| (scale, int)));
        if found.is_none() {
            self.searches_paused = VALUES_WITHOUT_SEARCH;
        }
        found
    }
}

#[inline]
fn put_token(out: &mut Vec<u8>, change: i64, kind: u8) {
    if change == 0 {
        out.push(GENERAL | kind);
    } else {
        out.push(GENERAL | WITH_TIME | kind);
        put_uvarint(out, zigzag(change));
    }
}

/// `v * 10^scale`, if that is an integer from which `v` is restored bit for bit.
#[inline]
fn scaled(v: f64, scale: u8) -> Option<i64> {
    let int = if scale == 0 {
        v as i64
    } else {
        let wide = v * POWERS[scale as usize];
        (wide + 0.5f64.copysign(wide)) as i64
    };
    (int.unsigned_abs() < MAX_INT as u64 && unscaled(int, scale).to_bits() == v.to_bits()).then_some(int)
}

#[inline]
fn unscaled(int: i64, scale: u8) -> f64 {
    if scale == 0 { int as f64 } else { int as f64 / POWERS[scale as usize] }
}

/// Appends `count` samples to the columns, and their start timestamps to `st` if it is given. Malformed bytes end the decoding
/// early, with all columns of the same length.
pub(crate) fn decode(
    bytes: &[u8],
    count: usize,
    first_t: i64,
    t: &mut Vec<i64>,
    v: &mut Vec<f64>,
    st: Option<&mut Vec<i64>>,
) {
    let t_from = t.len();
    let v_from = v.len();
    t.resize(t_from + count, 0);
    v.resize(v_from + count, 0.0);
    let times = &mut t[t_from..];
    let values = &mut v[v_from..];
    let decoded = match st {
        None => decode_into(bytes, first_t, times, values, |_, _| {}),
        Some(st) => decode_into(bytes, first_t, times, values, |start, n| st.extend(std::iter::repeat_n(start, n))),
    };
    t.truncate(t_from + decoded);
    v.truncate(v_from + decoded);
}

/// The state of a decoder between two samples.
struct State {
    t: i64,
    delta: i64,
    bits: u64,
    int: i64,
    /// The power of ten that scaled integers are divided by.
    power: f64,
    start: i64,
}

/// Fills both columns, which have the same length; returns how many samples were decoded.
#[inline]
fn decode_into(
    bytes: &[u8],
    first_t: i64,
    times: &mut [i64],
    values: &mut [f64],
    mut started: impl FnMut(i64, usize),
) -> usize {
    let count = times.len().min(values.len());
    let times = &mut times[..count];
    let values = &mut values[..count];
    let mut s = State { t: first_t, delta: 0, bits: 0, int: 0, power: 1.0, start: 0 };
    let mut at = 0;
    let mut done = 0;
    while done < count {
        let Some(&token) = bytes.get(at) else { return done };
        at += 1;
        if token <= MAX_RUN {
            let n = (token as usize + 1).min(count - done);
            for time in &mut times[done..done + n] {
                s.t = s.t.wrapping_add(s.delta);
                *time = s.t;
            }
            values[done..done + n].fill(f64::from_bits(s.bits));
            started(s.start, n);
            done += n;
            continue;
        }
        if token < GENERAL {
            s.int = s.int.wrapping_add(unzigzag(u64::from(token & 0x3f)));
            s.bits = (s.int as f64 / s.power).to_bits();
        } else {
            match s.general(token, bytes, &mut at) {
                Some(true) => {}
                Some(false) => continue,
                None => return done,
            }
        }
        s.t = s.t.wrapping_add(s.delta);
        times[done] = s.t;
        values[done] = f64::from_bits(s.bits);
        started(s.start, 1);
        done += 1;
    }
    done
}

impl State {
    /// Reads what follows a general token; returns whether it is a sample, or `None` for malformed bytes.
    #[inline]
    fn general(&mut self, token: u8, bytes: &[u8], at: &mut usize) -> Option<bool> {
        if token & WITH_TIME != 0 {
            self.delta = self.delta.wrapping_add(read_varint(bytes, at)?);
        }
        match token & 0x3f {
            0 => {}
            len @ 1..=8 => {
                self.int = self.int.wrapping_add(unzigzag(read_le(bytes, at, len as usize)?));
                self.bits = (self.int as f64 / self.power).to_bits();
            }
            XOR => self.bits ^= read_xor(bytes, at)?,
            RESCALE => {
                self.power = POWERS[usize::from(*bytes.get(*at)?).min(POWERS.len() - 1)];
                *at += 1;
                self.int = read_varint(bytes, at)?;
                self.bits = (self.int as f64 / self.power).to_bits();
            }
            START => {
                self.start = self.start.wrapping_add(read_varint(bytes, at)?);
                return Some(false);
            }
            _ => return None,
        }
        Some(true)
    }
}

#[inline]
fn read_varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag(u64::from(first)));
    }
    match bytes.get(*at + 1) {
        Some(&second) if second < 0x80 => {
            *at += 2;
            Some(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7))
        }
        _ => {
            let (value, used) = read_uvarint(&bytes[*at..])?;
            *at += used;
            Some(unzigzag(value))
        }
    }
}

#[inline]
fn read_le(bytes: &[u8], at: &mut usize, len: usize) -> Option<u64> {
    let value = match bytes.get(*at..*at + 8) {
        Some(word) => {
            let mut raw = [0; 8];
            raw.copy_from_slice(word);
            u64::from_le_bytes(raw) & (u64::MAX >> (64 - 8 * len))
        }
        None => bytes.get(*at..*at + len)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    };
    *at += len;
    Some(value)
}

#[inline]
fn read_xor(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let shape = *bytes.get(*at)? as usize;
    let lead = shape >> 4;
    let len = shape & 0xf;
    if lead + len > 8 {
        return None;
    }
    let mut raw = [0; 8];
    raw[lead..lead + len].copy_from_slice(bytes.get(*at + 1..*at + 1 + len)?);
    *at += 1 + len;
    Some(u64::from_be_bytes(raw))
}

#[cfg(test)]
mod tests;
