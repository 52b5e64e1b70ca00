//! The AES-CBC suites of TLS 1.2, which old servers have and rustls lacks. They are offered last, so that only servers that
//! know nothing better choose them.
//!
//! A record is a random block, then the content, its HMAC-SHA-1 and padding, encrypted by AES in CBC mode. Whether the padding
//! or the HMAC is wrong takes about the same time and gives the same error.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::CipherSuite;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm, UnsupportedOperationError,
    make_tls12_aad,
};
use rustls::{ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls12CipherSuite};

const BLOCK: usize = 16;
const MAC: usize = 20;
/// A block, and two with an HMAC and padding.
const SHORTEST_RECORD: usize = 3 * BLOCK;
/// The longest content of a record.
const MAX_CONTENT: usize = 1 << 14;

/// The CBC suites, made of those with GCM and SHA-256.
pub(super) fn suites(known: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    let wanted = [
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
            &AES_128,
        ),
        (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, &AES_128),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
            &AES_256,
        ),
        (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, &AES_256),
    ];
    let like = |model: CipherSuite| {
        known.iter().find_map(|suite| match suite {
            SupportedCipherSuite::Tls12(suite) if suite.common.suite == model => Some(*suite),
            _ => None,
        })
    };
    let make = |(model, suite, aead): (CipherSuite, CipherSuite, &'static AesCbc)| {
        let model = like(model)?;
        let common = rustls::crypto::CipherSuiteCommon {
            suite,
            hash_provider: model.common.hash_provider,
            // Random initial blocks begin to repeat long after that many records.
            confidentiality_limit: 1 << 32,
        };
        // Once in the life of the process.
        let suite = Box::leak(Box::new(Tls12CipherSuite {
            common,
            prf_provider: model.prf_provider,
            kx: model.kx,
            sign: model.sign,
            aead_alg: aead,
        }));
        Some(SupportedCipherSuite::Tls12(suite))
    };
    wanted.into_iter().filter_map(make).collect()
}

static AES_128: AesCbc = AesCbc { key_len: 16 };
static AES_256: AesCbc = AesCbc { key_len: 32 };

/// AES in CBC mode with HMAC-SHA-1. What rustls calls a key is that of the HMAC, and what it calls an initialization vector
/// is the key of AES: in this order they come in the block of keys.
struct AesCbc {
    key_len: usize,
}

impl Tls12AeadAlgorithm for AesCbc {
    fn encrypter(&self, mac_key: AeadKey, key: &[u8], _: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Keys::new(mac_key.as_ref(), key))
    }

    fn decrypter(&self, mac_key: AeadKey, key: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Keys::new(mac_key.as_ref(), key))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape { enc_key_len: MAC, fixed_iv_len: self.key_len, explicit_nonce_len: 0 }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// The keys of one direction.
struct Keys {
    mac: hmac::Key,
    aes: Aes,
}

enum Aes {
    Short(Box<Aes128>),
    Long(Box<Aes256>),
    /// The key has a length that the suites do not have.
    None,
}

impl Keys {
    fn new(mac_key: &[u8], key: &[u8]) -> Self {
        let aes = match key.len() {
            16 => Aes128::new_from_slice(key).map_or(Aes::None, |aes| Aes::Short(Box::new(aes))),
            _ => Aes256::new_from_slice(key).map_or(Aes::None, |aes| Aes::Long(Box::new(aes))),
        };
        Keys { mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, mac_key), aes }
    }
}

impl Aes {
    /// Encrypts whole blocks behind the initial one, which is the first block of `blocks`.
    fn encrypt(&self, blocks: &mut [u8]) {
        let mut previous = Block::default();
        for (number, bytes) in blocks.chunks_exact_mut(BLOCK).enumerate() {
            if number > 0 {
                let mut block = Block::default();
                block.iter_mut().zip(bytes.iter().zip(&previous)).for_each(|(out, (a, b))| *out = a ^ b);
                match self {
                    Aes::Short(aes) => aes.encrypt_block(&mut block),
                    Aes::Long(aes) => aes.encrypt_block(&mut block),
                    Aes::None => {}
                }
                bytes.copy_from_slice(&block);
            }
            previous.copy_from_slice(bytes);
        }
    }

    /// Decrypts whole blocks behind the initial one.
    fn decrypt(&self, blocks: &mut [u8]) {
        let mut previous = Block::default();
        for (number, bytes) in blocks.chunks_exact_mut(BLOCK).enumerate() {
            let mut block = Block::default();
            block.copy_from_slice(bytes);
            let encrypted = block;
            if number > 0 {
                match self {
                    Aes::Short(aes) => aes.decrypt_block(&mut block),
                    Aes::Long(aes) => aes.decrypt_block(&mut block),
                    Aes::None => {}
                }
                bytes.iter_mut().zip(block.iter().zip(&previous)).for_each(|(out, (a, b))| *out = a ^ b);
            }
            previous = encrypted;
        }
    }
}

impl MessageEncrypter for Keys {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        if matches!(self.aes, Aes::None) {
            return Err(Error::EncryptError);
        }
        let content = message.payload.to_vec();
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(&make_tls12_aad(seq, message.typ, message.version, content.len()));
        mac.update(&content);
        let mut initial = [0; BLOCK];
        SystemRandom::new().fill(&mut initial).map_err(|_| Error::FailedToGetRandomBytes)?;
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(content.len()));
        payload.extend_from_slice(&initial);
        payload.extend_from_slice(&content);
        payload.extend_from_slice(mac.sign().as_ref());
        let padding = BLOCK - (content.len() + MAC) % BLOCK;
        payload.extend_from_slice(&[padding as u8 - 1; BLOCK][..padding]);
        self.aes.encrypt(payload.as_mut());
        Ok(OutboundOpaqueMessage::new(message.typ, message.version, payload))
    }

    fn encrypted_payload_len(&self, content: usize) -> usize {
        BLOCK + (content + MAC) / BLOCK * BLOCK + BLOCK
    }
}

impl MessageDecrypter for Keys {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        let length = payload.len();
        if matches!(self.aes, Aes::None) || !length.is_multiple_of(BLOCK) || length < SHORTEST_RECORD {
            return Err(Error::DecryptError);
        }
        self.aes.decrypt(payload);
        let record = &payload[BLOCK..];
        let (padding, is_padding_good) = padding(record);
        // Bad padding counts as none, so that the HMAC is always computed.
        let content = record.len() - MAC - padding;
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(&make_tls12_aad(seq, message.typ, message.version, content));
        mac.update(&record[..content]);
        let expected = mac.sign();
        // What padding saved is hashed as well, for the same time.
        hmac::sign(&self.mac, &record[content..]);
        let is_mac_good = is_equal(expected.as_ref(), &record[content..content + MAC]);
        if !(is_padding_good & is_mac_good) {
            return Err(Error::DecryptError);
        }
        if content > MAX_CONTENT {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok(message.into_plain_message_range(BLOCK..BLOCK + content))
    }
}

/// The length of the padding at the end of a record, and whether it is well formed; 0 if it is not. Looks at the same bytes
/// whatever the padding is.
fn padding(record: &[u8]) -> (usize, bool) {
    let last = record[record.len() - 1];
    let length = usize::from(last) + 1;
    let mut difference = 0;
    for (distance, byte) in record.iter().rev().take(256).enumerate() {
        difference |= if distance < length { byte ^ last } else { 0 };
    }
    let is_good = difference == 0 && length + MAC <= record.len();
    (if is_good { length } else { 0 }, is_good)
}

/// Compares without telling by time where two values differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use rustls::{ContentType, ProtocolVersion};

    use super::*;

    fn keys() -> Keys {
        Keys::new(&[1; MAC], &[2; 32])
    }

    fn encrypted(content: &[u8], seq: u64) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: content.into(),
        };
        let length = keys().encrypted_payload_len(content.len());
        let payload = keys().encrypt(message, seq).unwrap().payload.as_ref().to_vec();
        assert_eq!(payload.len(), length);
        payload
    }

    fn decrypted(mut payload: Vec<u8>, seq: u64) -> Option<Vec<u8>> {
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut payload);
        keys().decrypt(message, seq).ok().map(|message| message.payload.to_vec())
    }

    #[test]
    fn records_of_every_length_survive() {
        for length in (0..70).chain([MAX_CONTENT]) {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(decrypted(encrypted(&content, 7), 7), Some(content), "{length}");
        }
    }

    #[test]
    fn records_that_were_changed_are_refused() {
        let good = encrypted(b"some content of a record", 7);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decrypted(bad, 7), None, "byte {at}");
        }
        assert_eq!(decrypted(good.clone(), 8), None, "another number");
        for length in 0..good.len() {
            assert_eq!(decrypted(good[..length].to_vec(), 7), None, "{length} bytes");
        }
    }

    /// An example of the standard for AES in CBC mode (NIST SP 800-38A, F.2.5), whose first block is the initial one.
    #[test]
    fn the_cipher_is_the_standard_one() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let mut blocks =
            hex("000102030405060708090a0b0c0d0e0f6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        Keys::new(&[1; MAC], &key).aes.encrypt(&mut blocks);
        let expected = "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d";
        assert_eq!(blocks[BLOCK..], hex(expected));
    }
}
