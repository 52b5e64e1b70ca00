//! The folders of tenants in a bucket: one function from a tenant to its folder and one back.
//!
//! A name of the characters `a-z`, `0-9`, `_` and `-` is its own folder. In any other name a capital letter becomes `@` and
//! the small letter, and punctuation becomes `@` and a digit: `Team.eu` is in `@team@0eu`. Names that are too long for that,
//! and names that some file systems reserve for devices, become `@@` and their bytes in base32.
//!
//! Invariants: distinct tenants have distinct folders, also where upper and lower case are the same. A folder has at most 242
//! characters, all of `a-z`, `0-9`, `_`, `-` and `@`, so every file system and object store takes it as it is. No folder begins
//! with [`SYSTEM_FOLDER`]. Nor does any that an earlier version wrote, and those have no `@`, so that each folder of either
//! kind has one tenant.

use super::TenantId;

/// The folder of the cluster's own objects in a bucket. No tenant's folder has this name.
pub const SYSTEM_FOLDER: &str = "@_pharos";

/// Punctuation in names; the index is the digit that stands for it.
const PUNCTUATION: [char; 6] = ['.', '!', '\'', '(', ')', '*'];
/// Longest folder with single characters escaped, in bytes. File systems take at least 255.
const MAX_ESCAPED: usize = 200;
/// The digits of base32.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl TenantId {
    /// The folder of this tenant's blocks in a bucket.
    pub fn folder(&self) -> String {
        let name = self.as_str();
        let mut escaped = String::with_capacity(name.len() + 8);
        for c in name.chars() {
            if let Some(digit) = PUNCTUATION.iter().position(|p| *p == c) {
                escaped.push('@');
                escaped.extend(char::from_digit(digit as u32, 10));
            } else if c.is_ascii_uppercase() {
                escaped.push('@');
                escaped.push(c.to_ascii_lowercase());
            } else {
                escaped.push(c);
            }
        }
        if escaped.len() > MAX_ESCAPED || is_device(&escaped) {
            format!("@@{}", base32(name.as_bytes()))
        } else {
            escaped
        }
    }

    /// The folder that versions without escapes used for this tenant: its name, but with `%2A` for `*`.
    pub fn legacy_folder(&self) -> String {
        self.as_str().replace('*', "%2A")
    }

    /// The tenant whose blocks are in a folder of a bucket, as either [`TenantId::folder`] or [`TenantId::legacy_folder`]
    /// names it. None for any other folder.
    pub fn of_folder(folder: &str) -> Option<TenantId> {
        let name = match folder.strip_prefix("@@") {
            Some(digits) => from_base32(digits)?,
            None if folder.contains('@') => unescape(folder)?,
            None => folder.replace("%2A", "*"),
        };
        let tenant = TenantId::new(&name).ok()?;
        (tenant.folder() == folder || tenant.legacy_folder() == folder).then_some(tenant)
    }
}

/// A name for a file or a folder that stands for any text, and for no other one, also where upper and lower case are the same.
/// A text of at most 150 bytes has a name of at most 242.
pub fn file_name(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    let keeps = !text.is_empty() && text.len() <= MAX_ESCAPED && text.bytes().all(is_plain) && !is_device(text);
    if keeps { text.to_string() } else { format!("@@{}", base32(text.as_bytes())) }
}

/// The text that a name of [`file_name`] stands for. None for any other name.
pub fn of_file_name(name: &str) -> Option<String> {
    let text = match name.strip_prefix("@@") {
        Some(digits) => from_base32(digits)?,
        None => name.to_string(),
    };
    (file_name(&text) == name).then_some(text)
}

fn unescape(folder: &str) -> Option<String> {
    let mut name = String::with_capacity(folder.len());
    let mut chars = folder.chars();
    while let Some(c) = chars.next() {
        name.push(match c {
            '@' => match chars.next()? {
                letter if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
                digit => *PUNCTUATION.get(digit.to_digit(10)? as usize)?,
            },
            plain => plain,
        });
    }
    Some(name)
}

/// Whether Windows, and so a share of it, reserves a name for a device.
fn is_device(name: &str) -> bool {
    match name.strip_prefix("com").or(name.strip_prefix("lpt")) {
        Some(number) => number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit()),
        None => matches!(name, "con" | "prn" | "aux" | "nul"),
    }
}

fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(padded);
        let digits = (group.len() * 8).div_ceil(5);
        out.extend((0..digits).map(|at| char::from(BASE32[(bits >> (35 - 5 * at)) as usize & 31])));
    }
    out
}

/// The text of base32 digits. Ignores surplus bits at the end, which a caller excludes by encoding the text again.
fn from_base32(digits: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(digits.len() * 5 / 8);
    let mut bits = 0u64;
    let mut waiting = 0;
    for digit in digits.bytes() {
        bits = bits << 5 | BASE32.iter().position(|known| *known == digit)? as u64;
        waiting += 5;
        if waiting >= 8 {
            waiting -= 8;
            bytes.push((bits >> waiting) as u8);
            bits &= (1 << waiting) - 1;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
