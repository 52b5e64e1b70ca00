//! Verifies servers as Go's clients do, so that whatever Prometheus scrapes can be scraped: a certificate that is itself
//! trusted is accepted whatever its constraints say, and old versions and unusual purposes are judged by the same rules.
//!
//! The search for a chain leads from the server's certificate over those that it sent to a trusted one. Each certificate must
//! be signed by the next one, which must be an authority. The numbers of signatures and of comparisons are limited.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::{Certificate, Subtrees};

/// Maximum number of signatures that are checked, as in Go.
const MAX_SIGNATURES: usize = 100;
/// Maximum number of comparisons of a name with a constraint, as in Go.
const MAX_COMPARISONS: usize = 250_000;
/// The longest chain.
const MAX_CHAIN: usize = 16;

/// Trusted certificates.
#[derive(Debug, Default)]
pub(super) struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// The certificates that can be read; the others are left out.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        Roots(certificates.into_iter().filter(|certificate| Certificate::parse(certificate).is_some()).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a server is not trusted, in Go's words.
#[derive(Debug)]
struct Distrust(String);

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls: failed to verify certificate: x509: {}", self.0)
    }
}

impl std::error::Error for Distrust {}

/// Verifies the servers of one host.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The name that certificates must have.
    pub(super) host: String,
    /// `None` verifies nothing.
    pub(super) roots: Option<Arc<Roots>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match verify(leaf, intermediates, roots, &self.host, now, &self.algorithms) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(why) => Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Distrust(why)))))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_handshake(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_handshake(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    fn verify_handshake(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.roots.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let bad = |error| Err(Error::InvalidCertificate(error));
        let Some(certificate) = Certificate::parse(certificate) else { return bad(CertificateError::BadEncoding) };
        let mapped = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
        let algorithms = mapped.map_or(&[][..], |(_, algorithms)| algorithms);
        let fits = |algorithm: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            *algorithm.public_key_alg_id() == *certificate.key_algorithm
        };
        let is_valid = algorithms
            .iter()
            .filter(fits)
            .any(|algorithm| algorithm.verify_signature(certificate.key, message, signature.signature()).is_ok());
        if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { bad(CertificateError::BadSignature) }
    }
}

/// Checks a server's certificate. The error says in Go's words what is wrong.
pub(super) fn verify(
    leaf: &[u8],
    intermediates: &[CertificateDer<'_>],
    roots: &Roots,
    host: &str,
    now: i64,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), String> {
    let parsed = Certificate::parse(leaf).ok_or("malformed certificate")?;
    check_common(&parsed, now)?;
    check_host(&parsed, host)?;
    let sent: Vec<Certificate<'_>> = intermediates.iter().filter_map(|sent| Certificate::parse(sent)).collect();
    let trusted: Vec<Certificate<'_>> = roots.0.iter().filter_map(|root| Certificate::parse(root)).collect();
    let mut last_error = "certificate signed by unknown authority".to_string();
    if roots.0.iter().any(|root| root[..] == *leaf) {
        return check_purpose(&[&parsed]);
    }
    let search = Search {
        sent: &sent,
        trusted: &trusted,
        now,
        algorithms,
        signatures: Cell::new(MAX_SIGNATURES),
        comparisons: Cell::new(MAX_COMPARISONS),
    };
    if search.extend(&mut vec![&parsed], &mut last_error) { Ok(()) } else { Err(last_error) }
}

/// The search of a chain.
struct Search<'c, 'a> {
    sent: &'c [Certificate<'a>],
    trusted: &'c [Certificate<'a>],
    now: i64,
    algorithms: &'c WebPkiSupportedAlgorithms,
    /// How many signatures may still be checked.
    signatures: Cell<usize>,
    /// How many names may still be compared with constraints.
    comparisons: Cell<usize>,
}

impl<'c, 'a> Search<'c, 'a> {
    /// Whether the chain can be extended to a trusted certificate. `error` is what was wrong with the last candidate.
    fn extend(&self, chain: &mut Vec<&'c Certificate<'a>>, error: &mut String) -> bool
    where
        'a: 'c,
    {
        if chain.len() >= MAX_CHAIN {
            return false;
        }
        let child = chain[chain.len() - 1];
        for (candidates, is_trusted) in [(self.trusted, true), (self.sent, false)] {
            for parent in candidates.iter().filter(|parent| parent.subject == child.issuer) {
                let is_used = chain.iter().any(|used| used.subject == parent.subject && used.key == parent.key);
                if is_used {
                    continue;
                }
                if let Err(why) = self.check_link(chain, child, parent, is_trusted) {
                    *error = why;
                    continue;
                }
                chain.push(parent);
                let is_found = if is_trusted {
                    check_purpose(chain).map_err(|why| *error = why).is_ok()
                } else {
                    self.extend(chain, error)
                };
                if is_found {
                    return true;
                }
                chain.pop();
            }
        }
        false
    }

    fn check_link(
        &self,
        chain: &[&Certificate<'_>],
        child: &Certificate<'_>,
        parent: &Certificate<'_>,
        is_trusted: bool,
    ) -> Result<(), String> {
        spend(&self.signatures, 1).ok_or("signature check attempts limit reached while verifying certificate chain")?;
        let constraints = parent.extensions.authority;
        let is_authority = constraints.is_some_and(|constraints| constraints.is_authority);
        // Certificates of the first versions cannot say that they are authorities.
        let may_sign = is_authority || (parent.version < 3 && constraints.is_none());
        if !may_sign || parent.extensions.signs_certificates == Some(false) {
            return Err("invalid signature: parent certificate cannot sign this kind of certificate".into());
        }
        self.check_signature(child, parent)?;
        check_common(parent, self.now)?;
        if !is_trusted && !is_authority {
            return Err("certificate is not authorized to sign other certificates".into());
        }
        let below = chain.len() as u64 - 1;
        if constraints.and_then(|constraints| constraints.max_path).is_some_and(|max| below > max) {
            return Err("too many intermediates for path length constraint".into());
        }
        self.check_names(chain, parent)
    }

    /// The names of the certificates below an authority must be within its constraints.
    fn check_names(&self, chain: &[&Certificate<'_>], authority: &Certificate<'_>) -> Result<(), String> {
        let (permitted, excluded) = (&authority.extensions.permitted, &authority.extensions.excluded);
        if permitted.is_none() && excluded.is_none() {
            return Ok(());
        }
        let both = || permitted.iter().chain(excluded);
        let on_names: usize = both().map(|subtrees| subtrees.dns_names.len()).sum();
        let on_addresses: usize = both().map(|subtrees| subtrees.addresses.len()).sum();
        let compare = |constraints| {
            spend(&self.comparisons, constraints).ok_or("limit on comparisons of names with name constraints reached")
        };
        for certificate in chain {
            for name in &certificate.extensions.dns_names {
                compare(on_names)?;
                let within = |subtrees: &Subtrees<'_>| subtrees.dns_names.iter().any(|tree| is_below(name, tree));
                let is_constrained = |subtrees: &Subtrees<'_>| !subtrees.dns_names.is_empty();
                check_subtrees(name, permitted, excluded, is_constrained, within)?;
            }
            for address in &certificate.extensions.addresses {
                compare(on_addresses)?;
                let within = |subtrees: &Subtrees<'_>| subtrees.addresses.iter().any(|net| is_in_network(address, net));
                let is_constrained = |subtrees: &Subtrees<'_>| !subtrees.addresses.is_empty();
                let shown = to_address(address).map_or(String::new(), |address| address.to_string());
                check_subtrees(&shown, permitted, excluded, is_constrained, within)?;
            }
        }
        Ok(())
    }

    fn check_signature(&self, child: &Certificate<'_>, parent: &Certificate<'_>) -> Result<(), String> {
        let mut of_kind = self
            .algorithms
            .all
            .iter()
            .filter(|algorithm| *algorithm.signature_alg_id() == *child.signature_algorithm)
            .peekable();
        if of_kind.peek().is_none() {
            return Err("cannot verify signature: algorithm unimplemented or insecure".into());
        }
        let is_valid = of_kind
            .filter(|algorithm| *algorithm.public_key_alg_id() == *parent.key_algorithm)
            .any(|algorithm| algorithm.verify_signature(parent.key, child.signed, child.signature).is_ok());
        if is_valid { Ok(()) } else { Err("certificate signed by unknown authority".into()) }
    }
}

/// What every certificate of a chain must fulfil.
fn check_common(certificate: &Certificate<'_>, now: i64) -> Result<(), String> {
    if certificate.extensions.has_unknown_critical {
        return Err("unhandled critical extension".into());
    }
    if now < certificate.not_before {
        return Err("certificate has expired or is not yet valid: it is not valid yet".into());
    }
    if now > certificate.not_after {
        return Err("certificate has expired or is not yet valid: it has expired".into());
    }
    Ok(())
}

/// Every certificate of a chain that names purposes must name that of servers, or any.
fn check_purpose(chain: &[&Certificate<'_>]) -> Result<(), String> {
    match chain.iter().all(|certificate| certificate.extensions.authenticates_servers != Some(false)) {
        true => Ok(()),
        false => Err("certificate specifies an incompatible key usage".into()),
    }
}

fn check_host(certificate: &Certificate<'_>, host: &str) -> Result<(), String> {
    let extensions = &certificate.extensions;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let is_named = extensions.addresses.iter().any(|named| to_address(named) == Some(address.to_canonical()));
        return match is_named {
            true => Ok(()),
            false if extensions.addresses.is_empty() => {
                Err(format!("cannot validate certificate for {host} because it doesn't contain any IP SANs"))
            }
            false => Err(format!("certificate is not valid for the address {host}")),
        };
    }
    if !extensions.has_names {
        return Err("certificate relies on legacy Common Name field, use SANs instead".into());
    }
    match extensions.dns_names.iter().any(|pattern| matches_host(pattern, host)) {
        true => Ok(()),
        false => Err(format!("certificate is valid for {}, not {host}", extensions.dns_names.join(", "))),
    }
}

fn to_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}

/// Whether a host has a name of a certificate, whose first label may be a `*`.
fn matches_host(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    if pattern.is_empty() || host.is_empty() {
        return false;
    }
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// Takes from what is left of a limit. Returns `None` if that is not enough.
fn spend(left: &Cell<usize>, amount: usize) -> Option<()> {
    left.set(left.get().checked_sub(amount)?);
    Some(())
}

fn check_subtrees(
    name: &str,
    permitted: &Option<Subtrees<'_>>,
    excluded: &Option<Subtrees<'_>>,
    is_constrained: impl Fn(&Subtrees<'_>) -> bool,
    within: impl Fn(&Subtrees<'_>) -> bool,
) -> Result<(), String> {
    if excluded.as_ref().is_some_and(&within) {
        return Err(format!(
            "a root or intermediate certificate is not authorized to sign for this name: {name:?} is excluded"
        ));
    }
    if permitted.as_ref().is_some_and(|permitted| is_constrained(permitted) && !within(permitted)) {
        return Err(format!(
            "a root or intermediate certificate is not authorized to sign for this name: {name:?} is not permitted"
        ));
    }
    Ok(())
}

/// Whether a name is a domain or, if the constraint begins with a dot, below it.
fn is_below(name: &str, tree: &str) -> bool {
    if tree.is_empty() {
        return true;
    }
    let (name, must_be_below) = (name.to_ascii_lowercase(), tree.starts_with('.'));
    let tree = tree.trim_start_matches('.').to_ascii_lowercase();
    match name.strip_suffix(&tree) {
        Some("") => !must_be_below,
        Some(above) => above.ends_with('.'),
        None => false,
    }
}

fn is_in_network(address: &[u8], network: &[u8]) -> bool {
    let (base, mask) = network.split_at(network.len() / 2);
    address.len() == base.len() && address.iter().zip(base).zip(mask).all(|((a, b), mask)| a & mask == b & mask)
}

#[cfg(test)]
mod tests;
