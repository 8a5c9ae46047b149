//! Tokens for the upstream that an authorization server gives out: what it is asked, what the upstream is shown, what the
//! caller is told, and that nobody is shown what is another's (RFC 6749, RFC 7523, RFC 8693).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use portcullis::server::drain::Signal;
use serde_json::{Value, json};

use crate::support::{Ask, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, token_of, until};

/// A token endpoint that gives out numbered tokens until it is told to answer otherwise.
#[derive(Clone)]
pub(crate) struct TokenServer {
    pub(crate) server: Upstream,
    instead: Arc<Mutex<Option<Vec<u8>>>>,
}

impl TokenServer {
    /// Tokens with these members.
    pub(crate) async fn giving(members: Value) -> Self {
        let instead: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
        let (told, count) = (instead.clone(), Mutex::new(0));
        let server = Upstream::answering(move |_| {
            if let Some(bytes) = &*told.lock().unwrap() {
                return bytes.clone();
            }
            let mut count = count.lock().unwrap();
            *count += 1;
            let mut body = json!({ "access_token": format!("issued-{count}"), "token_type": "Bearer" });
            body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            json_answer(200, &body.to_string())
        })
        .await;
        Self { server, instead }
    }

    pub(crate) async fn exchanging() -> Self {
        Self::giving(json!({ "expires_in": 300, "issued_token_type": ACCESS_TOKEN })).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.server.address)
    }

    pub(crate) fn answers(&self, bytes: Option<Vec<u8>>) {
        *self.instead.lock().unwrap() = bytes;
    }

    /// The forms posted since the last time.
    pub(crate) fn forms(&self) -> Vec<BTreeMap<String, String>> {
        self.server.take().iter().map(form).collect()
    }
}

pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The parameters of a posted form, each once.
pub(crate) fn form(heard: &Heard) -> BTreeMap<String, String> {
    assert_eq!(heard.header("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(heard.header("accept").as_deref(), Some("application/json"));
    let pairs: Vec<_> = url::form_urlencoded::parse(&heard.body).into_owned().collect();
    let form: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(form.len(), pairs.len(), "a parameter twice: {pairs:?}");
    form
}

fn listing(token: &str) -> Ask {
    Ask::modern("tools/list", &json!({})).token(token)
}

fn searching(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({})).token(token)
}

/// What the upstream was shown since the last time.
pub(crate) fn shown(upstream: &Upstream) -> Vec<Option<String>> {
    upstream.take().iter().map(|heard| heard.header("authorization")).collect()
}

fn granted(kind: &str, server: &TokenServer, keys: &str) -> String {
    format!("upstream_auth = {{ type = \"{kind}\", token_endpoint = \"{}\", {keys} }}", server.url())
}

const SECRET: &str = "client_id = \"gate\", client_secret = { file = \"client-secret\" }";

async fn exchanging(upstream: &Upstream, server: &TokenServer) -> Proxy {
    let keys = format!("{SECRET}, audience = \"crm-api\", scopes = [\"crm.use\"]");
    let setup = Setup::new(upstream.url()).file("client-secret", "of-the-gate\n");
    let proxy = setup.server(&granted("token_exchange", server, &keys)).start().await;
    proxy.keep_secret("of-the-gate".to_owned());
    proxy.keep_secret("issued-".to_owned());
    proxy
}

/// How often asking for tokens ended like that.
async fn counted(proxy: &Proxy, grant: &str, result: &str) -> u64 {
    let label =
        format!("portcullis_upstream_token_requests_total{{server=\"crm\",grant=\"{grant}\",result=\"{result}\"}} ");
    let answer = proxy.admin("/metrics").await;
    answer.text().lines().find_map(|line| line.strip_prefix(&label)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn rfc_6749_the_proxys_own_token_is_asked_for_once_and_shown() {
    for (keys, authorization, expected) in [
        // RFC 6749 section 2.3.1: both are form-encoded first.
        (
            "client_id = \"ga te\", client_secret = { file = \"client-secret\" }",
            Some("Basic Z2ErdGU6b2YtdGhlLWdhdGUlMkI="),
            vec![],
        ),
        (
            "client_id = \"gate\", auth_method = \"client_secret_post\", client_secret = { file = \"client-secret\" }, \
             resource = \"https://crm.example.com/mcp\", audience = \"crm-api\", scopes = [\"a\", \"b\"]",
            None,
            vec![
                ("client_id", "gate"),
                ("client_secret", "of-the-gate+"),
                ("resource", "https://crm.example.com/mcp"),
                ("audience", "crm-api"),
                ("scope", "a b"),
            ],
        ),
    ] {
        let upstream = Upstream::plain().await;
        let server = TokenServer::giving(json!({ "expires_in": 300 })).await;
        let setup = Setup::new(upstream.url()).file("client-secret", "of-the-gate+\n");
        let proxy = setup.server(&granted("client_credentials", &server, keys)).start().await;
        proxy.keep_secret("of-the-gate".to_owned());
        proxy.keep_secret("issued-1".to_owned());
        let (ana, max) = (proxy.token("ana"), proxy.token("max"));
        let asks: Vec<_> = (0..8).map(|at| listing(if at % 2 == 0 { &ana } else { &max })).collect();
        let answers = futures_util::future::join_all(asks.iter().map(|ask| proxy.ask(ask))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let heard = server.server.take();
        assert_eq!(heard.len(), 1, "one request for everybody");
        assert_eq!(heard[0].header("authorization").as_deref(), authorization);
        let expected = expected.into_iter().chain([("grant_type", "client_credentials")]);
        let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(form(&heard[0]), expected);
        assert_eq!(shown(&upstream), vec![Some("Bearer issued-1".to_owned()); 8]);
        assert_eq!(counted(&proxy, "client_credentials", "ok").await, 1);
        for secret in ["of-the-gate", "issued-1", &ana, &max] {
            proxy.assert_not_kept(secret).await;
        }
    }
}

#[tokio::test]
async fn rfc_7523_the_proxy_shows_itself_with_a_signed_assertion() {
    let upstream = Upstream::plain().await;
    let server = TokenServer::giving(json!({ "expires_in": 300 })).await;
    let pair = rcgen::KeyPair::generate().unwrap();
    let keys = "client_id = \"gate\", private_key_file = \"client.pem\", key_id = \"k1\"";
    let setup = Setup::new(upstream.url()).file("client.pem", pair.serialize_pem());
    let proxy = setup.server(&granted("client_credentials", &server, keys)).start().await;
    assert_eq!(proxy.ask(&listing(&proxy.token("ana"))).await.status, 200);
    let heard = server.server.take();
    assert_eq!(heard[0].header("authorization"), None);
    let form = form(&heard[0]);
    assert_eq!(form["client_id"], "gate");
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let assertion = &form["client_assertion"];
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[server.url()]);
    validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
    validation.set_issuer(&["gate"]);
    let key = jsonwebtoken::DecodingKey::from_ec_der(pair.public_key_raw());
    let decoded = jsonwebtoken::decode::<Value>(assertion, &key, &validation).unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some("k1"));
    let claims = decoded.claims;
    assert_eq!(claims["sub"], "gate");
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 300);
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    proxy.assert_not_kept(assertion).await;
}

#[tokio::test]
async fn rfc_8414_the_token_endpoint_is_read_from_the_issuers_metadata() {
    let upstream = Upstream::plain().await;
    let place: Arc<Mutex<(String, String)>> = Arc::default();
    let told = place.clone();
    let server = Upstream::answering(move |heard| {
        let (issuer, endpoint) = told.lock().unwrap().clone();
        if heard.line().starts_with("GET /.well-known/oauth-authorization-server") {
            return json_answer(200, &json!({ "issuer": issuer, "token_endpoint": endpoint }).to_string());
        }
        if heard.line().starts_with("POST /elsewhere") {
            let body = json!({ "access_token": "issued-1", "token_type": "bearer", "expires_in": 60 });
            return json_answer(200, &body.to_string());
        }
        raw_answer(404, "", b"")
    })
    .await;
    let issuer = format!("http://{}", server.address);
    let other = TokenServer::exchanging().await;
    for (said, endpoint, status) in [
        (issuer.clone(), format!("{issuer}/elsewhere"), 200),
        // RFC 8414 section 3.3, and what must never be asked because a document says so.
        (format!("{issuer}/"), format!("{issuer}/elsewhere"), 503),
        (issuer.clone(), "http://10.0.0.1/token".to_owned(), 503),
        (issuer.clone(), "https://169.254.169.254/token".to_owned(), 503),
        (issuer.clone(), other.url().replace("127.0.0.1", "127.0.0.2"), 503),
        (issuer.clone(), "file:///etc/passwd".to_owned(), 503),
    ] {
        *place.lock().unwrap() = (said.clone(), endpoint.clone());
        let keys = format!("upstream_auth = {{ type = \"client_credentials\", issuer = \"{issuer}\", {SECRET} }}");
        let setup = Setup::new(upstream.url()).file("client-secret", "of-the-gate");
        let proxy = setup.server(&keys).start().await;
        let answer = proxy.ask(&listing(&proxy.token("ana"))).await;
        assert_eq!(answer.status, status, "{said} {endpoint}");
        assert_eq!(counted(&proxy, "client_credentials", "undiscovered").await, u64::from(status == 503));
        let (shown, heard) = (shown(&upstream), server.take());
        assert_eq!(shown.len(), usize::from(status == 200), "{endpoint}");
        if status == 503 {
            assert_eq!(answer.json()["error"]["code"], -31503);
            assert!(answer.header("retry-after").is_some());
            assert!(heard.iter().all(|heard| heard.line().starts_with("GET")), "{endpoint}");
            assert!(other.server.take().is_empty());
        }
    }
}

#[tokio::test]
async fn rfc_8693_each_callers_token_is_exchanged_for_one_of_its_own() {
    let upstream = Upstream::plain().await;
    upstream.offer(&json!([{ "name": "search_contacts", "inputSchema": { "type": "object" } }]));
    let server = TokenServer::exchanging().await;
    let proxy = exchanging(&upstream, &server).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    // Another login of the same person is another token, and nothing of the first one's.
    let again = proxy.mint(&{
        let mut claims = token_of(&proxy.issuer, "ana");
        claims.insert("jti".into(), "another".into());
        claims
    });
    for _ in 0..3 {
        for (token, number) in [(&ana, 1), (&max, 2), (&again, 3)] {
            assert_eq!(proxy.ask(&searching(token)).await.status, 200);
            assert_eq!(shown(&upstream), [Some(format!("Bearer issued-{number}"))]);
        }
    }
    let forms = server.forms();
    assert_eq!(forms.len(), 3, "{forms:?}");
    for (form, token) in forms.iter().zip([&ana, &max, &again]) {
        let expected = [
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "crm-api"),
            ("scope", "crm.use"),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(*form, expected);
    }
    // What tools there are was asked with each caller's own token too.
    let listed: Vec<_> = upstream.listings().iter().map(|heard| heard.header("authorization").unwrap()).collect();
    assert_eq!(listed, ["Bearer issued-1", "Bearer issued-2", "Bearer issued-3"]);
    for secret in ["issued-", "of-the-gate", &ana, &max] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn rfc_8693_actor_and_token_types_are_said_and_checked() {
    let upstream = Upstream::plain().await;
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let server = TokenServer::giving(json!({ "expires_in": 300, "issued_token_type": jwt })).await;
    let keys = format!(
        "{SECRET}, resource = [\"https://crm.example.com/mcp\", \"https://log.example.com/\"], \
         subject_token_type = \"{jwt}\", requested_token_type = \"{jwt}\", actor_token = {{ file = \"actor\" }}"
    );
    let setup = Setup::new(upstream.url()).file("client-secret", "s").file("actor", "who-acts-1\n");
    let proxy = setup.server(&granted("token_exchange", &server, &keys)).start().await;
    let ana = proxy.token("ana");
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
    let heard = server.server.take();
    let pairs: Vec<_> = url::form_urlencoded::parse(&heard[0].body).into_owned().collect();
    let of =
        |name: &str| pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
    assert_eq!(of("resource"), ["https://crm.example.com/mcp", "https://log.example.com/"]);
    assert_eq!((of("subject_token_type"), of("requested_token_type")), (vec![jwt], vec![jwt]));
    assert_eq!((of("actor_token"), of("actor_token_type")), (vec!["who-acts-1"], vec![jwt]));
    // A workload's own token is replaced in its file, and needs no reload.
    proxy.folder.write("actor", "who-acts-2\n");
    assert_eq!(proxy.ask(&listing(&proxy.token("max"))).await.status, 200);
    let heard = server.server.take();
    let pairs: Vec<_> = url::form_urlencoded::parse(&heard[0].body).into_owned().collect();
    assert!(pairs.contains(&("actor_token".to_owned(), "who-acts-2".to_owned())));
    for secret in ["who-acts", &ana] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn entra_on_behalf_of_asks_as_it_is_documented() {
    let upstream = Upstream::plain().await;
    let server = TokenServer::giving(json!({ "expires_in": "3599", "ext_expires_in": 3599 })).await;
    let keys = format!("{SECRET}, scopes = [\"api://crm/.default\"]");
    let setup = Setup::new(upstream.url()).file("client-secret", "s");
    let proxy = setup.server(&granted("on_behalf_of", &server, &keys)).start().await;
    let ana = proxy.token("ana");
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", ana.as_str()),
        ("scope", "api://crm/.default"),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(server.forms(), [expected]);
    assert_eq!(shown(&upstream), [Some("Bearer issued-1".to_owned())]);
}

#[tokio::test]
async fn id_jag_the_identity_providers_assertion_is_taken_to_the_upstreams_own_server() {
    let upstream = Upstream::plain().await;
    let jag = "urn:ietf:params:oauth:token-type:id-jag";
    let provider = Upstream::answering(move |_| {
        let body =
            json!({ "access_token": "as.ser.tion", "token_type": "N_A", "issued_token_type": jag, "expires_in": 300 });
        json_answer(200, &body.to_string())
    })
    .await;
    let server = TokenServer::giving(json!({ "expires_in": 300 })).await;
    let keys = format!(
        "upstream_auth = {{ type = \"id_jag\", token_endpoint = \"http://{}/token\", {SECRET}, \
         resource = \"https://crm.example.com/mcp\", scopes = [\"crm.use\"], authorization_server = {{ \
         issuer = \"http://127.0.0.1:1\", token_endpoint = \"{}\", client_id = \"there\", client_secret = {{ file = \"client-secret\" }} }} }}",
        provider.address,
        server.url()
    );
    let setup = Setup::new(upstream.url()).file("client-secret", "s");
    let proxy = setup.server(&keys).start().await;
    let ana = proxy.token("ana");
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
    let first = [
        ("grant_type", EXCHANGE),
        ("subject_token", ana.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", jag),
        ("audience", "http://127.0.0.1:1"),
        ("resource", "https://crm.example.com/mcp"),
        ("scope", "crm.use"),
    ];
    let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(provider.take().iter().map(form).collect::<Vec<_>>(), [owned(&first)]);
    let second = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "as.ser.tion"),
        ("scope", "crm.use"),
    ];
    assert_eq!(server.forms(), [owned(&second)], "the caller's token is not seen there");
    assert_eq!(shown(&upstream), [Some("Bearer issued-1".to_owned())]);
    // A refused assertion is not the caller's token refused: another login would bring the same one.
    server.answers(Some(json_answer(400, r#"{"error":"invalid_grant"}"#)));
    assert_eq!(proxy.ask(&listing(&proxy.token("max"))).await.status, 502);
    for secret in ["as.ser.tion", "issued-1", &ana] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn rfc_8693_each_refusal_becomes_the_right_answer() {
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let encoded = data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes());
    let error =
        |code: &str| json_answer(400, &json!({ "error": code, "error_description": "s3cret words" }).to_string());
    let challenge =
        |claims: &Value| json_answer(400, &json!({ "error": "interaction_required", "claims": claims }).to_string());
    let consent = json_answer(400, r#"{"error":"invalid_grant","suberror":"consent_required"}"#);
    for (bytes, status, code, header, reason) in [
        (error("invalid_grant"), 401, -31401, "error=\"invalid_token\"", "invalid_grant"),
        (
            error("interaction_required"),
            401,
            -31401,
            "error=\"insufficient_user_authentication\"",
            "interaction_required",
        ),
        (error("login_required"), 401, -31401, "error=\"insufficient_user_authentication\"", "login_required"),
        (challenge(&claims.into()), 401, -31401, "error=\"insufficient_claims\"", "interaction_required"),
        (challenge(&"not JSON".into()), 401, -31401, "insufficient_user_authentication", "interaction_required"),
        (challenge(&"x".repeat(5000).into()), 401, -31401, "insufficient_user_authentication", "interaction_required"),
        // Not the caller's 401: no other token of the caller's would help.
        (error("invalid_target"), 502, -31502, "", "invalid_target"),
        (error("invalid_request"), 502, -31502, "", "invalid_request"),
        (error("invalid_client"), 502, -31502, "", "invalid_client"),
        (json_answer(401, "{}"), 502, -31502, "", "invalid_client"),
        (error("unauthorized_client"), 502, -31502, "", "unauthorized_client"),
        (error("unsupported_grant_type"), 502, -31502, "", "unsupported_grant_type"),
        (error("made_up"), 502, -31502, "", "other_error"),
        (error("invalid_scope"), 200, -31403, "", "invalid_scope"),
        (error("access_denied"), 200, -31403, "", "access_denied"),
        (consent, 200, -31403, "", "consent_required"),
        (error("temporarily_unavailable"), 503, -31503, "", "temporarily_unavailable"),
        (json_answer(500, "{}"), 503, -31503, "", "server_error"),
        (raw_answer(503, "Retry-After: 7\r\n", b""), 503, -31503, "retry 7", "server_error"),
        (raw_answer(429, "Retry-After: 9\r\n", b""), 503, -31503, "retry 9", "too_many_requests"),
    ] {
        let upstream = Upstream::plain().await;
        let server = TokenServer::exchanging().await;
        let proxy = exchanging(&upstream, &server).await;
        proxy.keep_secret("s3cret words".to_owned());
        server.answers(Some(bytes));
        let ana = proxy.token("ana");
        let answer = proxy.ask(&listing(&ana)).await;
        assert_eq!(answer.status, status, "{reason}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], code, "{reason}");
        let challenges = answer.header("www-authenticate").unwrap_or_default().to_owned();
        match header.strip_prefix("retry ") {
            Some(seconds) => assert_eq!(answer.header("retry-after"), Some(seconds), "{reason}"),
            None => assert!(challenges.contains(header), "{reason}: {challenges}"),
        }
        assert_eq!(status == 401, !challenges.is_empty(), "{reason}");
        assert_eq!(challenges.contains(&format!("claims=\"{encoded}\"")), header.contains("claims"), "{challenges}");
        assert_eq!(counted(&proxy, "token_exchange", reason).await, 1, "{reason}");
        assert!(upstream.take().is_empty(), "{reason}: the call was not made");
        assert!(proxy.audit().last().unwrap()["error"].is_string() || status == 200, "{reason}");
        // It is not asked again with every call of the same caller, but for what may be over by then.
        server.forms();
        assert_eq!(proxy.ask(&listing(&ana)).await.status, status, "{reason}");
        assert_eq!(server.forms().is_empty(), status != 503, "{reason}");
        // Another caller is another matter.
        server.answers(None);
        assert_eq!(proxy.ask(&listing(&proxy.token("max"))).await.status, 200, "{reason}");
    }
}

#[tokio::test]
async fn a_call_that_may_not_have_a_token_is_a_tool_error_a_model_can_read() {
    let upstream = Upstream::plain().await;
    let server = TokenServer::exchanging().await;
    let proxy = exchanging(&upstream, &server).await;
    server.answers(Some(json_answer(400, r#"{"error":"access_denied"}"#)));
    let ask = Ask::call("2025-11-25", "search_contacts", &json!({})).token(&proxy.token("ana"));
    let answer = proxy.ask(&ask).await;
    assert_eq!((answer.status, &answer.json()["result"]["isError"]), (200, &json!(true)), "{answer:?}");
    assert!(answer.text().contains("does not let this caller use the upstream server"));
}

#[tokio::test]
async fn what_is_no_token_is_refused_with_a_counted_reason() {
    let ok =
        json!({ "access_token": "t", "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN, "expires_in": 60 });
    let with = |changes: Value| {
        let mut body = ok.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value == "(remove)" {
                body.as_object_mut().unwrap().remove(name);
            } else {
                body[name] = value.clone();
            }
        }
        json_answer(200, &body.to_string())
    };
    let huge = format!("{{\"access_token\":\"{}\"}}", "x".repeat(70_000));
    let html = b"<html>sign in to the wireless</html>";
    for (bytes, reason) in [
        (json_answer(200, &huge), "too_large"),
        (raw_answer(200, "Content-Type: text/html\r\n", html), "content_type"),
        (raw_answer(200, "", ok.to_string().as_bytes()), "content_type"),
        (raw_answer(200, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"x"), "content_coding"),
        (raw_answer(302, "Location: http://127.0.0.1:1/\r\n", b""), "redirect"),
        (raw_answer(307, "Location: /token\r\n", b""), "redirect"),
        (raw_answer(404, "Content-Type: text/html\r\n", html), "status"),
        (json_answer(201, &ok.to_string()), "status"),
        (json_answer(200, "{"), "not_json"),
        (json_answer(200, "[]"), "not_json"),
        (json_answer(200, r#"{"access_token":"a","access_token":"b"}"#), "not_json"),
        (with(json!({ "access_token": "(remove)" })), "no_access_token"),
        (with(json!({ "access_token": 1 })), "no_access_token"),
        (with(json!({ "access_token": "" })), "access_token"),
        (with(json!({ "access_token": "a b" })), "access_token"),
        (with(json!({ "access_token": "a\r\nX-Evil: 1" })), "access_token"),
        (with(json!({ "access_token": "é" })), "access_token"),
        (with(json!({ "access_token": "x".repeat(20_000) })), "access_token"),
        (with(json!({ "token_type": "(remove)" })), "token_type"),
        (with(json!({ "token_type": "DPoP" })), "token_type"),
        (with(json!({ "token_type": "N_A" })), "token_type"),
        (with(json!({ "issued_token_type": "(remove)" })), "issued_token_type"),
        (with(json!({ "issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token" })), "issued_token_type"),
        (with(json!({ "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag" })), "issued_token_type"),
        (with(json!({ "expires_in": -1 })), "expires_in"),
        (with(json!({ "expires_in": 0 })), "expires_in"),
        (with(json!({ "expires_in": "soon" })), "expires_in"),
        (with(json!({ "expires_in": 1.5 })), "expires_in"),
        (with(json!({ "expires_in": null })), "expires_in"),
        (with(json!({ "expires_in": "-60" })), "expires_in"),
    ] {
        let upstream = Upstream::plain().await;
        let server = TokenServer::exchanging().await;
        let proxy = exchanging(&upstream, &server).await;
        server.answers(Some(bytes));
        let answer = proxy.ask(&listing(&proxy.token("ana"))).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!(-31502)), "{reason}: {answer:?}");
        assert_eq!(counted(&proxy, "token_exchange", reason).await, 1, "{reason}");
        assert!(upstream.take().is_empty(), "{reason}");
        assert_eq!(server.forms().len(), 1, "{reason}");
    }
    // What is unusual and right.
    for changes in [
        json!({ "expires_in": "(remove)" }),
        json!({ "expires_in": 999_999_999 }),
        json!({ "token_type": "bEARER" }),
        json!({ "scope": "crm.use more" }),
    ] {
        let (upstream, server) = (Upstream::plain().await, TokenServer::exchanging().await);
        let proxy = exchanging(&upstream, &server).await;
        server.answers(Some(with(changes.clone())));
        assert_eq!(proxy.ask(&listing(&proxy.token("ana"))).await.status, 200, "{changes}");
    }
    let (upstream, server) = (Upstream::plain().await, TokenServer::exchanging().await);
    let proxy = exchanging(&upstream, &server).await;
    server.answers(Some(with(json!({ "scope": "less" }))));
    assert_eq!(proxy.ask(&listing(&proxy.token("ana"))).await.status, 200);
    assert_eq!(counted(&proxy, "token_exchange", "narrowed").await, 1);
}

#[tokio::test]
async fn a_token_endpoint_that_is_away_is_left_alone_for_a_while() {
    let upstream = Upstream::plain().await;
    let keys = format!(
        "upstream_auth = {{ type = \"client_credentials\", token_endpoint = \"http://127.0.0.1:1/\", {SECRET} }}"
    );
    let proxy = Setup::new(upstream.url()).file("client-secret", "s").server(&keys).start().await;
    let ana = proxy.token("ana");
    for _ in 0..10 {
        let answer = proxy.ask(&listing(&ana)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!(-31503)));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(counted(&proxy, "client_credentials", "unreachable").await, 1, "one failure, and then a pause");
    assert!(upstream.take().is_empty());
}

#[tokio::test]
async fn a_token_that_upsets_the_token_endpoint_is_its_callers_loss_alone() {
    let failures = [json_answer(500, "{}"), raw_answer(429, "Retry-After: 60\r\n", b""), json_answer(401, "{}")];
    for bytes in failures {
        let (upstream, server) = (Upstream::plain().await, TokenServer::exchanging().await);
        let proxy = exchanging(&upstream, &server).await;
        server.answers(Some(bytes));
        // Another login each time, so that nothing is known of any of them.
        for number in 0..6 {
            let mut claims = token_of(&proxy.issuer, "ana");
            claims.insert("jti".into(), format!("login-{number}").into());
            assert_ne!(proxy.ask(&listing(&proxy.mint(&claims))).await.status, 200);
        }
        assert_eq!(server.forms().len(), 2, "it is not asked for this caller for a while");
        server.answers(None);
        assert_eq!(proxy.ask(&listing(&proxy.token("max"))).await.status, 200);
    }
}

/// An upstream that takes only the newest token and remembers what it was shown.
async fn particular(refused: &Arc<Mutex<Vec<String>>>) -> Upstream {
    let refused = refused.clone();
    Upstream::answering(move |heard| {
        let shown = heard.header("authorization").unwrap_or_default();
        if refused.lock().unwrap().contains(&shown) {
            return raw_answer(401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", b"");
        }
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id()))
    })
    .await
}

#[tokio::test]
async fn a_token_the_upstream_refuses_is_replaced_and_only_what_changes_nothing_is_sent_again() {
    let refused = Arc::default();
    let upstream = particular(&refused).await;
    let server = TokenServer::giving(json!({ "expires_in": 300 })).await;
    let setup = Setup::new(upstream.url()).file("client-secret", "s");
    let proxy = setup.server(&granted("client_credentials", &server, SECRET)).start().await;
    let max = proxy.token("max");
    let list = listing(&max);
    let call = Ask::call("2025-11-25", "search_contacts", &json!({})).token(&max);
    assert_eq!(proxy.ask(&list).await.status, 200);
    assert_eq!(shown(&upstream), [Some("Bearer issued-1".to_owned())]);
    // A list is asked for again with the next token, and the caller never knows.
    refused.lock().unwrap().push("Bearer issued-1".to_owned());
    assert_eq!(proxy.ask(&list).await.status, 200);
    assert_eq!(shown(&upstream), ["issued-1", "issued-2"].map(|token| Some(format!("Bearer {token}"))));
    // A call may have been made, whatever the answer says. The next one has another token.
    refused.lock().unwrap().push("Bearer issued-2".to_owned());
    let answer = proxy.ask(&call).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!(-31502)));
    assert!(answer.header("www-authenticate").is_none());
    assert_eq!(shown(&upstream), [Some("Bearer issued-2".to_owned())]);
    assert_eq!(proxy.ask(&call).await.status, 200);
    assert_eq!(shown(&upstream), [Some("Bearer issued-3".to_owned())]);
    // An upstream that takes no token at all does not make the proxy ask for one with every call.
    refused.lock().unwrap().extend((3..20).map(|number| format!("Bearer issued-{number}")));
    server.forms();
    for _ in 0..6 {
        assert_eq!(proxy.ask(&list).await.status, 502);
    }
    assert_eq!(server.forms().len(), 1);
}

#[tokio::test]
async fn an_upstream_that_takes_every_token_only_once_has_few_requested() {
    let refused = Arc::<Mutex<Vec<String>>>::default();
    let once = refused.clone();
    let upstream = Upstream::answering(move |heard| {
        let (shown, mut used) = (heard.header("authorization").unwrap_or_default(), once.lock().unwrap());
        if used.contains(&shown) {
            return raw_answer(401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", b"");
        }
        used.push(shown);
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, heard.id()))
    })
    .await;
    let server = TokenServer::exchanging().await;
    let setup = Setup::new(upstream.url()).file("client-secret", "s");
    let keys = granted("token_exchange", &server, &format!("{SECRET}, audience = \"crm-api\""));
    let proxy = setup.server(&keys).start().await;
    let (ana, max) = (listing(&proxy.token("ana")), listing(&proxy.token("max")));
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(proxy.ask(&ana).await.status);
    }
    assert_eq!(answers[..4], [200; 4]);
    assert_eq!(answers[4..], [502; 16], "these tokens are too young to be replaced once more");
    assert_eq!(server.forms().len(), 4);
    assert_eq!(proxy.ask(&max).await.status, 200, "another caller has its own");
}

#[tokio::test]
async fn what_was_exchanged_goes_when_the_callers_token_is_revoked() {
    let upstream = Upstream::plain().await;
    let server = TokenServer::exchanging().await;
    let keys = format!("{SECRET}, audience = \"crm-api\"");
    let setup = Setup::new(upstream.url()).file("client-secret", "s").file("revoked.jsonl", "");
    let setup = setup.issuer_keys("revocation_file = \"revoked.jsonl\"");
    let proxy = setup.server(&granted("token_exchange", &server, &keys)).start().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for token in [&ana, &max] {
        assert_eq!(proxy.ask(&listing(token)).await.status, 200);
    }
    proxy.folder.write("revoked.jsonl", "{\"sub\":\"ana\"}\n");
    proxy.signal(Signal::Reload).await;
    until("the revocation", async || (proxy.ask(&listing(&ana)).await.status == 401).then_some(())).await;
    until("the token to be dropped", async || (counted(&proxy, "token_exchange", "revoked").await == 1).then_some(()))
        .await;
    // The other's stays: a reload that does not touch the exchange keeps what it holds.
    server.forms();
    assert_eq!(proxy.ask(&listing(&max)).await.status, 200);
    assert!(server.forms().is_empty());
}

#[tokio::test]
async fn a_secret_that_changes_in_its_file_is_used_from_then_on() {
    let upstream = Upstream::plain().await;
    let server = TokenServer::giving(json!({ "expires_in": 300 })).await;
    let keys =
        "client_id = \"gate\", auth_method = \"client_secret_post\", client_secret = { file = \"client-secret\" }";
    let setup = Setup::new(upstream.url()).file("client-secret", "first-secret");
    let proxy = setup.server(&granted("client_credentials", &server, keys)).start().await;
    let ana = proxy.token("ana");
    assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
    assert_eq!(server.forms()[0]["client_secret"], "first-secret");
    // Nobody asks for a reload: the file is watched.
    proxy.folder.write("client-secret", "second-secret");
    let form = until("the new secret", async || {
        assert_eq!(proxy.ask(&listing(&ana)).await.status, 200);
        server.forms().pop()
    })
    .await;
    assert_eq!(form["client_secret"], "second-secret");
    for secret in ["first-secret", "second-secret"] {
        proxy.assert_not_kept(secret).await;
    }
}

#[tokio::test]
async fn a_tool_may_be_shown_with_another_credential_than_its_server() {
    let upstream = Upstream::plain().await;
    upstream.offer(&json!([
        { "name": "search_contacts", "inputSchema": { "type": "object" } },
        { "name": "get_contact", "inputSchema": { "type": "object" } },
    ]));
    let server = TokenServer::exchanging().await;
    let setup = Setup::new(upstream.url()).file("client-secret", "s").file("static", "of-the-proxy");
    let setup = setup.server("upstream_auth = { type = \"bearer\", token = { file = \"static\" } }").tables(&format!(
        "[servers.crm.tool_auth.get_contact]\ntype = \"token_exchange\"\ntoken_endpoint = \"{}\"\nclient_id = \"gate\"\n\
         client_secret = {{ file = \"client-secret\" }}\naudience = \"contacts\"\n",
        server.url()
    ));
    let proxy = setup.start().await;
    let ana = proxy.token("ana");
    for revision in ["2025-11-25", "2026-07-28"] {
        let get = Ask::call(revision, "get_contact", &json!({ "id": "c1" })).token(&ana);
        for (ask, expected) in [
            (Ask::call(revision, "search_contacts", &json!({})).token(&ana), "Bearer of-the-proxy"),
            (get.clone(), "Bearer issued-1"),
            (Ask::of(revision, "tools/list", &json!({})).token(&ana), "Bearer of-the-proxy"),
            (get, "Bearer issued-1"),
        ] {
            let answer = proxy.ask(&ask).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(shown(&upstream), [Some(expected.to_owned())]);
        }
    }
    assert_eq!(server.forms().len(), 1);
}

#[tokio::test]
async fn a_token_that_goes_round_in_a_circle_is_not_exchanged_again() {
    let (upstream, server) = (Upstream::plain().await, TokenServer::exchanging().await);
    let proxy = exchanging(&upstream, &server).await;
    let acting = |times: usize| {
        let mut claims = token_of(&proxy.issuer, "ana");
        let act = (0..times).fold(json!(null), |act, _| {
            if act.is_null() { json!({ "sub": "gate" }) } else { json!({ "sub": "gate", "act": act }) }
        });
        if !act.is_null() {
            claims.insert("act".into(), act);
        }
        proxy.mint(&claims)
    };
    for (times, asked) in [(0, 1), (2, 1), (3, 0)] {
        let answer = proxy.ask(&listing(&acting(times))).await;
        assert_eq!((answer.json().get("error").is_none(), server.forms().len()), (asked == 1, asked), "{times}");
    }
}

#[tokio::test]
async fn who_shows_no_token_has_none_to_exchange() {
    let (upstream, server) = (Upstream::plain().await, TokenServer::exchanging().await);
    let keys = format!("{SECRET}, audience = \"crm-api\"");
    let setup = Setup::new(upstream.url()).file("client-secret", "s");
    let policy = "[[rule]]\nid = \"public\"\ntools = [\"see\"]\nanonymous = true\n";
    let proxy = setup.policy(policy).server(&granted("token_exchange", &server, &keys)).start().await;
    let answer = proxy.ask(&Ask::modern("tools/list", &json!({}))).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(!answer.header("www-authenticate").unwrap().contains("error="), "nothing was presented");
    assert!(upstream.take().is_empty() && server.server.take().is_empty());
}

#[tokio::test]
async fn the_same_name_at_two_issuers_and_one_caller_on_two_servers_share_nothing() {
    let (crm, wiki) = (Upstream::plain().await, Upstream::plain().await);
    let server = TokenServer::exchanging().await;
    let other = Setup::new_issuer().await;
    let auth = granted("token_exchange", &server, &format!("{SECRET}, audience = \"api\""));
    let setup = Setup::new(crm.url()).file("client-secret", "s").server(&auth);
    let setup = setup
        .file("wiki.toml", "[[rule]]\nid = \"all\"\ntools = [\"**\"]\nissuer = [\"corp\", \"other\"]\n")
        .tables(&format!(
            "[issuers.other]\nissuer = \"{}\"\ninsecure_loopback = true\n[servers.wiki]\npath = \"/wiki/mcp\"\n\
             upstream = \"{}\"\npolicies = [\"wiki.toml\"]\nissuers = [\"corp\", \"other\"]\n{auth}\n",
            other.url(),
            wiki.url()
        ));
    let proxy = setup.start().await;
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("aud".into(), json!(["https://gw.test/crm/mcp", "https://gw.test/wiki/mcp"]));
    let here = proxy.mint(&claims);
    claims.insert("iss".into(), json!(other.url()));
    let there = proxy.keep_secret(other.mint_claims(&claims).unwrap());
    for _ in 0..2 {
        for (target, token, upstream, expected) in [
            ("/crm/mcp", &here, &crm, "Bearer issued-1"),
            ("/wiki/mcp", &here, &wiki, "Bearer issued-2"),
            ("/wiki/mcp", &there, &wiki, "Bearer issued-3"),
        ] {
            assert_eq!(proxy.ask(&listing(token).target(target)).await.status, 200, "{target}");
            assert_eq!(shown(upstream), [Some(expected.to_owned())], "{target}");
        }
        assert_eq!(proxy.ask(&listing(&there)).await.status, 401, "an issuer this server does not accept");
    }
    let subjects: Vec<_> = server.forms().into_iter().map(|form| form["subject_token"].clone()).collect();
    assert_eq!(subjects, [here.clone(), here, there]);
}
