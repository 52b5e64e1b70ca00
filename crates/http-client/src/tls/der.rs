//! A reader of DER, the encoding of certificates.

/// What is left of a sequence of elements.
#[derive(Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Der(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that was not read yet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Reads an element: its tag and content. `None` if there is none, or if it is longer than what is left.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, content, rest) = split(self.0)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element with its tag and length, which stays unread.
    pub(super) fn peek_whole(&self) -> Option<&'a [u8]> {
        let (_, _, rest) = split(self.0)?;
        Some(&self.0[..self.0.len() - rest.len()])
    }

    /// Reads an element that must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        self.optional(tag)
    }

    /// Reads an element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, content, rest) = split(self.0)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(Der(content))
    }
}

/// The tag and content of the first element, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The bytes of a bit string in which no bit is unused.
pub(super) fn bit_string(content: &[u8]) -> Option<&[u8]> {
    match content.split_first()? {
        (0, bits) => Some(bits),
        _ => None,
    }
}

/// Reads a time, in seconds since the Unix epoch.
pub(super) fn time(from: &mut Der<'_>) -> Option<i64> {
    let (tag, text) = from.next()?;
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| -> Option<i64> { std::str::from_utf8(digits).ok()?.parse().ok() };
    let (year, digits) = match tag {
        0x17 => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        0x18 => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    if !matches!(digits.len(), 8 | 10) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut parts = digits.chunks(2).map(number);
    let (month, day, hour, minute) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<i64> {
        let mut bytes = vec![tag, text.len() as u8];
        bytes.extend_from_slice(text.as_bytes());
        time(&mut Der::new(&bytes))
    }

    #[test]
    fn times_of_both_kinds() {
        assert_eq!(seconds(0x17, "700101000000Z"), Some(0));
        assert_eq!(seconds(0x17, "000229123456Z"), Some(951_827_696));
        assert_eq!(seconds(0x18, "20380119031408Z"), Some(1 << 31));
        assert_eq!(seconds(0x18, "99991231235959Z"), Some(253_402_300_799));
    }

    #[test]
    fn malformed_times() {
        for text in ["", "Z", "700101000000", "701301000000Z", "7001010000xxZ"] {
            assert_eq!(seconds(0x17, text), None, "{text}");
        }
    }

    #[test]
    fn elements_longer_than_their_sequence_are_refused() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 2, 0], &[0x30, 0x82, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x84, 255, 255, 255, 255]]
        {
            assert!(Der::new(bytes).next().is_none(), "{bytes:?}");
        }
        let mut long = vec![0x04, 0x81, 200];
        long.extend([7; 200]);
        assert_eq!(Der::new(&long).next().unwrap().1.len(), 200);
    }
}
