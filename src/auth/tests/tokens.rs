//! One token per way to be wrong: each rule of a strict check-list, each known attack (J1 to J23).

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::support::{ISSUER, NOW, RESOURCE, SECONDS, Signer, acceptance, claims, issuer_config, jwks};
use crate::auth::introspection::Provenance;
use crate::auth::{Acceptance, Caller, Outcome, VerifyError, examine, jwt};
use crate::clock::{self, Timestamp};
use crate::config;

pub(super) const MALFORMED: VerifyError = VerifyError::Malformed("");
const WRONG_TYPE: VerifyError = VerifyError::WrongType("");

pub(super) async fn verify_at(acceptance: &Acceptance, token: &str, now: Timestamp) -> Result<Caller, VerifyError> {
    let verified =
        jwt::verify(acceptance, (&token.as_bytes().into(), Provenance::Unknown), now, clock::monotonic()).await?;
    Ok((*verified.caller).clone())
}

/// The outcome with the details of its text taken out, after checking that `examine` agrees.
pub(super) async fn outcome(acceptance: &Acceptance, token: &str) -> Result<(), VerifyError> {
    let result = verify_at(acceptance, token, NOW).await;
    let explained = examine(token.as_bytes(), acceptance, NOW).into_iter().find_map(|check| match check.outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Passed => None,
    });
    assert_eq!(
        result.as_ref().err().map(VerifyError::result),
        explained.as_ref().map(VerifyError::result),
        "{explained:?}"
    );
    result.map(drop).map_err(|error| match error {
        VerifyError::Malformed(_) => MALFORMED,
        VerifyError::WrongType(_) => WRONG_TYPE,
        other => other,
    })
}

pub(super) struct Rig {
    pub(super) signer: Signer,
    pub(super) acceptance: Acceptance,
}

impl Rig {
    pub(super) fn new(change: impl Fn(&mut config::Issuer)) -> Self {
        let signer = Signer::p256();
        let mut config = issuer_config(ISSUER);
        change(&mut config);
        let acceptance = acceptance(&config, &jwks(&[signer.jwk("k1")]));
        Self { signer, acceptance }
    }

    pub(super) async fn check(&self, name: &str, header: &Value, claims: &Value, expected: Result<(), VerifyError>) {
        let token = self.signer.token(header, claims);
        assert_eq!(outcome(&self.acceptance, &token).await, expected, "{name}: {header} {claims}");
    }
}

pub(super) fn header() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"})
}

/// `base` with members replaced, or removed where null is marked by `remove`.
pub(super) fn with(base: Value, changes: &Value) -> Value {
    let (Value::Object(mut base), Value::Object(changes)) = (base, changes.clone()) else { panic!() };
    for (name, value) in changes {
        if value == "(remove)" {
            base.remove(&name)
        } else {
            base.insert(name, value)
        };
    }
    Value::Object(base)
}

#[tokio::test]
async fn a_good_token_makes_the_caller_it_names() {
    let rig = Rig::new(|_| {});
    let caller = verify_at(&rig.acceptance, &rig.signer.usual("k1"), NOW).await.unwrap();
    assert_eq!((&*caller.issuer, &*caller.issuer_name, &*caller.subject), (ISSUER, "corp", "ana"));
    assert_eq!(
        (caller.client_id.as_deref(), caller.token_id.as_deref(), caller.key_id.as_deref()),
        (Some("desktop"), Some("t-1"), Some("k1"))
    );
    assert_eq!(caller.scopes.iter().collect::<Vec<_>>(), ["crm:read", "crm:write"]);
    assert_eq!(caller.expires, Timestamp::from_unix_seconds(SECONDS + 600));
    assert_eq!(caller.tenant, None);
    assert_eq!(caller.claims["jti"], "t-1");
}

#[tokio::test]
async fn rfc_7518_every_algorithm_verifies_with_its_own_key_only() {
    let signers =
        [("k-ec", Signer::p256()), ("k-ed", Signer::ed()), ("k-rsa", Signer::rsa()), ("k-384", Signer::p384())];
    let keys: Vec<_> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    let mut config = issuer_config(ISSUER);
    config.tokens.algorithms.push("ES384".into());
    config.tokens.algorithms.push("RS512".into());
    let acceptance = acceptance(&config, &jwks(&keys));
    let fits = [
        ("ES256", "k-ec"),
        ("EdDSA", "k-ed"),
        ("Ed25519", "k-ed"),
        ("RS256", "k-rsa"),
        ("PS256", "k-rsa"),
        ("RS512", "k-rsa"),
        ("ES384", "k-384"),
    ];
    for (alg, _) in fits {
        for (kid, signer) in &signers {
            let token = signer.token(&json!({"alg": alg, "kid": kid}), &claims());
            let expected = if fits.contains(&(alg, kid)) { Ok(()) } else { Err(VerifyError::WrongAlgorithm) };
            assert_eq!(outcome(&acceptance, &token).await, expected, "{alg} {kid}");
        }
    }
    for alg in ["RS384", "PS384", "PS512"] {
        let token = signers[2].1.token(&json!({"alg": alg, "kid": "k-rsa"}), &claims());
        assert_eq!(outcome(&acceptance, &token).await, Err(VerifyError::WrongAlgorithm), "{alg} is not in the list");
    }
}

/// J1, J2, J3, J5, J6, J7, J11 and the header half of the check-list.
#[tokio::test]
async fn rfc_8725_refuses_hostile_headers() {
    let rig = Rig::new(|_| {});
    for alg in [
        "none", "nOnE", "None", "NONE", "HS256", "HS384", "HS512", "RSA1_5", "ES512", "ES256K", "es256", "ES256 ", "",
        "dir", "EdDSA\0",
    ] {
        rig.check("alg", &with(header(), &json!({"alg": alg})), &claims(), Err(VerifyError::WrongAlgorithm)).await;
    }
    let malformed = [
        json!({"alg": "(remove)"}),
        json!({"alg": null}),
        json!({"alg": ["ES256"]}),
        json!({"alg": 256}),
        json!({"crit": ["exp-policy"], "exp-policy": 1}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"kid": 1}),
        json!({"kid": null}),
        json!({"kid": "k".repeat(257)}),
        json!({"typ": 1}),
        json!({"typ": null}),
    ];
    for change in malformed {
        rig.check("header", &with(header(), &change), &claims(), Err(MALFORMED)).await;
    }
    for typ in [
        "dpop+jwt",
        "secevent+jwt",
        "logout+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "application/logout+jwt",
        "JOSE",
        "id_token",
        "at+jwt ",
        "",
        "at+jwt\0",
        "JWT2",
        "kb+jwt",
        "vc+sd-jwt",
    ] {
        rig.check("typ", &with(header(), &json!({"typ": typ})), &claims(), Err(WRONG_TYPE)).await;
    }
    for typ in
        ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "JWT", "jwt", "application/jwt", "(remove)"]
    {
        rig.check("typ", &with(header(), &json!({"typ": typ})), &claims(), Ok(())).await;
    }
    for kid in ["../../dev/null", "k1' OR '1'='1", "k1\r\nx: y", "K1", "k1 ", "", "https://evil.example/k1", "k1\0"] {
        let token = rig.signer.token(&with(header(), &json!({"kid": kid})), &claims());
        let held =
            examine(token.as_bytes(), &rig.acceptance, NOW).into_iter().find(|check| check.name == "key").unwrap();
        assert_eq!(held.outcome, Outcome::Failed(VerifyError::UnknownKey), "{kid:?}");
        assert!(!held.found.contains(['\r', '\n', '\0']), "{held:?}");
    }
}

/// J6: a key out of the header is never used, also when the token is otherwise good.
#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let rig = Rig::new(|_| {});
    let evil = Signer::p256();
    for extra in [
        json!({"jwk": evil.jwk("k1")}),
        json!({"jku": "http://169.254.169.254/keys"}),
        json!({"x5u": "http://169.254.169.254/cert"}),
        json!({"x5c": ["AAAA"]}),
        json!({"x5t": "AAAA"}),
    ] {
        let header = with(header(), &extra);
        assert_eq!(
            outcome(&rig.acceptance, &evil.token(&header, &claims())).await,
            Err(VerifyError::BadSignature),
            "{extra}"
        );
        rig.check("ignored", &header, &claims(), Ok(())).await;
    }
}

/// J2: an HMAC over the public key, in the spellings libraries have fallen for.
#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let rsa = Signer::rsa();
    let jwk = rsa.jwk("k1");
    let acceptance =
        acceptance(&issuer_config(ISSUER), &jwks(&[jwk.clone(), Signer::Secret(b"secret".to_vec()).jwk("k2")]));
    let modulus = BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    for secret in [modulus, jwk["n"].as_str().unwrap().into(), jwk.to_string().into_bytes(), b"secret".to_vec()] {
        for kid in ["k1", "k2"] {
            for alg in ["HS256", "RS256"] {
                let token = Signer::Secret(secret.clone()).token(&json!({"alg": alg, "kid": kid}), &claims());
                assert!(verify_at(&acceptance, &token, NOW).await.is_err(), "{alg} {kid}");
            }
        }
    }
}

/// J3: one key, one algorithm, where the issuer says which.
#[tokio::test]
async fn the_keys_own_alg_binds() {
    let rsa = Signer::rsa();
    let acceptance =
        acceptance(&issuer_config(ISSUER), &jwks(&[with(rsa.jwk("k1"), &json!({"alg": "PS256", "use": "sig"}))]));
    for (alg, expected) in [("PS256", Ok(())), ("RS256", Err(VerifyError::WrongAlgorithm))] {
        assert_eq!(
            outcome(&acceptance, &rsa.token(&json!({"alg": alg, "kid": "k1"}), &claims())).await,
            expected,
            "{alg}"
        );
    }
}

/// J11: what tells an ID token when the header does not.
#[tokio::test]
async fn a_lenient_issuer_still_refuses_id_tokens() {
    let rig = Rig::new(|_| {});
    let plain = with(header(), &json!({"typ": "JWT"}));
    for change in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"token_use": "id"}),
        json!({"token_use": 1}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "Logout"}),
        json!({"typ": null}),
        json!({"typ": "DPoP"}),
        json!({"client_id": "(remove)", "scope": "(remove)"}),
        json!({"client_id": RESOURCE}),
        json!({"client_id": "(remove)", "azp": RESOURCE}),
        json!({"aud": [RESOURCE, "desktop"]}),
    ] {
        rig.check("id token", &plain, &with(claims(), &change), Err(WRONG_TYPE)).await;
    }
    for change in [
        json!({}),
        json!({"token_use": "access"}),
        json!({"typ": "Bearer"}),
        json!({"typ": "bearer"}),
        json!({"client_id": "(remove)"}),
        json!({"scope": "(remove)"}),
        json!({"client_id": "(remove)", "scope": "(remove)", "roles": ["a"]}),
    ] {
        rig.check("access token", &plain, &with(claims(), &change), Ok(())).await;
    }
    let cognito = Rig::new(|config| config.tokens.audience_claim = Some("client_id".into()));
    let authentik = with(claims(), &json!({"client_id": "(remove)", "azp": RESOURCE}));
    cognito.check("client as audience", &plain, &authentik, Ok(())).await;
}

#[tokio::test]
async fn rfc_9068_a_strict_issuer_wants_it_to_the_letter() {
    let rig = Rig::new(|config| config.tokens.strict = true);
    rig.check("good", &header(), &claims(), Ok(())).await;
    for typ in ["JWT", "(remove)", "application/jwt"] {
        rig.check("typ", &with(header(), &json!({"typ": typ})), &claims(), Err(WRONG_TYPE)).await;
    }
    for name in ["aud", "sub", "client_id", "iat", "jti", "exp"] {
        rig.check(name, &header(), &with(claims(), &json!({name: "(remove)"})), Err(MALFORMED)).await;
    }
}

#[tokio::test]
async fn a_claim_may_stand_in_for_a_missing_audience_only() {
    let rig = Rig::new(|config| config.tokens.audience_claim = Some("client_id".into()));
    let cognito = with(claims(), &json!({"aud": "(remove)", "client_id": RESOURCE, "token_use": "access"}));
    rig.check("substitute", &with(header(), &json!({"typ": "(remove)"})), &cognito, Ok(())).await;
    rig.check(
        "another client",
        &header(),
        &with(claims(), &json!({"aud": "(remove)"})),
        Err(VerifyError::WrongAudience),
    )
    .await;
    let both = with(claims(), &json!({"aud": "other", "client_id": RESOURCE}));
    rig.check("aud is there and wrong", &header(), &both, Err(VerifyError::WrongAudience)).await;
}

#[tokio::test]
async fn a_shared_issuer_is_narrowed_to_its_tenants() {
    let rig = Rig::new(|config| config.tokens.tenants = vec!["acme".into(), "beta".into()]);
    for (change, expected) in [
        (json!({"tid": "acme"}), Ok(())),
        (json!({"org_id": "beta"}), Ok(())),
        (json!({"hd": "acme"}), Ok(())),
        (json!({}), Err(VerifyError::WrongTenant)),
        (json!({"tid": "Acme"}), Err(VerifyError::WrongTenant)),
        (json!({"tid": "evil", "org_id": "acme"}), Err(VerifyError::WrongTenant)),
        (json!({"tid": "acmex"}), Err(VerifyError::WrongTenant)),
        (json!({"tid": ["acme"]}), Err(MALFORMED)),
    ] {
        rig.check("tenant", &header(), &with(claims(), &change), expected).await;
    }
    let token = rig.signer.token(&header(), &with(claims(), &json!({"tid": "acme"})));
    assert_eq!(verify_at(&rig.acceptance, &token, NOW).await.unwrap().tenant.as_deref(), Some("acme"));
}

/// J19, and the other shapes real issuers emit.
#[tokio::test]
async fn reads_scopes_clients_and_subjects_of_real_issuers() {
    let rig = Rig::new(|_| {});
    let caller = async |change: Value| {
        verify_at(&rig.acceptance, &rig.signer.token(&header(), &with(claims(), &change)), NOW).await.unwrap()
    };
    for (change, scopes) in [
        (json!({"scope": "a b  c "}), &["a", "b", "c"][..]),
        (json!({"scope": "a,b"}), &["a,b"]),
        (json!({"scope": "a\u{a0}b"}), &["a\u{a0}b"]),
        (json!({"scope": "a\tb"}), &["a\tb"]),
        (json!({"scope": "a\nb c"}), &["a\nb", "c"]),
        (json!({"scope": "b a b"}), &["a", "b"]),
        (json!({"scope": "(remove)", "scp": ["x", "y z"]}), &["x", "y z"]),
        (json!({"scope": "a", "scp": "b c"}), &["a", "b", "c"]),
        (json!({"scope": "a", "roles": ["admin"], "permissions": ["p"], "groups": ["g"]}), &["a"]),
        (json!({"scope": ""}), &[]),
    ] {
        assert_eq!(caller(change.clone()).await.scopes.iter().collect::<Vec<_>>(), scopes, "{change}");
    }
    let held = caller(json!({"scope": "crm:administer crm"})).await.scopes;
    assert!(held.has("crm") && !held.has("crm:admin") && !held.has("") && !held.has("crm:administer crm"));
    for (change, client) in [
        (json!({"client_id": "a", "azp": "b", "cid": "c", "appid": "d"}), Some("a")),
        (json!({"client_id": "(remove)", "azp": "b", "cid": "c"}), Some("b")),
        (json!({"client_id": "(remove)", "cid": "c", "appid": "d"}), Some("c")),
        (json!({"client_id": "(remove)", "appid": "d"}), Some("d")),
        (json!({"client_id": "(remove)"}), None),
    ] {
        assert_eq!(caller(change.clone()).await.client_id.as_deref(), client, "{change}");
    }
    let app = caller(json!({"sub": "(remove)", "client_id": "batch", "jti": "(remove)", "uti": "u-1"})).await;
    assert_eq!(
        (&*app.subject, app.client_id.as_deref(), app.token_id.as_deref()),
        ("batch", Some("batch"), Some("u-1"))
    );
}

#[tokio::test]
async fn leeway_is_bounded() {
    let rig = Rig::new(|config| config.tokens.clock_skew = Duration::from_hours(24));
    rig.check("within 300 s", &header(), &with(claims(), &json!({"exp": SECONDS - 299})), Ok(())).await;
    rig.check("beyond", &header(), &with(claims(), &json!({"exp": SECONDS - 300})), Err(VerifyError::Expired)).await;
}

/// J9: two issuers may use the same `kid`; each token meets only its own issuer's keys.
#[tokio::test]
async fn a_kid_is_looked_up_within_its_issuer() {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    let mut acceptance = acceptance(&issuer_config(ISSUER), &jwks(&[ours.jwk("k1")]));
    let other = super::support::acceptance(&issuer_config("https://other.example"), &jwks(&[theirs.jwk("k1")]));
    acceptance.issuers.extend(other.issuers);
    let other_claims = with(claims(), &json!({"iss": "https://other.example"}));
    for (signer, claims, expected) in [
        (&ours, claims(), Ok(())),
        (&theirs, other_claims.clone(), Ok(())),
        (&theirs, claims(), Err(VerifyError::BadSignature)),
        (&ours, other_claims, Err(VerifyError::BadSignature)),
    ] {
        assert_eq!(outcome(&acceptance, &signer.token(&header(), &claims)).await, expected);
    }
}

#[tokio::test]
async fn without_kid_exactly_one_compatible_key_decides() {
    let (one, two, rsa) = (Signer::p256(), Signer::p256(), Signer::rsa());
    let no_kid = json!({"alg": "ES256", "typ": "at+jwt"});
    let config = issuer_config(ISSUER);
    for (keys, expected) in [
        (vec![one.jwk("a"), rsa.jwk("b")], Ok(())),
        (vec![one.jwk("a"), two.jwk("b")], Err(VerifyError::UnknownKey)),
        (vec![rsa.jwk("b")], Err(VerifyError::UnknownKey)),
        (vec![with(one.jwk("a"), &json!({"kid": "(remove)"}))], Ok(())),
        (vec![two.jwk("a")], Err(VerifyError::BadSignature)),
    ] {
        let acceptance = acceptance(&config, &jwks(&keys));
        assert_eq!(outcome(&acceptance, &one.token(&no_kid, &claims())).await, expected, "{keys:?}");
    }
}

/// J10, and the reason a verdict's key holds what the route accepts.
#[tokio::test]
async fn a_token_for_one_route_is_refused_on_another() {
    let rig = Rig::new(|_| {});
    let mut server = super::support::server_config("ops", "https://mcp.example.com/ops/mcp");
    let ops = Acceptance::new(&server, rig.acceptance.issuers.clone());
    assert_eq!(outcome(&ops, &rig.signer.usual("k1")).await, Err(VerifyError::WrongAudience));
    server.audiences = vec!["other".into()];
    let reloaded = Acceptance::new(&server, rig.acceptance.issuers.clone());
    assert_ne!(ops.realm, reloaded.realm);
    assert_eq!(reloaded.realm.name(), ops.realm.name());
    assert_eq!(
        outcome(&reloaded, &rig.signer.token(&header(), &with(claims(), &json!({"aud": server.resource})))).await,
        Err(VerifyError::WrongAudience)
    );
}

#[test]
fn what_the_client_is_told_names_no_claim() {
    let retry_after = Duration::from_secs(1);
    for error in [
        VerifyError::BadSignature,
        VerifyError::Bound,
        VerifyError::Expired,
        VerifyError::KeysUnavailable { retry_after },
        VerifyError::Malformed("no `iss`"),
        VerifyError::NotYetValid,
        VerifyError::UnknownKey,
        VerifyError::WrongAlgorithm,
        VerifyError::WrongAudience,
        VerifyError::WrongIssuer,
        VerifyError::WrongTenant,
        VerifyError::WrongType("`typ`"),
    ] {
        let text = error.description();
        for word in ["aud", "iss", "typ", "kid", "claim", "key", "signature", "tenant", "=", "\""] {
            assert!(!text.contains(word) || text.contains("issued"), "{text}");
        }
        assert_eq!(error.is_unavailable(), error.retry_after().is_some());
    }
}

#[tokio::test]
async fn examine_says_what_was_expected_and_found() {
    let rig = Rig::new(|_| {});
    let token = rig.signer.token(&header(), &with(claims(), &json!({"aud": ["account", "x\u{1b}[31m"], "exp": 5})));
    let checks = examine(token.as_bytes(), &rig.acceptance, NOW);
    let failed: Vec<_> =
        checks.iter().filter(|check| check.outcome != Outcome::Passed).map(|check| check.name).collect();
    assert_eq!(failed, ["expiry", "audience"]);
    let audience = checks.iter().find(|check| check.name == "audience").unwrap();
    assert!(audience.expected.contains(RESOURCE) && audience.found.contains("account"), "{audience:?}");
    assert!(!audience.found.contains('\u{1b}'));
    assert_eq!(checks.last().unwrap().name, "signature");
    assert!(
        examine(rig.signer.usual("k1").as_bytes(), &rig.acceptance, NOW)
            .iter()
            .all(|check| check.outcome == Outcome::Passed)
    );
    assert!(checks.iter().all(|check| !check.found.contains(&token)));
}
