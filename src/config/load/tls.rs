//! `server.tls`: the certificate chain, its key and client certificates.

use std::path::Path;
use std::time::Duration;

use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use toml::Spanned;

use super::super::certificate::Certificate;
use super::super::{ClientAuth, Tls, raw};
use super::{Disk, Loader};

/// The default of `hsts`, as is common.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// `client_certificates`.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    Off,
    Optional,
    Required,
}

impl Loader<'_> {
    pub(super) fn tls(&mut self, raw: &Spanned<raw::Tls>) -> Option<Tls> {
        let (span, raw) = (raw.span(), raw.get_ref());
        let client_auth = self.client_auth(raw);
        for (key, written) in [("cert_file", &raw.cert_file), ("key_file", &raw.key_file)] {
            if written.is_none() {
                self.missing(&span, key, "server.tls");
            }
        }
        let cert_file = raw.cert_file.as_ref().map(|written| self.chain(written));
        let key_file = raw.key_file.as_ref().map(|written| self.key_file("key_file", written));
        if let (Some(chain), Some(key), Some(written)) = (&cert_file, &key_file, &raw.key_file) {
            self.pair(written, chain, key);
        }
        Some(Tls { cert_file: cert_file?, key_file: key_file?, client_auth })
    }

    /// A duration, or `off`.
    pub(super) fn hsts(&mut self, written: Option<&Spanned<String>>) -> Option<Duration> {
        match written {
            Some(written) if written.get_ref() == "off" => None,
            written => Some(self.duration("hsts", written, YEAR, &(Duration::ZERO..=2 * YEAR))),
        }
    }

    pub(super) fn chain(&mut self, written: &Spanned<String>) -> std::path::PathBuf {
        let path = self.certificates("cert_file", written);
        if let (Some(Disk { now, .. }), Ok(leaf)) = (self.disk, Certificate::read(&path)) {
            let label = match leaf.days_left(now) {
                days if days < 0 => "it has expired: clients will refuse to connect".to_owned(),
                0 => "it expires today".to_owned(),
                1 => "it expires tomorrow".to_owned(),
                days if days < Certificate::SOON_DAYS => format!("it expires in {days} days"),
                _ => return path,
            };
            let message = format!("the certificate of `{}` needs to be renewed", leaf.name);
            let problem = self.warning(written.span(), message, label);
            self.report(problem);
        }
        path
    }

    /// A PEM file with at least one certificate.
    pub(super) fn certificates(&mut self, key: &str, written: &Spanned<String>) -> std::path::PathBuf {
        let path = self.existing(key, written);
        if self.disk.is_some() && path.is_file() {
            let label = match first_certificate(&path) {
                Ok(()) => return path,
                Err(label) => label,
            };
            let problem = self.error(written.span(), format!("`{key}`: no certificate to use"), label);
            self.report(problem.help("it must be PEM text with `-----BEGIN CERTIFICATE-----`"));
        }
        path
    }

    /// A PEM file with a private key.
    pub(super) fn key_file(&mut self, key: &str, written: &Spanned<String>) -> std::path::PathBuf {
        let path = self.existing(key, written);
        if self.disk.is_some() && path.is_file() {
            if PrivateKeyDer::from_pem_file(&path).is_err() {
                let message = format!("`{key}`: no private key to use");
                let problem = self.error(written.span(), message, "not a PEM private key");
                self.report(problem.help("it must be PEM text with `-----BEGIN PRIVATE KEY-----`"));
            }
            self.exposed(key, written.span(), &path);
        }
        path
    }

    /// The key must be the one the certificate was made for. Files that cannot be read have been reported.
    pub(super) fn pair(&mut self, written: &Spanned<String>, chain: &Path, key: &Path) {
        if self.disk.is_none() {
            return;
        }
        let (Ok(leaf), Ok(key)) = (CertificateDer::from_pem_file(chain), PrivateKeyDer::from_pem_file(key)) else {
            return;
        };
        let message = match rustls::crypto::aws_lc_rs::sign::any_supported_type(&key) {
            Err(_) => "`key_file`: a private key of a kind that cannot be used",
            Ok(key) => match CertifiedKey::new(vec![leaf], key).keys_match() {
                Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                    "`key_file` is not the key of the certificate in `cert_file`"
                }
                // Whatever else is wrong with the certificate is said of the certificate.
                _ => return,
            },
        };
        let problem = self.error(written.span(), message, "the key of another certificate?");
        self.report(problem.help("use the key the certificate was requested with; both files change together"));
    }

    fn client_auth(&mut self, raw: &raw::Tls) -> ClientAuth {
        let words = [
            ("any", Wanted::Any),
            ("off", Wanted::Off),
            ("optional", Wanted::Optional),
            ("required", Wanted::Required),
        ];
        let wanted = self.choice("client_certificates", raw.client_certificates.as_ref(), &words, &[]);
        let authorities = raw.client_ca_file.as_ref().map(|written| self.certificates("client_ca_file", written));
        match (wanted, authorities) {
            // Whoever names authorities and says no more wants certificates checked.
            (None | Some(Wanted::Required), Some(path)) => ClientAuth::Required(path),
            (Some(Wanted::Optional), Some(path)) => ClientAuth::Optional(path),
            (Some(Wanted::Any), None) => ClientAuth::Any,
            (Some(Wanted::Any | Wanted::Off), Some(_)) => {
                let span = raw.client_ca_file.as_ref().map(Spanned::span).unwrap_or_default();
                let problem = self.error(span, "`client_ca_file` has no effect", "certificates are not checked");
                self.report(problem.help("take it out, or write `client_certificates = \"required\"`"));
                ClientAuth::Off
            }
            (Some(Wanted::Optional | Wanted::Required), None) => {
                let span = raw.client_certificates.as_ref().map(Spanned::span).unwrap_or_default();
                let problem = self.error(span, "`client_certificates` needs `client_ca_file`", "checked against what?");
                self.report(problem.help("for example `client_ca_file = \"clients.pem\"`"));
                ClientAuth::Off
            }
            (None | Some(Wanted::Off), None) => ClientAuth::Off,
        }
    }
}

fn first_certificate(path: &Path) -> Result<(), String> {
    let mut all = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    match all.next() {
        Some(Ok(_)) => Certificate::read(path).map(|_| ()).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("no certificate in it".to_owned()),
    }
}
