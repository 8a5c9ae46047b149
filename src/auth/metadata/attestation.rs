//! Signed metadata: the same document as a JWT, signed by a party that vouches for it (RFC 9728 section 2.2).

use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::auth::{SigningKey, StartError};
use crate::clock::Timestamp;
use crate::config::SignedMetadata;

/// The longest JWT, in bytes.
const LIMIT_BYTES: usize = 64 * 1024;

/// The source of signed metadata.
#[derive(Debug)]
pub(crate) enum Attestation {
    /// A JWT of another party, given to the operator.
    Given(Given),
    /// The proxy, with its own key.
    Own {
        key: Box<SigningKey>,
        /// `iss`: the proxy's public origin.
        issuer: String,
        /// `jwks_uri`: the URL of its key.
        keys: String,
    },
}

/// A JWT of another party.
#[derive(Debug)]
pub(crate) struct Given {
    file: PathBuf,
    jwt: String,
    claims: Map<String, Value>,
}

/// Why there is no signed metadata to serve.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub(crate) enum AttestationError {
    #[error(transparent)]
    Key(#[from] StartError),
    #[error("the document cannot be signed with `signing_key_file`")]
    Unsigned,
    #[error("cannot read `{}`: {source}", .path.display())]
    Unread { path: PathBuf, source: std::io::Error },
    #[error("`{}` {reason}", .path.display())]
    Unusable { path: PathBuf, reason: String },
}

impl Attestation {
    /// Reads the key or JWT of `config`; `origin` is the proxy's public one, and `keys` the path of its own keys. Errs if it is
    /// unusable.
    pub(crate) fn read(config: &SignedMetadata, origin: &str, keys: &str) -> Result<Self, AttestationError> {
        match config {
            SignedMetadata::Own(file) => {
                let key = Box::new(SigningKey::read(file, "portcullis-metadata+jwt")?);
                Ok(Self::Own { key, issuer: origin.to_owned(), keys: format!("{origin}{keys}") })
            }
            SignedMetadata::Given(file) => Given::read(file).map(Self::Given),
        }
    }

    /// The proxy's public key, if it signs itself.
    pub(crate) const fn key(&self) -> Option<&Value> {
        match self {
            Self::Given(_) => None,
            Self::Own { key, .. } => Some(key.jwk()),
        }
    }

    /// The URL of that key.
    pub(super) fn keys(&self) -> Option<&str> {
        match self {
            Self::Given(_) => None,
            Self::Own { keys, .. } => Some(keys),
        }
    }

    /// The JWT for a document with these members. Differences of a given JWT are passed to `differing`, since clients that
    /// verify it give it precedence over the document.
    pub(super) fn statement(
        &self,
        members: &Map<String, Value>,
        now: Timestamp,
        differing: &mut dyn FnMut(String),
    ) -> Result<Option<String>, AttestationError> {
        match self {
            Self::Given(given) => given.statement(members, now, differing),
            Self::Own { key, issuer, .. } => {
                let mut claims = members.clone();
                claims.insert("iss".to_owned(), issuer.as_str().into());
                claims.insert("iat".to_owned(), now.unix_seconds().into());
                key.sign(&claims).map(Some).ok_or(AttestationError::Unsigned)
            }
        }
    }
}

impl Given {
    fn read(file: &Path) -> Result<Self, AttestationError> {
        let unread = |source| AttestationError::Unread { path: file.to_owned(), source };
        Self::new(file, &std::fs::read_to_string(file).map_err(unread)?)
    }

    fn new(file: &Path, text: &str) -> Result<Self, AttestationError> {
        let unusable = |reason: &str| AttestationError::Unusable { path: file.to_owned(), reason: reason.to_owned() };
        let jwt = text.trim_ascii_end();
        if jwt.len() > LIMIT_BYTES {
            return Err(unusable("is larger than 64 KiB"));
        }
        let claims = claims(jwt).map_err(unusable)?;
        if claims.get("iss").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(unusable("does not say who vouches: `iss` is missing"));
        }
        if claims.contains_key("signed_metadata") {
            return Err(unusable("holds `signed_metadata` itself"));
        }
        Ok(Self { file: file.to_owned(), jwt: jwt.to_owned(), claims })
    }

    fn statement(
        &self,
        members: &Map<String, Value>,
        now: Timestamp,
        differing: &mut dyn FnMut(String),
    ) -> Result<Option<String>, AttestationError> {
        let file = self.file.display();
        if self.claims.get("exp").is_some_and(|exp| exp.as_i64().is_none_or(|exp| exp <= now.unix_seconds())) {
            differing(format!("`{file}` has expired, or its `exp` is no whole number, and is not served"));
            return Ok(None);
        }
        for (name, claim) in self.claims.iter().filter(|(name, _)| !is_of_jwt(name)) {
            let member = members.get(name);
            if member == Some(claim) {
                continue;
            }
            let shown = member.map_or_else(|| "nothing".to_owned(), Value::to_string);
            let said = format!("says `{name}` is {claim}, the document {shown}");
            // Clients would request tokens elsewhere, or for another server.
            if matches!(name.as_str(), "resource" | "authorization_servers") {
                return Err(AttestationError::Unusable { path: self.file.clone(), reason: said });
            }
            differing(format!("`{file}` {said}"));
        }
        Ok(Some(self.jwt.clone()))
    }
}

/// Whether it is a claim about the JWT itself rather than about the server (RFC 7519 section 4.1).
fn is_of_jwt(name: &str) -> bool {
    matches!(name, "iss" | "sub" | "aud" | "exp" | "nbf" | "iat" | "jti")
}

/// The claims of a signed JWT in compact form (RFC 7515 section 3.1), unverified: that is up to clients, who know whom they
/// trust.
fn claims(jwt: &str) -> Result<Map<String, Value>, &'static str> {
    let parts: Vec<&str> = jwt.split('.').collect();
    let &[header, payload, signature] = &parts[..] else { return Err("is no JWT in compact form") };
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| "is no JWT in compact form");
    let object = |part: &str| {
        serde_json::from_slice::<Map<String, Value>>(&decoded(part)?).map_err(|_| "is no JWT of JSON objects")
    };
    match object(header)?.get("alg").and_then(Value::as_str) {
        Some(alg) if !alg.eq_ignore_ascii_case("none") && !decoded(signature)?.is_empty() => object(payload),
        _ => Err("is not signed"),
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::{Given, claims};
    use crate::clock::Timestamp;

    const NOW: i64 = 1_790_000_000;

    fn jwt(header: &Value, payload: &Value, signature: &str) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.{signature}", part(header), part(payload))
    }

    fn signed(payload: &Value) -> String {
        jwt(&json!({ "alg": "ES256", "kid": "f1" }), payload, "c2ln")
    }

    fn read(jwt: &str) -> Result<Given, String> {
        Given::new("F".as_ref(), jwt).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_signed_statement_of_somebody_is_read() {
        let good = json!({ "iss": "https://federation.test", "resource": "https://h/mcp" });
        assert_eq!(read(&format!("{}\r\n", signed(&good))).unwrap().jwt, signed(&good));
        let es256 = json!({ "alg": "ES256" });
        for (text, reason) in [
            (String::new(), "`F` is no JWT in compact form"),
            ("a.b".to_owned(), "`F` is no JWT in compact form"),
            (format!("{}.x", signed(&good)), "`F` is no JWT in compact form"),
            (signed(&good).replace('.', "=."), "`F` is no JWT in compact form"),
            (jwt(&json!(null), &good, "c2ln"), "`F` is no JWT of JSON objects"),
            (jwt(&json!("x"), &good, "c2ln"), "`F` is no JWT of JSON objects"),
            (jwt(&es256, &json!([]), "c2ln"), "`F` is no JWT of JSON objects"),
            (jwt(&json!({}), &good, "c2ln"), "`F` is not signed"),
            (jwt(&json!({ "alg": "nOnE" }), &good, "c2ln"), "`F` is not signed"),
            (jwt(&es256, &good, ""), "`F` is not signed"),
            (signed(&json!({ "resource": "https://h/mcp" })), "`F` does not say who vouches: `iss` is missing"),
            (signed(&json!({ "iss": "" })), "`F` does not say who vouches: `iss` is missing"),
            (signed(&json!({ "iss": ["a"] })), "`F` does not say who vouches: `iss` is missing"),
            (signed(&json!({ "iss": "a", "signed_metadata": "x" })), "`F` holds `signed_metadata` itself"),
            (signed(&json!({ "iss": "a".repeat(70_000) })), "`F` is larger than 64 KiB"),
        ] {
            assert_eq!(read(&text).err().as_deref(), Some(reason), "{text:.200}");
        }
        assert!(Given::read("/nowhere/crm.jwt".as_ref()).unwrap_err().to_string().starts_with("cannot read `/nowhere"));
        assert!(claims("..").is_err());
    }

    #[test]
    fn what_is_vouched_for_is_what_is_so() {
        let members =
            json!({ "resource": "https://h/mcp", "authorization_servers": ["https://i"], "resource_name": "CRM" });
        for (said, served, told) in [
            (json!({}), Ok(true), ""),
            (json!({ "resource": "https://h/mcp", "resource_name": "CRM", "iat": 1, "jti": "x" }), Ok(true), ""),
            (json!({ "exp": NOW + 1 }), Ok(true), ""),
            (json!({ "exp": NOW }), Ok(false), "`F` has expired, or its `exp` is no whole number, and is not served"),
            (
                json!({ "exp": "soon" }),
                Ok(false),
                "`F` has expired, or its `exp` is no whole number, and is not served",
            ),
            (json!({ "resource_name": "X" }), Ok(true), "`F` says `resource_name` is \"X\", the document \"CRM\""),
            (json!({ "tos_uri": 1 }), Ok(true), "`F` says `tos_uri` is 1, the document nothing"),
            (
                json!({ "resource": "https://h/other" }),
                Err("`F` says `resource` is \"https://h/other\", the document \"https://h/mcp\""),
                "",
            ),
            (
                json!({ "authorization_servers": ["https://i", "https://evil"] }),
                Err(
                    "`F` says `authorization_servers` is [\"https://i\",\"https://evil\"], the document [\"https://i\"]",
                ),
                "",
            ),
        ] {
            let mut payload = said.clone();
            payload["iss"] = "https://federation.test".into();
            let given = read(&signed(&payload)).unwrap();
            let mut differing = String::new();
            let now = Timestamp::from_unix_seconds(NOW);
            let statement = given.statement(members.as_object().unwrap(), now, &mut |said| differing.push_str(&said));
            let statement = statement.map(|jwt| jwt.is_some()).map_err(|error| error.to_string());
            assert_eq!(statement, served.map_err(str::to_owned), "{said}");
            assert_eq!(differing, told, "{said}");
        }
    }
}
