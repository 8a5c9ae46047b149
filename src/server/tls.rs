//! TLS toward clients: one certificate, which a reload replaces without affecting open connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

use crate::clock::Timestamp;
use crate::config::{self, ClientAuth, Config, Problem};

/// Why the files of `server.tls` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing, unreadable or malformed.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("no certificate in `{}`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate is not a valid X.509 certificate.
    #[error("the first certificate in `{}` is malformed", path.display())]
    Leaf {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not match, or are of an unsupported kind.
    #[error("cannot serve `{}`: {source}", path.display())]
    Pair {
        /// The certificate file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The certificate authorities for clients cannot be used.
    #[error("cannot verify clients by `{}`: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl TlsError {
    /// The error as a problem at the key of `proxy.toml` that names the file.
    pub fn problem(&self, config: &Config, files: &config::Tls) -> Problem {
        let key = match self {
            Self::Leaf { .. } | Self::Pair { .. } => "cert_file",
            Self::Empty { path } | Self::File { path, .. } if *path == files.cert_file => "cert_file",
            Self::Empty { path } | Self::File { path, .. } if *path == files.key_file => "key_file",
            Self::Authorities { .. } | Self::Empty { .. } | Self::File { .. } => "client_ca_file",
        };
        let place = config.place(&format!("server.tls.{key}"));
        Problem::error(&config.source(), place, format!("server.tls.{key}: {}", crate::cli::chain(self)), "")
    }
}

/// Makes aws-lc-rs the process's cryptography provider. `main` calls it first; later calls have no effect.
pub fn install_default() {
    // It only errs if a provider is installed, which is always this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The TLS configuration of the listeners, which a reload replaces.
#[derive(Debug)]
pub struct Tls {
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    expires: Timestamp,
}

impl Tls {
    /// Reads the files of `server.tls`. Errs if they cannot be used.
    pub fn load(files: &config::Tls) -> Result<Self, TlsError> {
        Ok(Self { current: ArcSwap::from_pointee(Current::load(files)?) })
    }

    /// Uses the configuration of `newer` for further handshakes.
    ///
    /// The whole configuration is replaced, not only the certificate: it has the cache of resumable sessions, which a change
    /// of client authorities must affect too.
    pub fn replace(&self, newer: &Self) {
        self.current.store(newer.current.load_full());
    }

    /// When the certificate expires.
    pub fn expires(&self) -> Timestamp {
        self.current.load().expires
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }
}

impl Current {
    fn load(files: &config::Tls) -> Result<Self, TlsError> {
        let chain = certificates(&files.cert_file)?;
        let expires = expiry(chain.first(), &files.cert_file)?;
        let key = PrivateKeyDer::from_pem_file(&files.key_file)
            .map_err(|source| TlsError::File { path: files.key_file.clone(), source })?;
        let pair = |source| TlsError::Pair { path: files.cert_file.clone(), source };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(pair)?;
        let builder = match &files.client_auth {
            ClientAuth::Any => builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider))),
            ClientAuth::Off => builder.with_no_client_auth(),
            ClientAuth::Optional(path) | ClientAuth::Required(path) => {
                let required = matches!(files.client_auth, ClientAuth::Required(_));
                builder.with_client_cert_verifier(verifier(path, required, provider)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // No early data: a replay of it would repeat a call.
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), expires })
    }
}

/// Accepts any certificate whose key the client proves to hold; its content is not verified.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: rustls_pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn verifier(
    path: &Path,
    required: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let failed = |reason: String| TlsError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| failed(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| failed(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

fn expiry(leaf: Option<&CertificateDer<'_>>, path: &Path) -> Result<Timestamp, TlsError> {
    let parsed = leaf.and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let (_, leaf) = parsed.ok_or_else(|| TlsError::Leaf { path: path.to_owned() })?;
    Ok(Timestamp::from_unix_seconds(leaf.validity().not_after.timestamp()))
}
