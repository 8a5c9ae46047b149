//! A key, its key set on loopback, and one token.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use portcullis::clock::Timestamp;
use serde_json::{Value, json};

/// Who signs.
pub(crate) struct Issuer {
    pair: EcdsaKeyPair,
    pub(crate) url: String,
}

impl Issuer {
    /// Serves its key set from a thread of its own.
    pub(crate) fn start() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let point = &pair.public_key().as_ref()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|half| BASE64URL_NOPAD.encode(half));
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "bench", "alg": "ES256", "use": "sig", "x": x, "y": y}]});
        std::thread::spawn(move || serve(&listener, &keys.to_string()));
        Self { pair, url }
    }

    /// An access token (RFC 9068) of some 480 bytes, another one each time.
    pub(crate) fn token(&self, audience: &str) -> String {
        self.signed(&self.claims(audience))
    }

    /// What it says.
    pub(crate) fn claims(&self, audience: &str) -> Value {
        let now = Timestamp::now().unix_seconds();
        json!({
            "iss": self.url, "aud": audience, "sub": "ana", "client_id": "bench", "jti": uuid::Uuid::now_v7().to_string(),
            "iat": now, "nbf": now - 5, "exp": now + 86_400, "scope": "crm:read crm:write", "roles": ["analyst"],
        })
    }

    /// These claims as a token.
    pub(crate) fn signed(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let head = part(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "bench"}));
        let signed = format!("{head}.{}", part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn serve(listener: &TcpListener, keys: &str) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{keys}",
        keys.len()
    );
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    }
}
