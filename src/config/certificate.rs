//! Name and validity of a certificate, for people.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::clock::Timestamp;

/// The first certificate of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `CN=…`, or the first DNS name where there is no common name.
    pub name: String,
    /// The end of its validity (RFC 5280 section 4.1.2.5).
    pub not_after: Timestamp,
}

/// Why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No PEM certificate comes first.
    #[error("no certificate in it")]
    Absent,
    /// What the PEM text holds is no certificate.
    #[error("not an X.509 certificate")]
    Malformed,
}

impl Certificate {
    /// Below this many days a certificate is reported.
    pub const SOON_DAYS: i64 = 30;

    /// Reads the first certificate of a PEM file.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_file(path).map_err(|_| CertificateError::Absent)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| CertificateError::Malformed)?;
        let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let alternative = certificate.subject_alternative_name().ok().flatten().and_then(|names| {
            names.value.general_names.iter().find_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
        });
        let name = match (common, alternative) {
            (Some(common), _) => format!("CN={common}"),
            (None, Some(alternative)) => alternative.to_owned(),
            (None, None) => "a certificate without a name".to_owned(),
        };
        let not_after = Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp());
        Ok(Self { name, not_after })
    }

    /// Whole days until it expires; negative once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.unix_seconds() - now.unix_seconds()).div_euclid(86_400)
    }
}
