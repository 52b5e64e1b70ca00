//! X.509 certificates: the fields that verification needs, read leniently. What makes a certificate unfit for a purpose is
//! for [`super::verifier`] to say; this file only refuses what it cannot read.

use super::der::{Der, bit_string, time};

/// A parsed certificate, which borrows from its encoding.
pub(super) struct Certificate<'a> {
    /// 1 to 3.
    pub(super) version: u8,
    /// What the issuer signed.
    pub(super) signed: &'a [u8],
    /// The algorithm of the signature, without its outer tag.
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Seconds since the Unix epoch.
    pub(super) not_before: i64,
    /// Seconds since the Unix epoch.
    pub(super) not_after: i64,
    /// The algorithm of the public key, without its outer tag.
    pub(super) key_algorithm: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) extensions: Extensions<'a>,
}

/// The extensions that verification looks at.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    pub(super) authority: Option<BasicConstraints>,
    /// Whether its key may sign certificates; `None` without the extension.
    pub(super) signs_certificates: Option<bool>,
    /// Whether it may authenticate a server; `None` without the extension.
    pub(super) authenticates_servers: Option<bool>,
    /// Whether it has alternative names of any kind.
    pub(super) has_names: bool,
    pub(super) dns_names: Vec<&'a str>,
    /// Addresses of 4 or 16 bytes.
    pub(super) addresses: Vec<&'a [u8]>,
    pub(super) permitted: Option<Subtrees<'a>>,
    pub(super) excluded: Option<Subtrees<'a>>,
    /// A critical extension that nobody here understands.
    pub(super) has_unknown_critical: bool,
}

/// Whether a certificate is that of an authority.
#[derive(Clone, Copy, Default)]
pub(super) struct BasicConstraints {
    pub(super) is_authority: bool,
    /// How many authorities may be below it, its own leaf not counted.
    pub(super) max_path: Option<u64>,
}

/// Names that an authority may or may not vouch for.
#[derive(Default)]
pub(super) struct Subtrees<'a> {
    pub(super) dns_names: Vec<&'a str>,
    /// An address and a mask of the same length.
    pub(super) addresses: Vec<&'a [u8]>,
}

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` if it is malformed.
    pub(super) fn parse(encoded: &'a [u8]) -> Option<Certificate<'a>> {
        let mut certificate = Der::new(encoded).expect(SEQUENCE)?;
        let signed = certificate.peek_whole()?;
        let mut fields = certificate.expect(SEQUENCE)?;
        let signature_algorithm = certificate.expect(SEQUENCE)?.rest();
        let signature = bit_string(certificate.expect(BIT_STRING)?.rest())?;
        let version = match fields.optional(0xa0) {
            Some(mut version) => version.expect(0x02)?.rest().last()?.checked_add(1)?,
            None => 1,
        };
        fields.expect(0x02)?;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?.rest();
        let mut validity = fields.expect(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = fields.expect(SEQUENCE)?.rest();
        let mut key_info = fields.expect(SEQUENCE)?;
        let key_algorithm = key_info.expect(SEQUENCE)?.rest();
        let key = bit_string(key_info.expect(BIT_STRING)?.rest())?;
        fields.optional(0x81);
        fields.optional(0x82);
        let extensions = match fields.optional(0xa3) {
            Some(mut list) => Extensions::parse(list.expect(SEQUENCE)?)?,
            None => Extensions::default(),
        };
        Some(Certificate {
            version,
            signed,
            signature_algorithm,
            signature,
            issuer,
            subject,
            not_before,
            not_after,
            key_algorithm,
            key,
            extensions,
        })
    }
}

impl<'a> Extensions<'a> {
    fn parse(mut list: Der<'a>) -> Option<Self> {
        let mut extensions = Extensions::default();
        while !list.is_empty() {
            let mut extension = list.expect(SEQUENCE)?;
            let id = extension.expect(0x06)?.rest();
            let is_critical = extension.optional(BOOLEAN).is_some_and(|flag| flag.rest() != [0]);
            let value = extension.expect(OCTET_STRING)?;
            let is_known = extensions.read(id, value)?;
            extensions.has_unknown_critical |= is_critical && !is_known;
        }
        Some(extensions)
    }

    /// Reads one extension. Returns whether it is understood.
    fn read(&mut self, id: &[u8], mut value: Der<'a>) -> Option<bool> {
        let &[0x55, 0x1d, number] = id else { return Some(false) };
        match number {
            // keyUsage: bit 5 is keyCertSign.
            15 => {
                let bits = bit_string_with_unused(value.expect(BIT_STRING)?.rest())?;
                self.signs_certificates = Some(bits.first().is_some_and(|byte| byte & 0x04 != 0));
            }
            17 => return self.read_names(value.expect(SEQUENCE)?),
            19 => {
                let mut fields = value.expect(SEQUENCE)?;
                let is_authority = fields.optional(BOOLEAN).is_some_and(|flag| flag.rest() != [0]);
                let max_path = fields.optional(0x02).map(|number| unsigned(number.rest()));
                self.authority = Some(BasicConstraints { is_authority, max_path });
            }
            30 => {
                let mut fields = value.expect(SEQUENCE)?;
                let mut is_known = true;
                self.permitted =
                    fields.optional(0xa0).map(|list| Subtrees::parse(list, &mut is_known)).unwrap_or(Some(None))?;
                self.excluded =
                    fields.optional(0xa1).map(|list| Subtrees::parse(list, &mut is_known)).unwrap_or(Some(None))?;
                return Some(is_known);
            }
            37 => {
                let mut purposes = value.expect(SEQUENCE)?;
                let mut is_allowed = false;
                while !purposes.is_empty() {
                    let purpose = purposes.expect(0x06)?.rest();
                    is_allowed |= purpose == SERVER_AUTH || purpose == ANY_PURPOSE;
                }
                self.authenticates_servers = Some(is_allowed);
            }
            // Identifiers of keys, policies and places of revocation lists are understood and not used.
            14 | 31 | 32 | 33 | 35 | 36 | 54 => {}
            _ => return Some(false),
        }
        Some(true)
    }

    fn read_names(&mut self, mut names: Der<'a>) -> Option<bool> {
        let mut is_any_known = false;
        while !names.is_empty() {
            let (tag, value) = names.next()?;
            self.has_names = true;
            match tag {
                0x82 => self.dns_names.push(std::str::from_utf8(value).ok()?),
                0x87 if matches!(value.len(), 4 | 16) => self.addresses.push(value),
                0x87 => return None,
                // Names of mailboxes and URIs do not name a server.
                0x81 | 0x86 => {}
                _ => continue,
            }
            is_any_known = true;
        }
        Some(is_any_known)
    }
}

impl<'a> Subtrees<'a> {
    /// Reads subtrees. `is_known` turns false when there are kinds of names that nobody here understands.
    fn parse(mut list: Der<'a>, is_known: &mut bool) -> Option<Option<Self>> {
        let mut subtrees = Subtrees::default();
        while !list.is_empty() {
            let (tag, value) = list.expect(SEQUENCE)?.next()?;
            match tag {
                0x82 => subtrees.dns_names.push(std::str::from_utf8(value).ok()?),
                0x87 if matches!(value.len(), 8 | 32) => subtrees.addresses.push(value),
                0x81 | 0x86 => {}
                _ => *is_known = false,
            }
        }
        Some(Some(subtrees))
    }
}

/// serverAuth.
const SERVER_AUTH: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// anyExtendedKeyUsage.
const ANY_PURPOSE: [u8; 4] = [0x55, 0x1d, 0x25, 0x00];

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0u64, |number, byte| number.saturating_mul(256).saturating_add(u64::from(*byte)))
}

/// The bytes of a bit string whose last ones may be unused.
fn bit_string_with_unused(content: &[u8]) -> Option<&[u8]> {
    content.split_first().map(|(_, bits)| bits)
}
