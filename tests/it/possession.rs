//! Tokens bound to a key or a certificate open a server only to who holds it (RFC 9449, RFC 8705, RFC 9440), and RFC 9470.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use portcullis::clock::Timestamp;
use portcullis::demo::certificate;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Answer, Ask, LASTS, Proxy, Setup, Upstream, token_of};

const METADATA: &str = "https://gw.test/.well-known/oauth-protected-resource/crm/mcp";

/// A key a client holds.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self) -> Value {
        let point = &self.0.public_key().as_ref()[1..];
        let text = |bytes| BASE64URL_NOPAD.encode(bytes);
        json!({"crv": "P-256", "kty": "EC", "x": text(&point[..32]), "y": text(&point[32..])})
    }

    /// Its members are in the order RFC 7638 wants.
    pub(crate) fn thumbprint(&self) -> String {
        BASE64URL_NOPAD.encode(digest(&SHA256, self.jwk().to_string().as_bytes()).as_ref())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", text(header), text(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    /// A proof for a POST of `token`, with changes.
    pub(crate) fn proof(&self, token: &str, changes: &Value) -> String {
        let ath = BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref());
        let mut claims = json!({"jti": uuid::Uuid::now_v7().to_string(), "htm": "POST", "htu": "https://gw.test/crm/mcp",
            "iat": Timestamp::now().unix_seconds(), "ath": ath});
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.sign(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()}), &claims)
    }
}

fn ask() -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({}))
}

pub(crate) fn with_proof(token: &str, proof: &str) -> Ask {
    ask().header("Authorization", &format!("DPoP {token}")).header("DPoP", proof)
}

pub(crate) fn bound(proxy: &Proxy, confirmation: &Value) -> String {
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("cnf".into(), confirmation.clone());
    proxy.mint(&claims)
}

fn refused(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let fields = answer.values("www-authenticate");
    assert!(fields[0].starts_with("Bearer ") && fields[1].starts_with("DPoP "), "{fields:?}");
    assert!(!fields[0].contains("error"), "only with the scheme that was used: {fields:?}");
    assert!(fields[1].contains(&format!("error=\"{error}\"")), "{fields:?}");
}

#[tokio::test]
async fn rfc_9449_a_proof_opens_what_is_bound_to_its_key_once() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).server("dpop = {}").start().await;
    let (key, other) = (Key::new(), Key::new());
    let token = bound(&proxy, &json!({"jkt": key.thumbprint()}));
    let none = json!({});
    let missing = proxy.ask(&ask()).await;
    assert_eq!(
        missing.values("www-authenticate"),
        [
            format!("Bearer resource_metadata=\"{METADATA}\", scope=\"crm:read\""),
            format!("DPoP resource_metadata=\"{METADATA}\", scope=\"crm:read\", algs=\"ES256 EdDSA PS256 RS256\""),
        ]
    );
    let proof = key.proof(&token, &none);
    assert_eq!(proxy.ask(&with_proof(&token, &proof)).await.status, 200);
    refused(&proxy.ask(&with_proof(&token, &proof)).await, "invalid_dpop_proof");
    let now = Timestamp::now().unix_seconds();
    let rows = [
        ("another key", other.proof(&token, &none)),
        ("another method", key.proof(&token, &json!({"htm": "GET"}))),
        ("another server", key.proof(&token, &json!({"htu": "https://gw.test/wiki/mcp"}))),
        ("the address it came by", key.proof(&token, &json!({"htu": format!("http://{}/crm/mcp", proxy.address)}))),
        ("old", key.proof(&token, &json!({"iat": now - 90}))),
        ("of the future", key.proof(&token, &json!({"iat": now + 90}))),
        ("of another token", key.proof("another", &none)),
        ("not a proof", token.clone()),
        ("nothing", "x".to_owned()),
    ];
    for (name, proof) in rows {
        let answer = proxy.ask(&with_proof(&token, &proof)).await;
        refused(&answer, "invalid_dpop_proof");
        assert!(!answer.text().contains("jti"), "{name}");
    }
    let two = with_proof(&token, &key.proof(&token, &none)).header("DPoP", &key.proof(&token, &none));
    refused(&proxy.ask(&two).await, "invalid_dpop_proof");
    let without = ask().header("Authorization", &format!("DPoP {token}"));
    refused(&proxy.ask(&without).await, "invalid_dpop_proof");
    assert_eq!(upstream.take().len(), 1);
    // The downgrade, both ways.
    let downgraded = proxy.ask(&ask().token(&token)).await;
    assert_eq!(downgraded.status, 401);
    let fields = downgraded.values("www-authenticate");
    assert!(fields[0].contains("error=\"invalid_token\"") && !fields[1].contains("error"), "{fields:?}");
    let plain = proxy.token("ana");
    refused(&proxy.ask(&with_proof(&plain, &key.proof(&plain, &none))).await, "invalid_token");
    assert_eq!(upstream.take().len(), 0);
    // A known token still needs a proof for each request, and nothing of it goes up.
    assert_eq!(proxy.ask(&with_proof(&token, &key.proof(&token, &none))).await.status, 200);
    let heard = upstream.take().pop().unwrap();
    assert!(!heard.names().iter().any(|name| name == "dpop" || name == "authorization"), "{:?}", heard.names());
    let log = proxy.audit();
    assert!(log.iter().any(|line| line["error"].to_string().contains("bad_proof")), "{log:?}");
    assert!(log.iter().any(|line| line["error"].to_string().contains("wrong_binding")), "{log:?}");
    proxy.assert_not_kept(&key.thumbprint()).await;
}

#[tokio::test]
async fn rfc_9449_nonces_are_ours_and_of_now() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).server("dpop = { nonces = true, required = true }").start().await;
    let key = Key::new();
    let token = bound(&proxy, &json!({"jkt": key.thumbprint()}));
    let first = proxy.ask(&with_proof(&token, &key.proof(&token, &json!({})))).await;
    assert_eq!(first.status, 401);
    assert!(first.header("www-authenticate").unwrap().starts_with("DPoP "), "only proofs would do");
    assert!(first.header("www-authenticate").unwrap().contains("error=\"use_dpop_nonce\""));
    let nonce = first.header("dpop-nonce").unwrap().to_owned();
    let second = proxy.ask(&with_proof(&token, &key.proof(&token, &json!({"nonce": nonce})))).await;
    assert_eq!(second.status, 200, "{second:?}");
    let next = second.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(next, nonce);
    assert_eq!(proxy.ask(&with_proof(&token, &key.proof(&token, &json!({"nonce": next})))).await.status, 200);
    for forged in ["x", &nonce[..nonce.len() - 1], &nonce.replace(&nonce[20..24], "AAAA")] {
        let answer = proxy.ask(&with_proof(&token, &key.proof(&token, &json!({"nonce": forged})))).await;
        assert_eq!(answer.status, 401, "{forged}");
        assert!(answer.header("www-authenticate").unwrap().contains("use_dpop_nonce"));
    }
    // Nobody's plain token.
    let plain = proxy.ask(&ask().token(&proxy.token("max"))).await;
    assert_eq!(plain.status, 401, "{plain:?}");
    assert_eq!(upstream.take().len(), 2);
    let document = proxy.ask(&Ask::new("GET").target("/.well-known/oauth-protected-resource/crm/mcp")).await.json();
    assert_eq!(document["dpop_bound_access_tokens_required"], true);
    assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA", "PS256", "RS256"]));
}

#[tokio::test]
async fn rfc_9440_a_certificate_in_a_header_is_believed_of_a_terminator_only() {
    let made = certificate::generate(Timestamp::now()).unwrap();
    let leaf = CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap();
    let hash = BASE64URL_NOPAD.encode(digest(&SHA256, &leaf).as_ref());
    let header = format!(":{}:", BASE64.encode(&leaf));
    for (terminators, ok) in [("127.0.0.1", true), ("10.0.0.0/8", false)] {
        let upstream = Upstream::plain().await;
        let keys = format!("mtls = {{ terminators = [\"{terminators}\"] }}");
        let proxy = Setup::new(upstream.url()).server(&keys).start().await;
        let token = bound(&proxy, &json!({"x5t#S256": hash}));
        let shown = proxy.ask(&ask().token(&token).header("Client-Cert", &header)).await;
        assert_eq!(shown.status, if ok { 200 } else { 401 }, "{shown:?}");
        for refused in [
            ask().token(&token),
            ask().token(&token).header("Client-Cert", &header).header("Client-Cert", &header),
            ask().token(&token).header("Client-Cert", &BASE64.encode(&leaf)),
            ask().token(&token).header("Client-Cert", ":AAAA:"),
        ] {
            let answer = proxy.ask(&refused).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.values("www-authenticate")[0].contains("error=\"invalid_token\""));
        }
        let heard = upstream.take();
        assert_eq!(heard.len(), usize::from(ok));
        assert!(heard.iter().all(|heard| heard.header("client-cert").is_none()));
        let document = proxy.ask(&Ask::new("GET").target("/.well-known/oauth-protected-resource/crm/mcp")).await.json();
        assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    }
}

/// One request on a connection of its own, with that certificate.
async fn over_tls(proxy: &Proxy, ca: &str, client: Option<&certificate::Certificates>, ask: &Ask) -> u16 {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(made) => {
            let leaf = CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(made.key_pem.expose().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![leaf], key).unwrap()
        }
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(&ask.clone().header("Connection", "close").bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn rfc_8705_only_the_certificate_of_the_connection_opens_what_is_bound_to_it() {
    let upstream = Upstream::plain().await;
    let made = || certificate::generate(Timestamp::now()).unwrap();
    let (own, mine, other) = (made(), made(), made());
    let leaf = CertificateDer::from_pem_slice(mine.cert_pem.as_bytes()).unwrap();
    let proxy = Setup::new(upstream.url())
        .file("cert.pem", &own.cert_pem)
        .file("key.pem", own.key_pem.expose())
        .listener("tls = { cert_file = \"cert.pem\", key_file = \"key.pem\", client_certificates = \"any\" }")
        .server("mtls = {}")
        .start()
        .await;
    let token = bound(&proxy, &json!({"x5t#S256": BASE64URL_NOPAD.encode(digest(&SHA256, &leaf).as_ref())}));
    let header = format!(":{}:", BASE64.encode(&leaf));
    let ask = ask().token(&token);
    assert_eq!(over_tls(&proxy, &own.ca_pem, Some(&mine), &ask).await, 200);
    assert_eq!(over_tls(&proxy, &own.ca_pem, Some(&other), &ask).await, 401);
    assert_eq!(over_tls(&proxy, &own.ca_pem, None, &ask).await, 401);
    assert_eq!(over_tls(&proxy, &own.ca_pem, None, &ask.header("Client-Cert", &header)).await, 401);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn both_bindings_of_one_token_are_checked() {
    let made = certificate::generate(Timestamp::now()).unwrap();
    let leaf = CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap();
    let header = format!(":{}:", BASE64.encode(&leaf));
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).server("mtls = { terminators = [\"127.0.0.1\"] }").start().await;
    let key = Key::new();
    let hash = BASE64URL_NOPAD.encode(digest(&SHA256, &leaf).as_ref());
    let token = bound(&proxy, &json!({"jkt": key.thumbprint(), "x5t#S256": hash}));
    let proved = |certificate: bool| {
        let ask = with_proof(&token, &key.proof(&token, &json!({})));
        if certificate { ask.header("Client-Cert", &header) } else { ask }
    };
    assert_eq!(proxy.ask(&proved(false)).await.status, 401);
    assert_eq!(proxy.ask(&ask().token(&token).header("Client-Cert", &header)).await.status, 401);
    assert_eq!(proxy.ask(&proved(true)).await.status, 200);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test]
async fn rfc_9470_a_weak_or_old_login_is_asked_for_a_better_one() {
    let upstream = Upstream::plain().await;
    let keys = "authentication = { acr_values = [\"phr\", \"mfa\"], max_age = \"5m\" }";
    let proxy = Setup::new(upstream.url()).server(keys).start().await;
    let now = Timestamp::now().unix_seconds();
    let of = |user: &str, acr: Option<&str>, auth_time: Option<i64>| {
        let mut claims: Map<String, Value> = token_of(&proxy.issuer, user);
        claims.extend(acr.map(|acr| ("acr".to_owned(), json!(acr))));
        claims.extend(auth_time.map(|time| ("auth_time".to_owned(), json!(time))));
        proxy.mint(&claims)
    };
    let with = |acr, auth_time| of("ana", acr, auth_time);
    let challenged = |scope: &str| {
        format!(
            "Bearer resource_metadata=\"{METADATA}\", error=\"insufficient_user_authentication\", \
             {scope}acr_values=\"phr mfa\", max_age=\"300\", \
             error_description=\"A stronger or more recent authentication is needed\""
        )
    };
    let challenge = challenged("");
    for (acr, auth_time) in [
        (None, Some(now)),
        (Some("pwd"), Some(now)),
        (Some("phr"), None),
        (Some("phr"), Some(now - 361)),
        (Some("PHR"), Some(now)),
    ] {
        let answer = proxy.ask(&ask().token(&with(acr, auth_time))).await;
        assert_eq!(answer.status, 401, "{acr:?} {auth_time:?}");
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    }
    // Who lacks scopes besides is told both at once, and who has broader ones lacks none.
    for (user, scope) in [("eve", "scope=\"crm:read\", "), ("max", "")] {
        let answer = proxy.ask(&ask().token(&of(user, Some("pwd"), Some(now)))).await;
        assert_eq!(answer.header("www-authenticate"), Some(challenged(scope).as_str()), "{user}");
    }
    assert_eq!(upstream.take().len(), 0);
    assert_eq!(proxy.ask(&ask().token(&with(Some("mfa"), Some(now - 200)))).await.status, 200);
    // Known a moment ago, and too old now, with the leeway of a minute.
    let aging = with(Some("phr"), Some(Timestamp::now().unix_seconds() - 360 + LASTS));
    assert_eq!(proxy.ask(&ask().token(&aging)).await.status, 200);
    let answer = crate::support::until("old age", async || {
        let answer = proxy.ask(&ask().token(&aging)).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
}
