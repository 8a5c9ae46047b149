//! A certificate authority of one run and the localhost certificate it signs.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

use crate::clock::Timestamp;
use crate::secret::Secret;

const DAY: Duration = Duration::from_hours(24);
/// How long both certificates hold.
const LIFETIME_DAYS: u32 = 90;

/// What a TLS listener on loopback needs, and what its clients must trust.
#[derive(Debug)]
pub struct Certificates {
    /// The authority, for `--cacert` and `NODE_EXTRA_CA_CERTS`. Its key is gone once this value exists.
    pub ca_pem: String,
    /// The leaf for `localhost`, `127.0.0.1` and `::1`.
    pub cert_pem: String,
    /// The leaf's private key.
    pub key_pem: Secret<String>,
}

/// A fresh authority and a leaf, good from the day before `now` for ninety days.
pub fn generate(now: Timestamp) -> Result<Certificates, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let ca_params = authority(now)?;
    let ca_pem = ca_params.self_signed(&ca_key)?.pem();
    let leaf_key = KeyPair::generate()?;
    let cert_pem = leaf(now)?.signed_by(&leaf_key, &Issuer::from_params(&ca_params, &ca_key))?.pem();
    Ok(Certificates { ca_pem, cert_pem, key_pem: Secret::new(leaf_key.serialize_pem()) })
}

/// An authority that can vouch for loopback names only (RFC 5280 4.2.1.10): trusting it by mistake costs nothing.
fn authority(now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Portcullis demo authority (this machine only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(std::net::Ipv6Addr::LOCALHOST.into(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    valid_from(&mut params, now);
    Ok(params)
}

fn leaf(now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_from(&mut params, now);
    Ok(params)
}

fn valid_from(params: &mut CertificateParams, now: Timestamp) {
    let yesterday = Timestamp::from_unix_seconds(now.unix_seconds().saturating_sub(24 * 60 * 60));
    let (year, month, day) = date(yesterday);
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = date(yesterday.plus(DAY * LIFETIME_DAYS));
    params.not_after = date_time_ymd(year, month, day);
}

/// Year, month and day of that moment in UTC.
fn date(moment: Timestamp) -> (i32, u8, u8) {
    let text = moment.rfc3339();
    let number = |digits: &[u8]| digits.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let small = |digits: &[u8]| u8::try_from(number(digits)).unwrap_or(1);
    (i32::from(number(&text[..4])), small(&text[5..7]), small(&text[8..10]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

    fn verify(certificates: &Certificates, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = CertificateDer::from_pem_slice(certificates.cert_pem.as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.unix_seconds().unsigned_abs()));
        rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, &leaf, &[], &name, &[], at)?;
        Ok(())
    }

    #[test]
    fn the_leaf_is_good_for_loopback_names_and_ninety_days() {
        let certificates = generate(NOW).unwrap();
        for name in ["localhost", "127.0.0.1", "::1"] {
            verify(&certificates, name, NOW).unwrap();
        }
        verify(&certificates, "example.com", NOW).unwrap_err();
        verify(&certificates, "127.0.0.2", NOW).unwrap_err();
        verify(&certificates, "localhost", NOW.plus(DAY * 88)).unwrap();
        verify(&certificates, "localhost", NOW.plus(DAY * 90)).unwrap_err();
        assert!(!format!("{certificates:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn every_run_has_its_own_keys() {
        let (one, other) = (generate(NOW).unwrap(), generate(NOW).unwrap());
        assert_ne!(one.ca_pem, other.ca_pem);
        assert_ne!(one.key_pem.expose(), other.key_pem.expose());
    }

    #[test]
    fn dates_are_calendar_dates() {
        assert_eq!(date(Timestamp::from_unix_seconds(1_709_164_800)), (2024, 2, 29));
    }
}
