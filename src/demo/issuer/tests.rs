//! The issuer over real sockets, as clients see it.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::redirect::Policy;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const RESOURCE: &str = "http://127.0.0.1:8080/crm/mcp";
const CALLBACK: &str = "http://127.0.0.1:33418/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct Browser {
    issuer: Issuer,
    http: reqwest::Client,
}

fn settings() -> Settings {
    Settings { resources: vec![RESOURCE.to_owned()], login: Login::Hint, ..Settings::default() }
}

async fn start(settings: Settings) -> Browser {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer::start(listener, settings).unwrap();
    let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    Browser { issuer, http }
}

/// A request that is right, for tests to spoil.
fn request() -> BTreeMap<&'static str, String> {
    [
        ("response_type", "code"),
        ("client_id", client::PUBLIC),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", RESOURCE),
        ("scope", "crm:read"),
        ("state", "a state & more"),
        ("login_hint", "ana"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn pairs<'a>(map: &'a BTreeMap<&'static str, String>) -> impl Iterator<Item = (&'a str, &'a str)> {
    map.iter().map(|(name, value)| (*name, value.as_str()))
}

/// What the client reads out of the address it gets the browser back at.
fn answer_of(response: &reqwest::Response) -> BTreeMap<String, String> {
    let location = response.headers()["location"].to_str().unwrap();
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

impl Browser {
    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.issuer.url())).send().await.unwrap()
    }

    async fn authorize(&self, request: &BTreeMap<&'static str, String>) -> reqwest::Response {
        self.get(&format!("/authorize?{}", encode(pairs(request)))).await
    }

    async fn code(&self, request: &BTreeMap<&'static str, String>) -> String {
        answer_of(&self.authorize(request).await).remove("code").unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.issuer.url()));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(encode(form.iter().copied())).send().await.unwrap()
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let response = self.post("/token", form).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn redeem(&self, code: &str) -> (u16, Value) {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("client_id", client::PUBLIC),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("resource", RESOURCE),
        ])
        .await
    }

    async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let mut form = vec![("grant_type", "refresh_token"), ("client_id", client::PUBLIC), ("refresh_token", token)];
        form.extend_from_slice(more);
        self.token(&form).await
    }

    async fn register(&self, metadata: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/register", self.issuer.url())).json(metadata);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The claims of `token`, verified with the keys the issuer publishes.
    async fn verify(&self, token: &str) -> Result<Map<String, Value>, jsonwebtoken::errors::Error> {
        let keys: Value = self.get("/jwks").await.json().await.unwrap();
        let header = jsonwebtoken::decode_header(token)?;
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == json!(header.kid));
        let key = key.ok_or(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat)?;
        let key = DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap())?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[self.issuer.url()]);
        Ok(jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)?.claims)
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

#[tokio::test]
async fn a_login_on_the_page_ends_in_a_verifiable_token() {
    let browser = start(Settings { login: Login::Page, ..settings() }).await;
    let mut asked = request();
    asked.insert("scope", "crm:read crm:write offline_access".to_owned());
    let page = browser.authorize(&asked).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("form-action 'self' http://127.0.0.1:33418;"), "{policy}");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    let html = page.text().await.unwrap();
    assert!(html.contains("Portcullis demo client") && html.contains("127.0.0.1:33418"));
    let login = html.split("name=\"login\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();

    let back = browser.post("/login", &[("login", &login), ("user", "ana")]).await;
    assert_eq!(back.status(), 303);
    let answer = answer_of(&back);
    assert_eq!(answer["state"], "a state & more");
    assert_eq!(answer["iss"], browser.issuer.url());

    let (status, token) = browser.redeem(&answer["code"]).await;
    assert_eq!((status, &token["token_type"], &token["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    assert_eq!(token["scope"], "crm:read crm:write");
    let claims = browser.verify(&text(&token, "access_token")).await.unwrap();
    assert_eq!(claims["sub"], "ana");
    assert_eq!(claims["aud"], RESOURCE);
    assert_eq!(claims["client_id"], client::PUBLIC);
    assert_eq!(claims["scope"], "crm:read crm:write");
    assert_eq!(claims["email"], "ana@example.com");
    assert_eq!(claims["department"], "sales");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(claims["jti"].as_str().unwrap().len() > 20);

    let again = browser.post("/login", &[("login", &login), ("user", "max")]).await;
    assert_eq!(again.status(), 400);
}

#[tokio::test]
async fn the_page_escapes_what_a_client_calls_itself() {
    let browser = start(Settings { login: Login::Page, ..settings() }).await;
    let name = "<script>alert(1)</script>\" & Co";
    let (_, client) = browser.register(&json!({ "redirect_uris": [CALLBACK], "client_name": name })).await;
    let mut asked = request();
    asked.insert("client_id", text(&client, "client_id"));
    let html = browser.authorize(&asked).await.text().await.unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; &amp; Co"));
    assert!(!html.contains("<script>"));
}

#[tokio::test]
async fn the_user_may_say_no_and_other_sites_may_not_say_yes() {
    let browser = start(Settings { login: Login::Page, ..settings() }).await;
    let html = browser.authorize(&request()).await.text().await.unwrap();
    let login = html.split("name=\"login\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let forged = browser.http.post(format!("{}/login", browser.issuer.url())).header(name, value);
        let forged = forged.header("content-type", "application/x-www-form-urlencoded");
        let status = forged.body(encode([("login", login.as_str()), ("user", "ana")])).send().await.unwrap().status();
        assert!(status == 403 || status == 421, "{name}: {value} gave {status}");
    }
    let answer = answer_of(&browser.post("/login", &[("login", &login)]).await);
    assert_eq!((answer["error"].as_str(), answer["state"].as_str()), ("access_denied", "a state & more"));
}

#[tokio::test]
async fn requests_that_cannot_be_trusted_stay_on_the_page() {
    let browser = start(settings()).await;
    for (name, value) in [
        ("client_id", "nobody"),
        ("client_id", ""),
        ("client_id", client::SERVICE),
        ("client_id", "https://client.example.com/oauth.json"),
        ("redirect_uri", ""),
        ("redirect_uri", "http://127.0.0.1:33418/callback/"),
        ("redirect_uri", "http://127.0.0.1:33418/callback?x=1"),
        ("redirect_uri", "http://127.0.0.1:33418/callback#x"),
        ("redirect_uri", "http://127.0.0.1:33418@evil.example/callback"),
        ("redirect_uri", "http://evil.example/callback"),
        ("redirect_uri", "https://127.0.0.1:33418/callback"),
        ("redirect_uri", "http://[::1]:33418/callback"),
        ("redirect_uri", "http://127.0.0.1:33418/x/../callback\\"),
    ] {
        let mut asked = request();
        asked.insert(name, value.to_owned());
        let response = browser.authorize(&asked).await;
        assert_eq!(response.status(), 400, "{name}={value}");
        assert!(response.headers().get("location").is_none(), "{name}={value}");
    }
    let twice = format!("/authorize?{}&redirect_uri=http%3A%2F%2Fevil.example", encode(pairs(&request())));
    assert_eq!(browser.get(&twice).await.status(), 400);
}

#[tokio::test]
async fn other_mistakes_are_told_to_the_client() {
    let browser = start(settings()).await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM", "invalid_request"),
        ("resource", "http://127.0.0.1:8080/other", "invalid_target"),
        ("resource", "http://127.0.0.1:8080/crm/mcp#x", "invalid_target"),
        ("scope", "admin", "invalid_scope"),
        ("request", "eyJ", "request_not_supported"),
        ("prompt", "none", "login_required"),
    ] {
        let mut asked = request();
        asked.insert(name, value.to_owned());
        let response = browser.authorize(&asked).await;
        assert_eq!(response.status(), 303, "{name}={value}");
        let answer = answer_of(&response);
        assert_eq!(answer["error"], error, "{name}={value}");
        assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("a state & more", browser.issuer.url()));
        assert!(!answer.contains_key("code"));
    }
    for (twice, error) in [("resource", "invalid_target"), ("scope", "invalid_request")] {
        let query = format!("/authorize?{}&{twice}=x", encode(pairs(&request())));
        assert_eq!(answer_of(&browser.get(&query).await)["error"], error);
    }
}

#[tokio::test]
async fn what_is_left_out_has_a_safe_meaning() {
    let browser = start(settings()).await;
    let mut asked = request();
    for name in ["scope", "resource", "state"] {
        asked.remove(name);
    }
    let answer = answer_of(&browser.authorize(&asked).await);
    assert!(!answer.contains_key("state"));
    let (status, token) = browser.redeem(&answer["code"]).await;
    assert_eq!((status, token["scope"].as_str()), (200, Some("crm:read")));
    assert_eq!(browser.verify(&text(&token, "access_token")).await.unwrap()["aud"], RESOURCE);

    let open = start(Settings { resources: Vec::new(), ..settings() }).await;
    assert_eq!(answer_of(&open.authorize(&asked).await)["error"], "invalid_target");
    assert!(answer_of(&open.authorize(&request()).await).contains_key("code"));
}

#[tokio::test]
async fn a_slash_or_another_spelling_names_the_same_resource() {
    let browser = start(settings()).await;
    for resource in ["http://127.0.0.1:8080/crm/mcp/", "HTTP://127.0.0.1:8080/crm/mcp"] {
        let mut asked = request();
        asked.insert("resource", resource.to_owned());
        let (_, token) = browser.redeem(&browser.code(&asked).await).await;
        assert_eq!(browser.verify(&text(&token, "access_token")).await.unwrap()["aud"], RESOURCE);
    }
}

#[tokio::test]
async fn codes_are_bound_to_client_verifier_address_and_resource() {
    let browser = start(settings()).await;
    let other = browser.register(&json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" })).await.1;
    let other = text(&other, "client_id");
    for (name, value, error) in [
        ("code_verifier", "a".repeat(43), "invalid_grant"),
        ("code_verifier", CHALLENGE.to_owned(), "invalid_grant"),
        ("code_verifier", String::new(), "invalid_request"),
        ("redirect_uri", "http://127.0.0.1:1/callback".to_owned(), "invalid_grant"),
        ("client_id", other, "invalid_grant"),
        ("client_id", "nobody".to_owned(), "invalid_client"),
        ("client_id", String::new(), "invalid_client"),
        ("code", "guess".to_owned(), "invalid_grant"),
        ("code", String::new(), "invalid_request"),
        ("resource", "http://127.0.0.1:8080/other".to_owned(), "invalid_target"),
        ("grant_type", "password".to_owned(), "unsupported_grant_type"),
        ("grant_type", String::new(), "invalid_request"),
        ("grant_type", "client_credentials".to_owned(), "unauthorized_client"),
    ] {
        let code = browser.code(&request()).await;
        let mut form: BTreeMap<&str, String> = [
            ("grant_type", "authorization_code"),
            ("client_id", client::PUBLIC),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        form.insert(name, value.clone());
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, body) = browser.token(&form).await;
        assert_eq!(body["error"], error, "{name}={value}");
        assert_eq!(status, if error == "invalid_client" { 401 } else { 400 }, "{name}={value}");
    }
}

#[tokio::test]
async fn a_code_works_once_and_its_second_use_ends_the_first_login() {
    let browser = start(settings()).await;
    let code = browser.code(&request()).await;
    let (_, token) = browser.redeem(&code).await;
    let (status, again) = browser.redeem(&code).await;
    assert_eq!((status, again["error"].as_str()), (400, Some("invalid_grant")));
    let (_, refreshed) = browser.refresh(&text(&token, "refresh_token"), &[]).await;
    assert_eq!(refreshed["error"], "invalid_grant");
}

#[tokio::test]
async fn codes_and_logins_end() {
    let browser = start(Settings { code_lifetime: Duration::ZERO, ..settings() }).await;
    let (_, answer) = browser.redeem(&browser.code(&request()).await).await;
    assert_eq!(answer["error_description"], "the code has expired");

    let mut grants = Grants::default();
    let (now, listener) = (Timestamp::from_unix_seconds(0), lock(&browser.issuer.0.clients));
    let asked = grants::Asked {
        client: listener.find(client::PUBLIC).unwrap(),
        redirect_uri: CALLBACK.to_owned(),
        state: None,
        challenge: CHALLENGE.to_owned(),
        scopes: vec!["crm:read"],
        audience: RESOURCE.to_owned(),
    };
    let name = grants.open_login(asked.clone(), now).unwrap();
    assert!(grants.close_login(&name, now.plus(Duration::from_mins(11))).is_none());
    let code = grants.issue_code(asked, &USERS[0], vec!["crm:read"], now).unwrap();
    assert!(grants.redeem(&code, now).is_err());
    let allowed = grants::Allowed {
        client: listener.find(client::PUBLIC).unwrap(),
        user: &USERS[0],
        scopes: vec!["crm:read"],
        audience: RESOURCE.to_owned(),
    };
    let token = grants.start_family("family", allowed, now).unwrap();
    assert!(grants.refreshable(&token, now.plus(Duration::from_hours(7))).is_ok());
    assert!(grants.refreshable(&token, now.plus(Duration::from_hours(9))).is_err());
}

#[tokio::test]
async fn refresh_tokens_rotate_and_an_old_one_ends_the_login() {
    let browser = start(settings()).await;
    let mut asked = request();
    asked.insert("scope", "crm:read crm:write".to_owned());
    let (_, first) = browser.redeem(&browser.code(&asked).await).await;
    let first = text(&first, "refresh_token");
    let (status, second) = browser.refresh(&first, &[("scope", "crm:read")]).await;
    assert_eq!((status, second["scope"].as_str()), (200, Some("crm:read")));
    assert_eq!(browser.verify(&text(&second, "access_token")).await.unwrap()["scope"], "crm:read");
    let second = text(&second, "refresh_token");
    assert_ne!(first, second);

    let (_, wide) = browser.refresh(&second, &[("scope", "crm:read admin")]).await;
    assert_eq!(wide["error"], "invalid_scope");
    let (_, elsewhere) = browser.refresh(&second, &[("resource", "http://127.0.0.1:8080/other")]).await;
    assert_eq!(elsewhere["error"], "invalid_target");
    let (status, third) = browser.refresh(&second, &[("resource", RESOURCE)]).await;
    assert_eq!((status, third["scope"].as_str()), (200, Some("crm:read crm:write")));

    let (_, stolen) = browser.refresh(&first, &[]).await;
    assert_eq!(stolen["error"], "invalid_grant");
    let (_, ended) = browser.refresh(&text(&third, "refresh_token"), &[]).await;
    assert_eq!(ended["error"], "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_belong_to_their_client() {
    let browser = start(settings()).await;
    let registered = json!({
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let other = text(&browser.register(&registered).await.1, "client_id");
    let (_, token) = browser.redeem(&browser.code(&request()).await).await;
    let token = text(&token, "refresh_token");
    let form = [("grant_type", "refresh_token"), ("client_id", other.as_str()), ("refresh_token", token.as_str())];
    assert_eq!(browser.token(&form).await.1["error"], "invalid_grant");
    assert_eq!(browser.refresh(&token, &[]).await.0, 200);
}

#[tokio::test]
async fn the_nightly_job_gets_a_token_of_its_own() {
    let browser = start(settings()).await;
    let (id, secret) = browser.issuer.service_client();
    let url = format!("{}/token", browser.issuer.url());
    let ask = async |authorization: Option<String>, form: &[(&str, &str)]| {
        let request = browser.http.post(&url).header("content-type", "application/x-www-form-urlencoded");
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        let response = request.body(encode(form.iter().copied())).send().await.unwrap();
        let challenge = response.headers().get("www-authenticate").is_some();
        (response.status().as_u16(), challenge, response.json::<Value>().await.unwrap())
    };
    let basic = |secret: &str| Some(format!("Basic {}", BASE64.encode(format!("{id}:{secret}").as_bytes())));
    let grant = ("grant_type", "client_credentials");
    let (status, _, token) = ask(basic(secret.expose()), &[grant, ("scope", "crm:read crm:write")]).await;
    assert_eq!((status, token["scope"].as_str()), (200, Some("crm:read crm:write")));
    assert!(token.get("refresh_token").is_none());
    let claims = browser.verify(&text(&token, "access_token")).await.unwrap();
    assert_eq!((claims["sub"].as_str(), claims["client_id"].as_str()), (Some(id), Some(id)));
    assert!(!claims.contains_key("email"));

    assert!(ask(basic("wrong"), &[grant]).await.1);
    for (authorization, form, status, error) in [
        (basic("wrong"), vec![grant], 401, "invalid_client"),
        (Some("Bearer x".to_owned()), vec![grant], 401, "invalid_client"),
        (None, vec![grant, ("client_id", id)], 401, "invalid_client"),
        (None, vec![grant, ("client_id", id), ("client_secret", secret.expose())], 401, "invalid_client"),
        (basic(secret.expose()), vec![grant, ("client_secret", secret.expose())], 400, "invalid_request"),
        (basic(secret.expose()), vec![grant, ("client_id", "other")], 400, "invalid_request"),
        (basic(secret.expose()), vec![grant, grant], 400, "invalid_request"),
        (basic(secret.expose()), vec![grant, ("resource", "urn:other")], 400, "invalid_target"),
        (basic(secret.expose()), vec![grant, ("scope", "admin")], 400, "invalid_scope"),
        (basic(secret.expose()), vec![("grant_type", "authorization_code")], 400, "unauthorized_client"),
    ] {
        let (got, _, body) = ask(authorization, &form).await;
        assert_eq!((got, body["error"].as_str()), (status, Some(error)), "{form:?}");
    }
    let json = browser.http.post(&url).json(&json!({ "grant_type": "client_credentials" })).send().await.unwrap();
    assert_eq!(json.json::<Value>().await.unwrap()["error"], "invalid_request");
}

#[tokio::test]
async fn registered_clients_can_log_in_and_prove_themselves() {
    let browser = start(settings()).await;
    let (status, client) = browser
        .register(&json!({
            "redirect_uris": ["https://client.example.com/cb", "http://localhost:1234/cb?tenant=1"],
            "client_name": "Editor",
            "application_type": "native",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "token_endpoint_auth_method": "client_secret_post",
            "client_id": "mine", "scope": "crm:read admin", "logo_uri": "https://client.example.com/logo.png",
        }))
        .await;
    assert_eq!(status, 201);
    assert_ne!(client["client_id"], "mine");
    assert_eq!(client["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(client["client_secret_expires_at"], 0);
    assert!(client.get("logo_uri").is_none());

    let (id, secret) = (text(&client, "client_id"), text(&client, "client_secret"));
    let back = "http://localhost:4321/cb?tenant=1";
    let mut asked = request();
    asked.insert("client_id", id.clone());
    asked.insert("redirect_uri", back.to_owned());
    let response = browser.authorize(&asked).await;
    assert!(response.headers()["location"].to_str().unwrap().starts_with("http://localhost:4321/cb?tenant=1&code="));
    let mut form = vec![("grant_type", "authorization_code"), ("client_id", id.as_str()), ("code_verifier", VERIFIER)];
    let code = answer_of(&response)["code"].clone();
    form.push(("code", &code));
    assert_eq!(browser.token(&form).await.0, 401, "a secret was registered");
    form.push(("client_secret", &secret));
    assert_eq!(browser.token(&form).await.0, 200, "an unauthenticated attempt does not spend the code");
}

#[tokio::test]
async fn web_clients_keep_their_port() {
    let browser = start(settings()).await;
    let redirect = "http://localhost:6274/oauth/callback";
    let registered = json!({ "redirect_uris": [redirect], "application_type": "web" });
    let id = text(&browser.register(&registered).await.1, "client_id");
    for (uri, status) in [(redirect, 303), ("http://localhost:6275/oauth/callback", 400)] {
        let mut asked = request();
        asked.insert("client_id", id.clone());
        asked.insert("redirect_uri", uri.to_owned());
        assert_eq!(browser.authorize(&asked).await.status(), status, "{uri}");
    }
}

#[tokio::test]
async fn registration_refuses_what_it_cannot_honour() {
    let browser = start(settings()).await;
    let long = format!("https://client.example.com/{}", "a".repeat(2_048));
    let many: Vec<String> = (0..11).map(|number| format!("https://client.example.com/{number}")).collect();
    let with = |name: &str, value: Value| {
        let mut metadata = json!({ "redirect_uris": [CALLBACK] });
        metadata[name] = value;
        metadata
    };
    let uri = |uri: &str| with("redirect_uris", json!([uri]));
    let (redirect, metadata) = ("invalid_redirect_uri", "invalid_client_metadata");
    for (sent, error) in [
        (json!({}), redirect),
        (with("redirect_uris", json!([])), redirect),
        (with("redirect_uris", json!("https://client.example.com/cb")), redirect),
        (with("redirect_uris", json!([7])), redirect),
        (with("redirect_uris", json!(many)), redirect),
        (uri(&long), redirect),
        (uri("http://client.example.com/cb"), redirect),
        (uri("https://*.example.com/cb"), redirect),
        (uri("https://client.example.com/cb#top"), redirect),
        (uri("https://me:pass@client.example.com/cb"), redirect),
        (uri("https://client.example.com\\@evil.example/cb"), redirect),
        (uri("https://client.example.com/c b"), redirect),
        (uri("https://client.exämple.com/cb"), redirect),
        (uri("/cb"), redirect),
        (uri("javascript:alert(1)"), redirect),
        (uri("cursor://anysphere/oauth"), redirect),
        (uri("http://127.0.0.1.evil.example/cb"), redirect),
        (with("token_endpoint_auth_method", json!("private_key_jwt")), metadata),
        (with("token_endpoint_auth_method", json!(null)), metadata),
        (with("grant_types", json!(["client_credentials"])), metadata),
        (with("grant_types", json!("authorization_code")), metadata),
        (with("grant_types", json!([1])), metadata),
        (with("response_types", json!(["token"])), metadata),
        (with("application_type", json!("desktop")), metadata),
        (with("client_name", json!("")), metadata),
        (with("client_name", json!(["x"])), metadata),
        (with("client_name", json!("a".repeat(101))), metadata),
        (with("client_name", json!("good\u{202e}dab")), metadata),
        (with("client_name", json!("two\nlines")), metadata),
        (json!([]), metadata),
        (json!("x"), metadata),
    ] {
        let (status, body) = browser.register(&sent).await;
        assert_eq!((status, body["error"].as_str()), (400, Some(error)), "{sent}");
    }
    let url = format!("{}/register", browser.issuer.url());
    for (media_type, body) in [("text/plain", "{}"), ("application/json", "{")] {
        let response = browser.http.post(&url).header("content-type", media_type).body(body).send().await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap()["error"], metadata);
    }
    let large = browser.http.post(&url).header("content-type", "application/json").body(" ".repeat(20_000));
    assert_eq!(large.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_client_can_be_a_document() {
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", host.local_addr().unwrap());
    let served = {
        let origin = origin.clone();
        move |path: &str| {
            let body = |id: &str| json!({ "client_id": id, "client_name": "Document", "redirect_uris": [CALLBACK] });
            let good = body(&format!("{origin}/good")).to_string();
            match path {
                "/good" | "/other" => {
                    format!("200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{good}", good.len())
                }
                "/moved" => format!("302 Found\r\nlocation: {origin}/good\r\ncontent-length: 0\r\n\r\n"),
                "/text" => {
                    format!("200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{good}", good.len())
                }
                "/large" => format!(
                    "200 OK\r\ncontent-type: application/json\r\ncontent-length: 6000\r\n\r\n{}",
                    " ".repeat(6000)
                ),
                _ => "404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            }
        }
    };
    let documents = async move {
        loop {
            let (mut stream, _) = host.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            stream.write_all(format!("HTTP/1.1 {}", served(&path)).as_bytes()).await.unwrap();
        }
    };
    let checks = async {
        let browser = start(Settings { client_documents: ClientDocuments::Fetched, ..settings() }).await;
        let metadata: Value = browser.get("/.well-known/oauth-authorization-server").await.json().await.unwrap();
        assert_eq!(metadata["client_id_metadata_document_supported"], true);
        for (path, good) in
            [("/good", true), ("/moved", false), ("/text", false), ("/large", false), ("/other", false), ("/no", false)]
        {
            let mut asked = request();
            asked.insert("client_id", format!("{origin}{path}"));
            let response = browser.authorize(&asked).await;
            assert_eq!(response.status(), if good { 303 } else { 400 }, "{path}");
            if good {
                let (id, code) = (format!("{origin}{path}"), answer_of(&response)["code"].clone());
                let form = [
                    ("grant_type", "authorization_code"),
                    ("client_id", &id),
                    ("code", &code),
                    ("code_verifier", VERIFIER),
                ];
                assert_eq!(browser.token(&form.map(|(name, value)| (name, value))).await.0, 200);
            }
        }
        let refusing = start(settings()).await;
        let mut asked = request();
        asked.insert("client_id", format!("{origin}/good"));
        assert_eq!(refusing.authorize(&asked).await.status(), 400);
    };
    tokio::select! { () = documents => {}, () = checks => {} }
}

#[tokio::test]
async fn metadata_says_what_is_true() {
    let browser = start(settings()).await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let response = browser.get(path).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.headers()["cache-control"], "public, max-age=300");
        let metadata: Value = response.json().await.unwrap();
        let url = browser.issuer.url();
        assert_eq!(metadata["issuer"], url);
        for (name, path) in [
            ("authorization_endpoint", "/authorize"),
            ("token_endpoint", "/token"),
            ("registration_endpoint", "/register"),
            ("jwks_uri", "/jwks"),
        ] {
            assert_eq!(metadata[name], format!("{url}{path}"));
        }
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        assert_eq!(metadata["protected_resources"], json!([RESOURCE]));
        assert!(metadata.get("client_id_metadata_document_supported").is_none());
        assert_eq!(metadata.get("subject_types_supported").is_some(), path.ends_with("openid-configuration"));
    }
    let keys: Value = browser.get("/jwks").await.json().await.unwrap();
    assert!(keys["keys"][0].get("d").is_none());
}

#[tokio::test]
async fn browser_clients_may_cross_origins_where_no_secret_is_at_stake() {
    let browser = start(settings()).await;
    let ask = async |method: http::Method, path: &str| {
        let request = browser.http.request(method, format!("{}{path}", browser.issuer.url()));
        request.header("origin", "https://inspector.example").send().await.unwrap()
    };
    for path in ["/.well-known/oauth-authorization-server", "/jwks", "/token", "/register"] {
        let preflight = ask(http::Method::OPTIONS, path).await;
        assert_eq!(
            (preflight.status().as_u16(), &preflight.headers()["access-control-allow-origin"]),
            (204, &"*".parse().unwrap())
        );
    }
    assert_eq!(ask(http::Method::POST, "/mint").await.status(), 421);
    let rebound = browser.http.get(format!("{}/jwks", browser.issuer.url())).header("host", "evil.example");
    assert_eq!(rebound.send().await.unwrap().status(), 421);
    assert_eq!(browser.get("/nowhere").await.status(), 404);
    assert_eq!(browser.get("/token").await.status(), 405);
    assert_eq!(browser.get("/").await.status(), 200);
}

#[tokio::test]
async fn minting_needs_the_secret_of_the_run() {
    let browser = start(settings()).await;
    let ask = async |secret: &str, body: Value| {
        let request = browser.http.post(format!("{}/mint", browser.issuer.url())).bearer_auth(secret).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let secret = browser.issuer.mint_secret().expose().clone();
    let (status, token) = ask(&secret, json!({ "user": "max" })).await;
    assert_eq!((status, token["scope"].as_str()), (200, Some("crm:read crm:write")));
    assert_eq!(browser.verify(&text(&token, "access_token")).await.unwrap()["department"], "support");
    let (_, token) = ask(&secret, json!({ "user": "ana", "scope": "crm:write", "audience": RESOURCE })).await;
    assert_eq!(token["scope"], "crm:write");
    for (secret, body, status, error) in [
        ("wrong", json!({ "user": "ana" }), 401, "invalid_token"),
        (secret.as_str(), json!({ "user": "eve" }), 400, "invalid_request"),
        (secret.as_str(), json!({}), 400, "invalid_request"),
        (secret.as_str(), json!({ "user": "ana", "scope": "admin" }), 400, "invalid_scope"),
        (secret.as_str(), json!({ "user": "ana", "audience": "urn:x" }), 400, "invalid_target"),
        (secret.as_str(), json!({ "user": 1 }), 400, "invalid_request"),
    ] {
        let (got, answer) = ask(secret, body.clone()).await;
        assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{body}");
    }
}

#[tokio::test]
async fn tests_can_mint_what_they_like() {
    let browser = start(settings()).await;
    let issuer = &browser.issuer;
    let claims = browser.verify(&issuer.mint("ana", &[], &[RESOURCE]).unwrap()).await.unwrap();
    assert_eq!((claims["sub"].as_str(), claims["scope"].as_str()), (Some("ana"), Some("crm:read")));
    assert!(matches!(issuer.mint("eve", &[], &[RESOURCE]), Err(MintError::UnknownUser(name)) if name == "eve"));
    assert!(matches!(issuer.mint("ana", &["admin"], &[RESOURCE]), Err(MintError::Scope { .. })));
    let elsewhere = issuer.mint("ana", &["crm:read"], &["https://elsewhere.example"]).unwrap();
    browser.verify(&elsewhere).await.unwrap_err();
    let claims = json!({ "iss": issuer.url(), "aud": RESOURCE, "exp": 1 });
    let expired = issuer.mint_claims(claims.as_object().unwrap()).unwrap();
    browser.verify(&expired).await.unwrap_err();
    let typed = issuer.mint_typed("dpop+jwt", claims.as_object().unwrap()).unwrap();
    assert_eq!(jsonwebtoken::decode_header(&typed).unwrap().typ.as_deref(), Some("dpop+jwt"));
}

#[tokio::test]
async fn keys_rotate_with_or_without_an_overlap() {
    let browser = start(settings()).await;
    let issuer = &browser.issuer;
    let (first, first_id) = (issuer.mint("ana", &[], &[RESOURCE]).unwrap(), issuer.key_id());
    issuer.rotate(Retired::Kept).unwrap();
    assert_ne!(issuer.key_id(), first_id);
    let second = issuer.mint("ana", &[], &[RESOURCE]).unwrap();
    browser.verify(&first).await.unwrap();
    browser.verify(&second).await.unwrap();
    issuer.rotate(Retired::Dropped).unwrap();
    browser.verify(&first).await.unwrap_err();
    browser.verify(&second).await.unwrap_err();
    browser.verify(&issuer.mint("ana", &[], &[RESOURCE]).unwrap()).await.unwrap();
    assert_eq!(issuer.key_fetches(), 5);
}

#[tokio::test]
async fn faults_can_be_switched_on_and_off() {
    let browser = start(settings()).await;
    let keys = || browser.http.get(format!("{}/jwks", browser.issuer.url())).send();
    browser.issuer.set_fault(Fault::Error);
    assert_eq!(keys().await.unwrap().status(), 500);
    browser.issuer.set_fault(Fault::Garbage);
    keys().await.unwrap().json::<Value>().await.unwrap_err();
    browser.issuer.set_fault(Fault::Down);
    keys().await.unwrap_err();
    browser.issuer.set_fault(Fault::Stalled);
    let stalled = keys();
    let mut stalled = std::pin::pin!(stalled);
    assert!(futures_util::poll!(&mut stalled).is_pending());
    browser.issuer.set_fault(Fault::None);
    assert_eq!(stalled.await.unwrap().status(), 200);
}
