//! Keys, tokens, configurations and an issuer on loopback.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa::KeySize};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::auth::{Acceptance, Epoch, Issuer};
use crate::clock::Timestamp;
use crate::config;

pub(in crate::auth) const ISSUER: &str = "https://login.example.com/realms/acme";
pub(in crate::auth) const RESOURCE: &str = "https://mcp.example.com/crm/mcp";
pub(in crate::auth) const SECONDS: i64 = 1_767_614_400;
pub(in crate::auth) const NOW: Timestamp = Timestamp::from_unix_seconds(SECONDS);

/// A throw-away authority, for clients that need one to be built.
pub(in crate::auth) static CA: LazyLock<String> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(["localhost".into()]).unwrap().cert.pem());

/// A private key that signs tokens.
pub(in crate::auth) enum Signer {
    Ec(EcdsaKeyPair, &'static str, usize),
    Ed(Ed25519KeyPair),
    Rsa(Arc<RsaKeyPair>),
    Secret(Vec<u8>),
}

static RSA_KEY: LazyLock<Arc<RsaKeyPair>> = LazyLock::new(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

impl Signer {
    pub(in crate::auth) fn p256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32)
    }

    pub(in crate::auth) fn p384() -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48)
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str, length: usize) -> Self {
        Self::Ec(EcdsaKeyPair::generate(algorithm).unwrap(), curve, length)
    }

    pub(in crate::auth) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(in crate::auth) fn rsa() -> Self {
        Self::Rsa(Arc::clone(&RSA_KEY))
    }

    pub(in crate::auth) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match self {
            Self::Ec(key, curve, length) => {
                let point = &key.public_key().as_ref()[1..];
                json!({"kty": "EC", "kid": kid, "crv": curve, "x": text(&point[..*length]), "y": text(&point[*length..])})
            }
            Self::Ed(key) => json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": text(key.public_key().as_ref())}),
            Self::Rsa(key) => {
                let (n, e) = rsa_components(key.public_key().as_ref());
                json!({"kty": "RSA", "kid": kid, "n": text(&n), "e": text(&e)})
            }
            Self::Secret(secret) => json!({"kty": "oct", "kid": kid, "k": text(secret)}),
        }
    }

    pub(in crate::auth) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(key, ..) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }

    /// A token of exactly these header and claims bytes.
    pub(in crate::auth) fn raw(&self, header: &[u8], claims: &[u8]) -> String {
        let alg: Value = serde_json::from_slice(header).unwrap_or_default();
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
        let signature = self.sign(alg["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    pub(in crate::auth) fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// An ES256 token of the usual claims.
    pub(in crate::auth) fn usual(&self, kid: &str) -> String {
        self.token(&json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), &claims())
    }
}

/// `n` and `e` of a DER `RSAPublicKey`.
fn rsa_components(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, from) = match der[1] {
            short @ ..=0x80 => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        };
        (&der[from..from + length], &der[from + length..])
    }
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    (n.strip_prefix(&[0]).unwrap_or(n).to_vec(), e.to_vec())
}

/// The claims of an RFC 9068 access token for [`RESOURCE`].
pub(in crate::auth) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": RESOURCE, "sub": "ana", "client_id": "desktop", "exp": SECONDS + 600, "iat": SECONDS - 10, "jti": "t-1",
        "scope": "crm:write crm:read",
    })
}

pub(in crate::auth) fn jwks(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

pub(in crate::auth) fn issuer_config(issuer: &str) -> config::Issuer {
    config::Issuer {
        name: "corp".into(),
        issuer: issuer.into(),
        jwks_uri: None,
        discovery: config::Discovery::Auto,
        tokens: tokens(""),
        cache_ttl: Duration::from_mins(10),
        min_refresh_interval: Duration::from_secs(30),
        max_stale: Duration::from_hours(24),
        deny_kids: Vec::new(),
        on_start: config::OnStart::Wait,
        introspection: None,
        revocation_file: None,
        signals: None,
        ca_file: None,
        insecure_loopback: true,
    }
}

/// What `profile = "…"` alone means, through the same loader as any file.
pub(in crate::auth) fn tokens(profile: &str) -> config::Tokens {
    let profile = if profile.is_empty() { String::new() } else { format!("profile = \"{profile}\"\n") };
    let text = format!(
        "[server]\npublic_url = \"https://mcp.example.com\"\nlisten = \"127.0.0.1:0\"\n\
         [issuers.corp]\nissuer = \"{ISSUER}\"\n{profile}\
         [servers.crm]\npath = \"/crm/mcp\"\nupstream = \"http://127.0.0.1:1/mcp\"\npolicies = [\"crm.toml\"]\n"
    );
    let (config, _) = config::parse(&text, std::path::Path::new("proxy.toml")).unwrap();
    config.issuers["corp"].tokens.clone()
}

pub(in crate::auth) fn server_config(name: &str, resource: &str) -> config::Server {
    config::Server {
        name: name.into(),
        path: "/crm/mcp".into(),
        resource: resource.into(),
        backend: config::Backend::Http(vec!["http://127.0.0.1:1/mcp".parse().unwrap()]),
        concurrency: config::Concurrency::default(),
        breaker: config::Breaker::default(),
        retries: config::Retries::default(),
        upstream_ca_file: None,
        upstream_http2: false,
        upstream_auth: config::UpstreamAuth::None,
        tool_auth: std::collections::BTreeMap::new(),
        upstream_client_certificate: None,
        identity: config::Identity::default(),
        issuers: vec!["corp".into()],
        audiences: Vec::new(),
        policies: Vec::new(),
        resource_name: None,
        scopes_advertised: None,
        meta: Vec::new(),
        elicitation: config::Elicitation::default(),
        era: config::EraMode::default(),
        transport: config::Transport::default(),
        sessions: config::Sharing::default(),
        session_idle: config::SessionIdle::default(),
        sse_path: None,
        access: config::Access::default(),
        timeouts: config::Timeouts {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            total: Duration::from_secs(1),
        },
        tools: config::Tools::default(),
    }
}

/// What a server of [`RESOURCE`] accepts from an issuer with these keys already loaded.
pub(in crate::auth) fn acceptance(config: &config::Issuer, keys: &str) -> Acceptance {
    let issuer = Issuer::loaded(config, keys, &Epoch::default());
    Acceptance::new(&server_config("crm", RESOURCE), vec![issuer])
}

/// An answer of [`Fake`].
#[derive(Clone, Default)]
pub(in crate::auth) struct Answer {
    pub(in crate::auth) status: u16,
    pub(in crate::auth) headers: Vec<(&'static str, String)>,
    pub(in crate::auth) body: String,
}

impl Answer {
    pub(in crate::auth) fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub(in crate::auth) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(in crate::auth) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    seen: Vec<String>,
}

/// An issuer on loopback that counts what it is asked for.
#[derive(Clone)]
pub(in crate::auth) struct Fake {
    pub(in crate::auth) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// While set, answers are held back until [`Fake::release`].
    held: Arc<Mutex<bool>>,
    arrived: Arc<Notify>,
    released: Arc<Notify>,
}

impl Fake {
    pub(in crate::auth) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same behind a certificate for `localhost`, returned in PEM.
    pub(in crate::auth) async fn start_tls() -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Self::start_with(Some(Arc::new(config))).await, made.cert.pem())
    }

    async fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
            held: Arc::default(),
            arrived: Arc::default(),
            released: Arc::default(),
        };
        let served = fake.clone();
        let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
        tokio::runtime::Handle::current().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream: Box<dyn Stream> = match &acceptor {
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => continue,
                    },
                    None => Box::new(stream),
                };
                let fake = served.clone();
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let fake = fake.clone();
                    async move { Ok::<_, Infallible>(fake.answer(request.uri().path()).await) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::runtime::Handle::current().spawn(connection);
            }
        });
        fake
    }

    async fn answer(&self, path: &str) -> http::Response<Full<Bytes>> {
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(path.to_owned());
            state.answers.get(path).cloned().unwrap_or(Answer::status(404))
        };
        self.arrived.notify_one();
        if *self.held.lock().unwrap() {
            self.released.notified().await;
        }
        let mut response = http::Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(*name, value);
        }
        response.body(Full::new(answer.body.into())).unwrap()
    }

    pub(in crate::auth) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(in crate::auth) fn set(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.into(), answer);
    }

    /// Metadata of this issuer, with keys at `/keys`.
    pub(in crate::auth) fn metadata(&self, issuer: &str) -> Answer {
        Answer::ok(json!({"issuer": issuer, "jwks_uri": self.url("/keys")}).to_string())
    }

    /// How often `path` was asked for.
    pub(in crate::auth) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| *seen == path).count()
    }

    pub(in crate::auth) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(in crate::auth) fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub(in crate::auth) fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_one();
    }

    pub(in crate::auth) async fn arrival(&self) {
        self.arrived.notified().await;
    }
}
