//! TLS over loopback with certificates made for the test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Folder, Running, answer, limits, listener, read_until, start};
use crate::config::{self, ClientAuth};
use crate::server::tls::{Tls, TlsError};

/// An authority and what it signs.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), certificate)
    }

    /// A leaf for `name` that stops being valid at the end of `year`, and its key.
    fn leaf(&self, name: &str, year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

struct Site {
    authority: Authority,
    files: config::Tls,
    folder: Folder,
    tls: Arc<Tls>,
    server: Running,
}

fn site(client_auth: impl FnOnce(&Folder) -> ClientAuth) -> Site {
    site_behind(config::Proxies::default(), client_auth)
}

fn site_behind(proxies: config::Proxies, client_auth: impl FnOnce(&Folder) -> ClientAuth) -> Site {
    let (authority, folder) = (Authority::new(), Folder::new());
    let (certificate, key) = authority.leaf("localhost", 2040);
    let files = config::Tls {
        cert_file: folder.write("cert.pem", &certificate),
        key_file: folder.write("key.pem", &key),
        client_auth: client_auth(&folder),
    };
    let tls = Arc::new(Tls::load(&files).unwrap());
    let listener = config::Listener { proxies, ..listener(limits(), 1) };
    let server = start(&listener, Some(&tls), |peer: Arc<crate::server::Peer>, request| {
        let certified = peer.certificate.is_some();
        let ip = peer.address.ip();
        let text = format!("{ip} secure={} certified={certified} {:?}", peer.secure, request.version());
        std::future::ready(answer(StatusCode::OK, text))
    });
    Site { authority, files, folder, tls, server }
}

async fn connect(
    address: SocketAddr,
    authority: &Authority,
    alpn: &[&str],
    identity: Option<&(String, String)>,
) -> io::Result<TlsStream<TcpStream>> {
    secure(TcpStream::connect(address).await?, authority, alpn, identity).await
}

async fn secure(
    stream: TcpStream,
    authority: &Authority,
    alpn: &[&str],
    identity: Option<&(String, String)>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.1.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn get(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    stream.write_all(GET).await?;
    let mut piece = [0; 4096];
    let mut text = String::new();
    while !text.contains("HTTP/1.1\"") && !text.ends_with("HTTP/1.1") {
        match stream.read(&mut piece).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => text.push_str(&String::from_utf8_lossy(&piece[..count])),
        }
    }
    Ok(text)
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let site = site(|_| ClientAuth::Off);
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let mut stream = connect(site.server.address, &site.authority, offered, None).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::task::spawn(connection);
            let request = http::Request::builder().uri("https://localhost/");
            let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
            assert_eq!(client.send_request(request).await.unwrap().status(), 200);
        } else {
            assert!(get(&mut stream).await.unwrap().contains("secure=true certified=false HTTP/1.1"));
        }
    }
    assert!(connect(site.server.address, &site.authority, &["spdy/3"], None).await.is_err());
}

#[tokio::test]
async fn a_reload_changes_new_connections_only() {
    let site = site(|_| ClientAuth::Off);
    let mut old = connect(site.server.address, &site.authority, &["http/1.1"], None).await.unwrap();
    get(&mut old).await.unwrap();
    let before = site.tls.expires();
    // A key that does not fit leaves everything as it was.
    let (certificate, key) = site.authority.leaf("localhost", 2041);
    site.folder.write("cert.pem", &certificate);
    assert!(matches!(Tls::load(&site.files), Err(TlsError::Pair { .. })));
    assert_eq!(site.tls.expires(), before);
    connect(site.server.address, &site.authority, &["http/1.1"], None).await.unwrap();
    site.folder.write("key.pem", &key);
    site.tls.replace(&Tls::load(&site.files).unwrap());
    assert!(site.tls.expires() > before);
    let new = connect(site.server.address, &site.authority, &["http/1.1"], None).await.unwrap();
    let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    assert_eq!(new.get_ref().1.peer_certificates().unwrap()[0], leaf);
    assert_ne!(old.get_ref().1.peer_certificates().unwrap()[0], leaf);
    assert!(get(&mut old).await.unwrap().contains("secure=true"));
}

#[tokio::test]
async fn client_certificates_are_off_optional_or_required() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let (known, stranger) = (ours.leaf("client", 2040), foreign.leaf("client", 2040));
    for (required, nobody, certified) in [(false, true, true), (true, false, true)] {
        let site = site(|folder| {
            let path = folder.write("clients.pem", &ours.1);
            if required { ClientAuth::Required(path) } else { ClientAuth::Optional(path) }
        });
        // With TLS 1.3 the client learns of a refusal only when it reads.
        let attempt = async |identity: Option<&(String, String)>| -> io::Result<String> {
            let mut stream = connect(site.server.address, &site.authority, &["http/1.1"], identity).await?;
            get(&mut stream).await
        };
        assert_eq!(attempt(None).await.is_ok_and(|text| text.contains("certified=false")), nobody);
        assert_eq!(attempt(Some(&known)).await.is_ok_and(|text| text.contains("certified=true")), certified);
        assert!(attempt(Some(&stranger)).await.is_err());
    }
}

#[test]
fn unusable_files_are_named() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (certificate, key) = authority.leaf("localhost", 2040);
    let (cert_file, key_file) = (folder.write("cert.pem", &certificate), folder.write("key.pem", &key));
    let empty = folder.write("empty.pem", "");
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let rubbish = folder.write("rubbish.pem", rubbish);
    let absent = folder.0.join("absent.pem");
    let off = || ClientAuth::Off;
    for (cert_file, key_file, client_auth, wanted) in [
        (&absent, &key_file, off(), "cannot read"),
        (&cert_file, &absent, off(), "cannot read"),
        (&empty, &key_file, off(), "no certificate"),
        (&rubbish, &key_file, off(), "malformed"),
        (&cert_file, &empty, off(), "cannot read"),
        (&cert_file, &key_file, ClientAuth::Required(empty.clone()), "no certificate"),
        (&cert_file, &key_file, ClientAuth::Optional(rubbish.clone()), "cannot verify clients"),
    ] {
        let files = config::Tls { cert_file: cert_file.clone(), key_file: key_file.clone(), client_auth };
        let error = Tls::load(&files).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains(".pem"), "{error}");
    }
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_nothing() {
    let site = site(|_| ClientAuth::Off);
    let answer = super::exchange(site.server.address, GET).await;
    assert!(!answer.contains("HTTP/"), "{answer}");
    let mut stream = connect(site.server.address, &site.authority, &[], None).await.unwrap();
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, "secure=true").await;
}

#[tokio::test]
async fn a_proxy_header_comes_before_the_handshake() {
    let trusted = vec![config::Network::parse("127.0.0.1").unwrap()];
    let protocol = config::ProxyProtocol::Required;
    let site = site_behind(config::Proxies { trusted, protocol, ..Default::default() }, |_| ClientAuth::Off);
    for (header, ip) in [
        (&b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"[..], "203.0.113.7"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x08\x0a\0\0\x01\0\x50\x01\xbb", "203.0.113.8"),
    ] {
        let mut stream = TcpStream::connect(site.server.address).await.unwrap();
        stream.write_all(header).await.unwrap();
        let mut stream = secure(stream, &site.authority, &[], None).await.unwrap();
        assert!(get(&mut stream).await.unwrap().contains(&format!("{ip} secure=true")));
    }
    assert!(connect(site.server.address, &site.authority, &[], None).await.is_err(), "without one");
}
