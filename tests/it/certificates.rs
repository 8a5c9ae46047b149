//! The proxy's own certificate, toward an upstream and toward an authorization server (RFC 8705).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use portcullis::clock::Timestamp;
use portcullis::demo::certificate::{self, Certificates};
use portcullis::server::drain::Signal;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Ask, Setup, Upstream, until};

/// Takes the certificates that `known` names, each by its bytes, and no other.
#[derive(Debug)]
struct Known(Vec<CertificateDer<'static>>);

impl ClientCertVerifier for Known {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = self.0.iter().any(|known| known.as_ref() == shown.as_ref());
        if known {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::crypto::verify_tls12_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What was shown: which of the known certificates, the `Authorization` field, the body.
type Noted = Arc<Mutex<Vec<(usize, Option<String>, String)>>>;

/// A server behind TLS that wants one of these certificates: a token endpoint and an upstream in one.
async fn particular(own: &Certificates, known: Vec<CertificateDer<'static>>) -> (String, Noted) {
    let chain = CertificateDer::pem_slice_iter(own.cert_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.expose().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(Known(known.clone())))
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let noted: Noted = Arc::default();
    let notes = noted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (notes, acceptor, known) = (notes.clone(), acceptor.clone(), known.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                let which = known.iter().position(|known| *known == shown).unwrap();
                let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let notes = notes.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let text = String::from_utf8_lossy(&body).into_owned();
                        let field = head.headers.get("authorization").map(|field| field.to_str().unwrap().to_owned());
                        notes.lock().unwrap().push((which, field, text));
                        let answer = if head.uri.path() == "/token" {
                            json!({ "access_token": "issued-1", "token_type": "Bearer", "expires_in": 300 })
                        } else {
                            let id = serde_json::from_slice::<Value>(&body).unwrap_or_default()["id"].clone();
                            json!({ "jsonrpc": "2.0", "id": id, "result": {} })
                        };
                        let builder = http::Response::builder().header("content-type", "application/json");
                        Ok::<_, std::convert::Infallible>(
                            builder.body(Full::new(Bytes::from(answer.to_string()))).unwrap(),
                        )
                    }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (format!("https://localhost:{port}"), noted)
}

fn made() -> Certificates {
    certificate::generate(Timestamp::now()).unwrap()
}

fn leaf(of: &Certificates) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(of.cert_pem.as_bytes()).unwrap()
}

fn listing(token: &str) -> Ask {
    Ask::legacy("tools/list", &json!({})).token(token)
}

#[tokio::test]
async fn rfc_8705_the_proxy_shows_its_certificate_to_the_upstream_and_the_next_one_when_it_changes() {
    portcullis::server::tls::install_default();
    let (server, first, second) = (made(), made(), made());
    let (url, noted) = particular(&server, vec![leaf(&first), leaf(&second)]).await;
    for (auth, shown) in [
        ("upstream_auth = { type = \"mtls\" }", None),
        ("upstream_auth = { type = \"bearer\", token = { file = \"token\" } }", Some("Bearer of-the-proxy".to_owned())),
    ] {
        let setup = Setup::new(format!("{url}/mcp"))
            .file("ca.pem", &server.ca_pem)
            .file("token", "of-the-proxy")
            .file("own.crt", &first.cert_pem)
            .file("own.key", first.key_pem.expose());
        let keys = "upstream_ca_file = \"ca.pem\"\nupstream_client_certificate = { cert_file = \"own.crt\", key_file = \"own.key\" }";
        let proxy = setup.server(keys).server(auth).start().await;
        let ana = proxy.token("ana");
        assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
        let notes = std::mem::take(&mut *noted.lock().unwrap());
        assert_eq!(notes.iter().map(|(which, field, _)| (*which, field.clone())).collect::<Vec<_>>(), [(0, shown)]);
        proxy.folder.write("own.crt", &second.cert_pem);
        proxy.folder.write("own.key", second.key_pem.expose());
        proxy.signal(Signal::Reload).await;
        until("the next certificate", async || {
            assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
            std::mem::take(&mut *noted.lock().unwrap()).iter().any(|(which, ..)| *which == 1).then_some(())
        })
        .await;
        // A key that is not the certificate's keeps what was there before.
        proxy.folder.write("own.key", first.key_pem.expose());
        proxy.signal(Signal::Reload).await;
        until("the failed reload", async || {
            proxy.admin("/readyz?verbose").await.text().contains("reloads fail since").then_some(())
        })
        .await;
        assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
        noted.lock().unwrap().clear();
    }
    // Without one, or with a stranger's, there is no connection.
    let stranger = made();
    for keys in ["", "upstream_client_certificate = { cert_file = \"own.crt\", key_file = \"own.key\" }"] {
        let setup = Setup::new(format!("{url}/mcp"))
            .file("ca.pem", &server.ca_pem)
            .file("own.crt", &stranger.cert_pem)
            .file("own.key", stranger.key_pem.expose());
        let proxy = setup.server("upstream_ca_file = \"ca.pem\"").server(keys).start().await;
        assert_eq!(proxy.ask(&listing(&proxy.token("ana"))).await.status, 502, "{keys}");
        assert!(noted.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn rfc_8705_the_proxy_shows_its_certificate_to_the_token_endpoint() {
    portcullis::server::tls::install_default();
    let (server, own) = (made(), made());
    let (url, noted) = particular(&server, vec![leaf(&own)]).await;
    let upstream = Upstream::plain().await;
    for (method, key) in [("", &own), ("auth_method = \"self_signed_tls_client_auth\", ", &own), ("", &server)] {
        let setup = Setup::new(upstream.url())
            .file("ca.pem", &server.ca_pem)
            .file("own.crt", &key.cert_pem)
            .file("own.key", key.key_pem.expose());
        let keys = format!(
            "upstream_auth = {{ type = \"client_credentials\", token_endpoint = \"{url}/token\", {method}client_id = \"gate\", \
             client_certificate = {{ cert_file = \"own.crt\", key_file = \"own.key\" }}, ca_file = \"ca.pem\" }}"
        );
        let proxy = setup.server(&keys).start().await;
        let status = proxy.ask(&listing(&proxy.token("ana"))).await.status;
        let notes = std::mem::take(&mut *noted.lock().unwrap());
        if std::ptr::eq(key, &raw const server) {
            assert_eq!((status, notes.len()), (503, 0), "a certificate it does not know");
            continue;
        }
        assert_eq!(status, 200);
        // RFC 8705 section 2: the form says whose the certificate is.
        let expected = "grant_type=client_credentials&client_id=gate".to_owned();
        assert_eq!(notes, [(0, None, expected)]);
        assert_eq!(upstream.take()[0].header("authorization").as_deref(), Some("Bearer issued-1"));
    }
}
