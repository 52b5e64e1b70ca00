//! The cryptography of the client: that of *ring*, with what servers have beyond it.

use std::sync::{Arc, LazyLock};

use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{DerSignature, VerifyingKey};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

use super::cbc;

/// The provider, which all clients share.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.extend(cbc::suites(&provider.cipher_suites));
        provider.signature_verification_algorithms = algorithms(provider.signature_verification_algorithms);
        Arc::new(provider)
    });
    PROVIDER.clone()
}

/// Adds keys on P-521 and RSA keys between 1,024 and 2,048 bits.
fn algorithms(known: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    type Algorithms = Vec<&'static dyn SignatureVerificationAlgorithm>;
    let added: [(SignatureScheme, &'static dyn SignatureVerificationAlgorithm); 3] = [
        (SignatureScheme::ECDSA_NISTP521_SHA512, &P521),
        (SignatureScheme::RSA_PKCS1_SHA256, &SHORT_RSA_SHA256),
        (SignatureScheme::RSA_PKCS1_SHA512, &SHORT_RSA_SHA512),
    ];
    let all: Algorithms = known.all.iter().copied().chain(added.map(|(_, algorithm)| algorithm)).collect();
    let mut mapping: Vec<(SignatureScheme, Algorithms)> =
        known.mapping.iter().map(|(scheme, algorithms)| (*scheme, algorithms.to_vec())).collect();
    for (scheme, algorithm) in added {
        match mapping.iter_mut().find(|(known, _)| *known == scheme) {
            Some((_, algorithms)) => algorithms.push(algorithm),
            None => mapping.push((scheme, vec![algorithm])),
        }
    }
    // Once in the life of the process.
    let mapping: Vec<(SignatureScheme, &'static [&'static dyn SignatureVerificationAlgorithm])> =
        mapping.into_iter().map(|(scheme, algorithms)| (scheme, &*algorithms.leak())).collect();
    WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() }
}

/// ECDSA with SHA-512 and a key on P-521.
#[derive(Debug)]
struct P521;

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::try_from(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

/// RSA with a key that may be as short as 1,024 bits.
#[derive(Debug)]
struct ShortRsa {
    signature: AlgorithmIdentifier,
    algorithm: &'static dyn VerificationAlgorithm,
}

static SHORT_RSA_SHA256: ShortRsa = ShortRsa {
    signature: alg_id::RSA_PKCS1_SHA256,
    algorithm: &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
};

static SHORT_RSA_SHA512: ShortRsa = ShortRsa {
    signature: alg_id::RSA_PKCS1_SHA512,
    algorithm: &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
};

impl SignatureVerificationAlgorithm for ShortRsa {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.algorithm, key).verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}
