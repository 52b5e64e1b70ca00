//! Certificates as exporters have them.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};

use super::*;
use crate::tls::provider::provider;

const NOW: i64 = 1_800_000_000;

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    params
}

/// An authority with a key.
struct Authority(rcgen::Certificate, Issuer<'static, KeyPair>);

fn authority(change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority(certificate, Issuer::new(params, key))
}

impl Authority {
    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = params(&["host.example", "127.0.0.1"]);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.1).unwrap().der().clone()
    }

    fn roots(&self) -> Roots {
        Roots::new(vec![self.0.der().clone()])
    }
}

fn check(leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>], roots: &Roots, host: &str) -> Result<(), String> {
    verify(leaf, sent, roots, host, NOW, &provider().signature_verification_algorithms)
}

#[test]
fn a_certificate_of_a_trusted_authority_is_good_for_its_names() {
    let authority = authority(|_| {});
    let leaf = authority.sign(|_| {});
    for host in ["host.example", "HOST.example", "host.example.", "127.0.0.1", "::ffff:127.0.0.1"] {
        assert_eq!(check(&leaf, &[], &authority.roots(), host), Ok(()), "{host}");
    }
    for host in ["other.example", "a.host.example", "127.0.0.2", "example"] {
        assert!(check(&leaf, &[], &authority.roots(), host).is_err(), "{host}");
    }
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let authority = authority(|_| {});
    let leaf = authority.sign(|p| p.subject_alt_names = vec![SanType::DnsName("*.host.example".try_into().unwrap())]);
    assert_eq!(check(&leaf, &[], &authority.roots(), "a.host.example"), Ok(()));
    for host in ["host.example", "a.b.host.example", ".host.example"] {
        assert!(check(&leaf, &[], &authority.roots(), host).is_err(), "{host}");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_is_good_if_it_is_trusted() {
    let mut params = params(&["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    assert_eq!(check(&der, &[], &Roots::new(vec![der.clone()]), "localhost"), Ok(()));
    let error = check(&der, &[], &authority(|_| {}).roots(), "localhost").unwrap_err();
    assert_eq!(error, "certificate signed by unknown authority");
}

#[test]
fn a_leaf_can_be_trusted_itself() {
    let leaf = authority(|_| {}).sign(|_| {});
    assert_eq!(check(&leaf, &[], &Roots::new(vec![leaf.clone()]), "host.example"), Ok(()));
}

#[test]
fn names_are_required() {
    let authority = authority(|_| {});
    let leaf = authority.sign(|p| p.subject_alt_names.clear());
    let error = check(&leaf, &[], &authority.roots(), "host.example").unwrap_err();
    assert!(error.contains("legacy Common Name"), "{error}");
}

#[test]
fn purposes_must_include_that_of_servers_or_any() {
    let authority = authority(|_| {});
    for (purpose, is_good) in [
        (ExtendedKeyUsagePurpose::ServerAuth, true),
        (ExtendedKeyUsagePurpose::Any, true),
        (ExtendedKeyUsagePurpose::ClientAuth, false),
    ] {
        let leaf = authority.sign(|p| p.extended_key_usages = vec![purpose.clone()]);
        assert_eq!(check(&leaf, &[], &authority.roots(), "host.example").is_ok(), is_good, "{purpose:?}");
    }
}

#[test]
fn certificates_are_good_for_their_time() {
    let authority = authority(|_| {});
    let late = authority.sign(|p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert!(check(&late, &[], &authority.roots(), "host.example").unwrap_err().contains("has expired"));
    let early = authority.sign(|p| p.not_before = rcgen::date_time_ymd(2100, 1, 1));
    assert!(check(&early, &[], &authority.roots(), "host.example").unwrap_err().contains("not valid yet"));
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let authority = authority(|_| {});
    for (is_critical, is_good) in [(false, true), (true, false)] {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(is_critical);
        let leaf = authority.sign(|p| p.custom_extensions = vec![extension]);
        assert_eq!(check(&leaf, &[], &authority.roots(), "host.example").is_ok(), is_good);
    }
}

/// A root, an authority below it, and a certificate of that.
fn chain(change: impl FnOnce(&mut CertificateParams)) -> (Roots, CertificateDer<'static>, CertificateDer<'static>) {
    let root = authority(|_| {});
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let between = params.signed_by(&key, &root.1).unwrap();
    let leaf = Authority(between.clone(), Issuer::new(params, key)).sign(|_| {});
    (root.roots(), between.der().clone(), leaf)
}

#[test]
fn a_chain_leads_over_the_certificates_that_were_sent() {
    let (roots, between, leaf) = chain(|_| {});
    assert_eq!(check(&leaf, std::slice::from_ref(&between), &roots, "host.example"), Ok(()));
    assert!(check(&leaf, &[], &roots, "host.example").is_err(), "a link is missing");
    let others = authority(|_| {}).roots();
    assert!(check(&leaf, &[between], &others, "host.example").is_err(), "another root of the same name");
}

#[test]
fn only_authorities_can_sign() {
    for change in [
        (|p: &mut CertificateParams| p.is_ca = IsCa::ExplicitNoCa) as fn(&mut CertificateParams),
        |p| p.is_ca = IsCa::NoCa,
        |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
    ] {
        let (roots, between, leaf) = chain(change);
        assert!(check(&leaf, &[between], &roots, "host.example").is_err());
    }
}

#[test]
fn the_length_of_a_path_is_limited() {
    let root = authority(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(check(&root.sign(|_| {}), &[], &root.roots(), "host.example"), Ok(()));
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let between = params.signed_by(&key, &root.1).unwrap();
    let leaf = Authority(between.clone(), Issuer::new(params, key)).sign(|_| {});
    let error = check(&leaf, &[between.der().clone()], &root.roots(), "host.example").unwrap_err();
    assert!(error.contains("path length"), "{error}");
}

#[test]
fn constraints_on_names_hold() {
    let tree = |name: &str| GeneralSubtree::DnsName(name.into());
    for (permitted, excluded, is_good) in [
        (vec![tree("example")], vec![], true),
        (vec![tree("other")], vec![], false),
        (vec![], vec![tree("host.example")], false),
        (vec![], vec![tree("a.host.example")], true),
    ] {
        let constraints = NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded };
        let root = authority(|p| p.name_constraints = Some(constraints));
        assert_eq!(check(&root.sign(|_| {}), &[], &root.roots(), "host.example").is_ok(), is_good);
    }
}

#[test]
fn comparisons_of_names_with_constraints_are_limited() {
    let trees = (0..600).map(|n| GeneralSubtree::DnsName(format!("other-{n}.example"))).collect();
    let constraints = NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: trees };
    let root = authority(|p| p.name_constraints = Some(constraints));
    let leaf = |names: usize| {
        let names = (0..names).map(|n| SanType::DnsName(format!("host-{n}.example").try_into().unwrap()));
        root.sign(|params| params.subject_alt_names.extend(names))
    };
    assert_eq!(check(&leaf(10), &[], &root.roots(), "host.example"), Ok(()));
    let error = check(&leaf(600), &[], &root.roots(), "host.example").unwrap_err();
    assert!(error.contains("limit on comparisons"), "{error}");
}

#[test]
fn a_changed_certificate_is_refused() {
    let authority = authority(|_| {});
    let leaf = authority.sign(|_| {});
    for at in (0..leaf.len()).step_by(7) {
        let mut changed = leaf.to_vec();
        changed[at] ^= 0x40;
        assert!(check(&changed.into(), &[], &authority.roots(), "host.example").is_err(), "byte {at}");
    }
    for length in 0..leaf.len() {
        assert!(Certificate::parse(&leaf[..length]).is_none(), "{length} bytes");
    }
}
