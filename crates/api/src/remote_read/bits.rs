//! Writes the bit strings of Prometheus's chunks: most significant bit first, with variable-width integers.

/// A bit string under construction. Nothing is aligned to bytes.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Number of unused bits in the last byte.
    free: u32,
}

/// Widths of the variable-width integers. The prefix of the width at index `i` is `i + 1` ones and a zero.
pub(super) const VARBIT_WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];
/// Widths of the differences between successive time steps in float chunks.
pub(super) const TIME_WIDTHS: [u32; 3] = [14, 17, 20];

impl BitWriter {
    /// Creates a bit string that begins with the bytes of `header`.
    pub(super) fn new(header: &[u8]) -> Self {
        BitWriter { bytes: header.to_vec(), free: 0 }
    }

    /// Appends the lowest `width` bits of `value`. `width` is at most 64.
    pub(super) fn bits(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let now = left.min(self.free);
            let part = (value >> (left - now)) & ((1 << now) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (self.free - now);
            }
            self.free -= now;
            left -= now;
        }
    }

    /// Appends a signed integer: a zero bit for zero, otherwise the narrowest width that holds it.
    pub(super) fn varbit(&mut self, value: i64) {
        self.prefixed(value as u64, value == 0, VARBIT_WIDTHS.iter().position(|w| fits(value, *w)), &VARBIT_WIDTHS);
    }

    /// Appends an unsigned integer in the same widths.
    pub(super) fn varbit_unsigned(&mut self, value: u64) {
        let width = VARBIT_WIDTHS.iter().position(|w| value < 1 << w);
        self.prefixed(value, value == 0, width, &VARBIT_WIDTHS);
    }

    /// Appends the difference between two successive time steps of a float chunk.
    pub(super) fn time_step(&mut self, value: i64) {
        self.prefixed(value as u64, value == 0, TIME_WIDTHS.iter().position(|w| fits(value, *w)), &TIME_WIDTHS);
    }

    fn prefixed(&mut self, value: u64, zero: bool, width: Option<usize>, widths: &[u32]) {
        match width {
            _ if zero => self.bits(0, 1),
            Some(index) => {
                let ones = index as u32 + 1;
                self.bits((1 << (ones + 1)) - 2, ones + 1);
                self.bits(value, widths[index]);
            }
            // The prefix is as long as the longest other one, but has no zero.
            None => {
                let ones = widths.len() as u32 + 1;
                self.bits((1 << ones) - 1, ones);
                self.bits(value, 64);
            }
        }
    }

    /// Appends the 64 bits of a float.
    pub(super) fn float(&mut self, value: f64) {
        self.bits(value.to_bits(), 64);
    }

    /// Appends a LEB128 number. Callers apply the zigzag encoding to signed numbers.
    pub(super) fn leb128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bits(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.bits(value, 8);
    }

    /// Returns the bit string, padded with zeros to whole bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Returns whether a signed number fits a width. Compared with two's complement, the range is shifted up by one.
fn fits(value: i64, width: u32) -> bool {
    let half = 1i64 << (width - 1);
    1 - half <= value && value <= half
}

/// Encodes floats as the XOR with the previous float, omitting leading and trailing zeros.
#[derive(Clone, Copy)]
pub(super) struct Xor {
    previous: u64,
    /// Leading and trailing zeros of the current window.
    window: Option<(u32, u32)>,
}

impl Xor {
    /// Creates an encoder whose previous value is `first`.
    pub(super) fn from(first: f64) -> Self {
        Xor { previous: first.to_bits(), window: None }
    }

    /// Appends the difference between `value` and the previous value.
    pub(super) fn write(&mut self, out: &mut BitWriter, value: f64) {
        let delta = value.to_bits() ^ self.previous;
        self.previous = value.to_bits();
        if delta == 0 {
            return out.bits(0, 1);
        }
        // Five bits hold the number of leading zeros.
        let (leading, trailing) = (delta.leading_zeros().min(31), delta.trailing_zeros());
        match self.window {
            Some((before, after)) if leading >= before && trailing >= after => {
                out.bits(0b10, 2);
                out.bits(delta >> after, 64 - before - after);
            }
            _ => {
                self.window = Some((leading, trailing));
                let width = 64 - leading - trailing;
                out.bits(0b11, 2);
                out.bits(u64::from(leading), 5);
                // A width of 64 does not fit in six bits and is written as 0.
                out.bits(u64::from(width & 63), 6);
                out.bits(delta >> trailing, width);
            }
        }
    }
}
