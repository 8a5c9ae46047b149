//! Tokens that are well signed and say the wrong thing.

use super::support::{ISSUER, RESOURCE, claims};
use super::tokens::{MALFORMED, Rig, header, with};
use crate::auth::VerifyError;

/// Changes to the usual claims, one a line, at 2026-01-05T12:00:00Z = 1767614400.
const WRONG_ISSUER: &str = r#"
{"iss": "$ISSUER/"}
{"iss": "$ISSUER\u0000"}
{"iss": "https://login.example.com"}
{"iss": "login.example.com/realms/acme"}
{"iss": "HTTPS://LOGIN.EXAMPLE.COM/REALMS/ACME"}
{"iss": "https://evil.example/?$ISSUER"}
{"iss": ""}
"#;

const WRONG_AUDIENCE: &str = r#"
{"aud": "(remove)"}
{"aud": []}
{"aud": ""}
{"aud": "https://mcp.example.com/ops/mcp"}
{"aud": "https://mcp.example.com"}
{"aud": "$RESOURCE/x"}
{"aud": "$RESOURCE//"}
{"aud": "x$RESOURCE"}
{"aud": "$RESOURCE other"}
{"aud": ["account", "https://mcp.example.com/CRM/mcp"]}
{"aud": "*"}
{"aud": "desktop"}
"#;

const EXPIRED: &str = r#"
{"exp": 0}
{"exp": -0.0}
{"exp": 0.5}
{"exp": 1}
{"exp": 1767614340}
{"exp": 1767614340.9}
{"exp": 1767614339}
"#;

const NOT_YET_VALID: &str = r#"
{"nbf": 1767614461}
{"nbf": 1767614460.1}
{"iat": 1767614461}
{"nbf": 4102444800}
{"iat": 1e15}
"#;

const BOUND: &str = r#"
{"cnf": {"jkt": "x"}}
{"cnf": {"x5t#S256": "x"}}
{"cnf": {"kid": "x"}}
{"cnf": {"jwk": {}}}
{"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "x": 1}}
{"cnf": {}}
{"cnf": null}
{"cnf": "x"}
"#;

const BROKEN: &str = r#"
{"iss": "(remove)"}
{"iss": null}
{"iss": ["$ISSUER"]}
{"iss": 1}
{"exp": "(remove)"}
{"exp": null}
{"exp": "4102444800"}
{"exp": [4102444800]}
{"exp": {}}
{"exp": true}
{"exp": -1}
{"exp": 9223372036854775807}
{"exp": 18446744073709551615}
{"exp": 1e300}
{"exp": 9007199254740994}
{"nbf": "0"}
{"nbf": null}
{"nbf": -1}
{"iat": "0"}
{"iat": null}
{"iat": []}
{"iat": -5.5}
{"aud": null}
{"aud": 1}
{"aud": {}}
{"aud": ["$RESOURCE", 1]}
{"aud": [["$RESOURCE"]]}
{"aud": [null]}
{"sub": 1}
{"sub": null}
{"sub": ""}
{"sub": ["ana"]}
{"sub": "ana\u0000"}
{"sub": "a\nb"}
{"sub": "a\u0085b"}
{"sub": "(remove)", "client_id": "(remove)"}
{"client_id": 7}
{"client_id": null}
{"client_id": ""}
{"tid": 1}
{"tid": ""}
{"jti": 1}
{"jti": ""}
{"scope": 1}
{"scope": {}}
{"scope": null}
{"scope": ["a", 1]}
{"scp": true}
"#;

const GOOD: &str = r#"
{"exp": 1767614341}
{"exp": 1767614341.5}
{"exp": 9007199254740992}
{"exp": 1e12}
{"nbf": 1767614460}
{"iat": 1767614460}
{"iat": 1767614459.5}
{"iat": "(remove)"}
{"jti": "(remove)"}
{"aud": ["$RESOURCE"]}
{"aud": ["account", "$RESOURCE"]}
{"aud": "$RESOURCE/"}
{"aud": "https://mcp.example.com:443/crm/mcp"}
{"sub": "(remove)"}
{"client_id": "(remove)"}
{"sub": "auth0|ana@example.com"}
{"sub": "アナ"}
{"scope": "(remove)"}
{"scope": ""}
{"scope": ["a", "b"]}
{"nonce": "x"}
{"act": {"sub": "agent"}}
{"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
{"cnf": {"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
{"big": 123456789012345678}
"#;

/// J9, J10, J12, J13, J18, J19, J21 and the claims half of the check-list.
#[tokio::test]
async fn rfc_7519_refuses_wrong_claims() {
    let rig = Rig::new(|_| {});
    let tables = [
        (WRONG_ISSUER, Err(VerifyError::WrongIssuer)),
        (WRONG_AUDIENCE, Err(VerifyError::WrongAudience)),
        (EXPIRED, Err(VerifyError::Expired)),
        (NOT_YET_VALID, Err(VerifyError::NotYetValid)),
        (BOUND, Err(VerifyError::Bound)),
        (BROKEN, Err(MALFORMED)),
        (GOOD, Ok(())),
    ];
    for (table, expected) in tables {
        for line in table.lines().filter(|line| !line.is_empty()) {
            let line = line.replace("$ISSUER", ISSUER).replace("$RESOURCE", RESOURCE);
            let change = serde_json::from_str(&line).unwrap();
            rig.check("claims", &header(), &with(claims(), &change), expected.clone()).await;
        }
    }
}
