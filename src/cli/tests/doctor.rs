//! `doctor` against a server and an issuer of which one thing at a time is wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Folder;
use crate::clock::Timestamp;
use crate::demo::issuer::{Issuer, Settings};

/// What a server and its issuer, both on one port of loopback, answer.
#[derive(Clone)]
struct World {
    post: (u16, Vec<(String, String)>),
    /// What a POST gets to read.
    page: String,
    get: u16,
    preflight: Vec<(&'static str, &'static str)>,
    /// At the path form; at the one of the root there is none.
    resource: Option<Value>,
    resource_fields: &'static str,
    metadata: Option<Value>,
    openid: Option<Value>,
    keys: Value,
    /// Seconds its clock is ahead.
    ahead: i64,
    /// What a token gets.
    with_token: u16,
}

/// A running one; it ends with the process.
struct Running {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(origin: &str) -> Self {
        let named = format!("{origin}/.well-known/oauth-protected-resource/mcp");
        let challenge = format!("Bearer resource_metadata=\"{named}\", scope=\"crm:read\"");
        let fields = vec![
            ("WWW-Authenticate".to_owned(), challenge),
            ("Access-Control-Allow-Origin".to_owned(), "http://localhost:6274".to_owned()),
            ("Access-Control-Expose-Headers".to_owned(), "WWW-Authenticate".to_owned()),
        ];
        Self {
            post: (401, fields),
            page: String::new(),
            get: 401,
            preflight: vec![
                ("Access-Control-Allow-Origin", "http://localhost:6274"),
                ("Access-Control-Allow-Headers", "authorization, content-type"),
            ],
            resource: Some(json!({ "resource": format!("{origin}/mcp"), "authorization_servers": [origin],
                "scopes_supported": ["crm:read"] })),
            resource_fields: "Access-Control-Allow-Origin: *\r\n",
            metadata: Some(json!({
                "issuer": origin,
                "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{origin}/token"),
                "registration_endpoint": format!("{origin}/register"),
                "jwks_uri": format!("{origin}/jwks"),
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "authorization_response_iss_parameter_supported": true,
                "client_id_metadata_document_supported": true,
                "protected_resources": [format!("{origin}/mcp")],
            })),
            openid: None,
            keys: json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "sig",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] }),
            ahead: 0,
            with_token: 200,
        }
    }

    /// Status, fields and body.
    fn answer(&self, head: &str) -> (u16, String, String) {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let document = |document: &Option<Value>, fields: &str| match document {
            Some(document) => (200, format!("Content-Type: application/json\r\n{fields}"), document.to_string()),
            None => (404, String::new(), String::new()),
        };
        let lines = |fields: &mut dyn Iterator<Item = (&str, &str)>| {
            fields.fold(String::new(), |text, (name, value)| format!("{text}{name}: {value}\r\n"))
        };
        match (method, path) {
            ("OPTIONS", _) => (204, lines(&mut self.preflight.iter().copied()), String::new()),
            ("POST", "/mcp") if head.to_lowercase().contains("\r\nauthorization:") => {
                let echo = head.lines().find(|line| line.to_lowercase().starts_with("authorization:")).unwrap();
                let challenge =
                    format!("WWW-Authenticate: Bearer error=\"invalid_token\", error_description=\"{echo}\"\r\n");
                (self.with_token, if self.with_token == 200 { String::new() } else { challenge }, String::new())
            }
            ("POST", "/mcp") => {
                let fields = self.post.1.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                (self.post.0, lines(&mut { fields }), self.page.clone())
            }
            ("GET", "/mcp") => (self.get, String::new(), String::new()),
            ("GET", "/.well-known/oauth-protected-resource/mcp") => document(&self.resource, self.resource_fields),
            ("GET", "/.well-known/oauth-authorization-server") => document(&self.metadata, ""),
            ("GET", "/.well-known/openid-configuration") => document(&self.openid, ""),
            ("GET", "/jwks") => document(&Some(self.keys.clone()), ""),
            _ => (404, String::new(), String::new()),
        }
    }
}

fn start(change: impl Fn(&mut World)) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut world = World::new(&url);
    change(&mut world);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut read, mut piece) = (Vec::new(), [0; 4096]);
            while memchr::memmem::find(&read, b"\r\n\r\n").is_none() {
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&read).into_owned();
            let (status, fields, body) = world.answer(&request);
            noted.lock().unwrap().push(request);
            let date = date(Timestamp::now().unix_seconds() + world.ahead);
            let text = format!(
                "HTTP/1.1 {status} X\r\n{fields}Date: {date}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes());
        }
    });
    Running { url, heard }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; nobody looks at the day of the week.
fn date(seconds: i64) -> String {
    let text = String::from_utf8(Timestamp::from_unix_seconds(seconds).rfc3339().to_vec()).unwrap();
    let (day, time) = text.split_once('T').unwrap();
    let parts: Vec<&str> = day.split('-').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[parts[1].parse::<usize>().unwrap() - 1];
    format!("Sun, {} {month} {} {} GMT", parts[2], parts[0], time.split('.').next().unwrap())
}

fn run(arguments: &str) -> String {
    Folder::new("doctor").run(&format!("doctor {arguments}"))
}

fn object(said: &str) -> Value {
    let out = said.split("--- out\n").nth(1).unwrap().split("--- err\n").next().unwrap();
    serde_json::from_str(out).unwrap_or_else(|_| panic!("{said}"))
}

/// Name, status, text and fix of every step.
fn steps(object: &Value) -> Vec<[String; 4]> {
    let sections = object["sections"].as_array().unwrap().iter();
    let steps = sections.flat_map(|section| section["steps"].as_array().unwrap());
    steps
        .map(|step| ["name", "status", "text", "fix"].map(|name| step[name].as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn a_server_and_an_issuer_that_are_fine() {
    let world = start(|_| {});
    let url = &world.url;
    let said = run(&format!("{url}/mcp --client claude-code,vscode,typescript-sdk,inspector"));
    let expected = format!(
        "exit 0
--- out
server {url}/mcp
✓ reached             by http on this machine, which clients on this machine accept
✓ clock               within 30 s of this machine's
✓ POST, no token      401, Bearer
✓ GET, no token       401
✓ challenge           resource_metadata, scope=\"crm:read\"
✓ metadata, named     200 at /.well-known/oauth-protected-resource/mcp
✓ metadata, path      200 at /.well-known/oauth-protected-resource/mcp
· metadata, root      404 at /.well-known/oauth-protected-resource
✓ resource            is the URL, byte for byte
✓ issuers             {url}
✓ scopes              crm:read
✓ browser             pages of http://localhost:6274 may call it and read its challenge

issuer {url}
✓ metadata            200 at /.well-known/oauth-authorization-server, issuer identical
· metadata            404 at /.well-known/openid-configuration
✓ clock               within 30 s of this machine's
✓ endpoints           authorization, token and keys, by the issuer's scheme
✓ PKCE                S256
✓ registration        client id metadata documents, and dynamic registration
✓ public clients      `none` among token_endpoint_auth_methods_supported
✓ grants              authorization_code, refresh_token
✓ mix-up              answers name the issuer (RFC 9207)
✓ keys                1 to verify tokens with
✓ resource            the issuer lists this server among its protected_resources (RFC 9728 section 4)
· audience            access tokens must be signed JWTs with the server's URL in `aud`; try one with --token

clients
✓ claude-code         registers by a client id metadata document
✓ vscode              registers by a client id metadata document
✓ typescript-sdk      registers by a client id metadata document
✓ inspector           registers by a client id metadata document

nothing fails
--- err
"
    );
    assert_eq!(said, expected);
    assert!(!said.contains('\x1b') && run(&format!("{url}/mcp --color always")).contains("\x1b[32m✓\x1b[0m"));
    // Nobody was registered or signed in, and no session left open.
    for head in &*world.heard.lock().unwrap() {
        assert!(["POST /mcp ", "GET ", "OPTIONS /mcp "].iter().any(|start| head.starts_with(start)), "{head}");
    }
}

/// What one fault changes, the step that must fail or doubt, and words of the text and of the fix.
type Fault = (&'static str, fn(&mut World), &'static str, &'static str, &'static str, &'static str);

fn set(document: &mut Option<Value>, member: &str, value: Value) {
    let document = document.as_mut().unwrap().as_object_mut().unwrap();
    if value.is_null() {
        document.remove(member);
    } else {
        document.insert(member.to_owned(), value);
    }
}

fn challenge(world: &mut World, text: &str) {
    world.post.1[0].1 = text.to_owned();
}

const FAULTS: &[Fault] = &[
    (
        "no challenge",
        |w| drop(w.post.1.remove(0)),
        "POST, no token",
        "failed",
        "without WWW-Authenticate",
        "WWW-Authenticate: Bearer",
    ),
    ("another scheme", |w| challenge(w, "Basic realm=\"x\""), "POST, no token", "failed", "`Basic`", "OAuth 2.1"),
    (
        "Bearer second",
        |w| w.post.1.insert(0, ("WWW-Authenticate".into(), "DPoP algs=\"ES256\"".into())),
        "POST, no token",
        "doubtful",
        "not the first",
        "first",
    ),
    (
        "an error unasked",
        |w| challenge(w, "Bearer error=\"invalid_token\", resource_metadata=\"x\""),
        "POST, no token",
        "doubtful",
        "no token was sent",
        "RFC 6750",
    ),
    (
        "open",
        |w| w.post = (200, vec![("Mcp-Session-Id".into(), "s1".into())]),
        "POST, no token",
        "doubtful",
        "open to anybody",
        "authenticating proxy",
    ),
    (
        "a redirect",
        |w| w.post = (307, vec![("Location".into(), "/elsewhere".into())]),
        "POST, no token",
        "failed",
        "another address",
        "leads to",
    ),
    ("403", |w| w.post = (403, Vec::new()), "POST, no token", "failed", "403", "answer 401"),
    ("404", |w| w.post = (404, Vec::new()), "POST, no token", "failed", "no MCP endpoint", "path"),
    ("500", |w| w.post = (500, Vec::new()), "POST, no token", "failed", "500", "401"),
    ("GET is 200", |w| w.get = 200, "codex", "failed", "200 of a GET", "401"),
    ("GET is 405", |w| w.get = 405, "GET, no token", "doubtful", "405", "401"),
    (
        "no metadata named",
        |w| challenge(w, "Bearer scope=\"crm:read\""),
        "claude",
        "failed",
        "names no metadata",
        "resource_metadata",
    ),
    (
        "no scope",
        |w| {
            let text = w.post.1[0].1.replace(", scope=\"crm:read\"", "");
            challenge(w, &text);
        },
        "challenge",
        "ok",
        "no scope",
        "",
    ),
    (
        "metadata elsewhere",
        |w| challenge(w, "Bearer resource_metadata=\"http://10.0.0.1/x\""),
        "metadata, named",
        "failed",
        "not asked",
        "own origin",
    ),
    (
        "metadata too large",
        |w| set(&mut w.resource, "x", json!("x".repeat(300_000))),
        "metadata, named",
        "failed",
        "it answers with more than 256 KiB",
        "never that long",
    ),
    (
        "issuer's metadata too large",
        |w| set(&mut w.metadata, "x", json!("x".repeat(300_000))),
        "metadata",
        "failed",
        "it answers with more than 256 KiB",
        "the proxy reads no more",
    ),
    ("metadata nowhere", |w| w.resource = None, "zed", "failed", "finds no metadata", "see the server"),
    ("no JSON", |w| w.resource = Some(json!("x")), "metadata, path", "failed", "no JSON object", "RFC 9728"),
    (
        "no CORS",
        |w| w.resource_fields = "",
        "metadata, path",
        "doubtful",
        "may not read",
        "Access-Control-Allow-Origin",
    ),
    (
        "another resource",
        |w| set(&mut w.resource, "resource", json!("https://h/x")),
        "resource",
        "failed",
        "another resource",
        "public_url",
    ),
    (
        "a slash",
        |w| {
            let r = format!("{}/", w.resource.as_ref().unwrap()["resource"].as_str().unwrap());
            set(&mut w.resource, "resource", json!(r));
        },
        "gemini-cli",
        "failed",
        "to the byte",
        "`resource`",
    ),
    (
        "the origin",
        |w| {
            let r = w.resource.as_ref().unwrap()["authorization_servers"][0].clone();
            set(&mut w.resource, "resource", r);
        },
        "resource",
        "doubtful",
        "only its beginning",
        "public_url",
    ),
    (
        "no issuers",
        |w| set(&mut w.resource, "authorization_servers", json!([])),
        "issuers",
        "failed",
        "missing or empty",
        "name the issuer",
    ),
    (
        "offline_access",
        |w| set(&mut w.resource, "scopes_supported", json!(["offline_access"])),
        "scopes",
        "doubtful",
        "offline_access",
        "leave it out",
    ),
    (
        "every scope",
        |w| set(&mut w.resource, "scopes_supported", json!(["a", "b", "c", "d", "e", "f"])),
        "vscode",
        "doubtful",
        "all 6 scopes",
        "first call",
    ),
    ("preflight refused", |w| w.preflight.clear(), "inspector", "failed", "preflight is refused", "cors"),
    ("authorization refused", |w| w.preflight[1].1 = "*", "browser", "doubtful", "authorization", "origin"),
    ("challenge hidden", |w| drop(w.post.1.pop()), "browser", "doubtful", "not exposed", "origin"),
    ("clock ahead", |w| w.ahead = 600, "clock", "failed", "ahead", "NTP"),
    ("clock behind", |w| w.ahead = -600, "clock", "failed", "behind", "NTP"),
    ("no issuer metadata", |w| w.metadata = None, "metadata", "failed", "in none of the places", "RFC 8414"),
    (
        "issuer with a slash",
        |w| {
            let i = format!("{}/", w.metadata.as_ref().unwrap()["issuer"].as_str().unwrap());
            set(&mut w.metadata, "issuer", json!(i));
        },
        "metadata",
        "failed",
        "slash at the end",
        "everywhere",
    ),
    (
        "another issuer",
        |w| set(&mut w.metadata, "issuer", json!("https://evil.example/\u{1b}[2J")),
        "metadata",
        "failed",
        "https://evil.example/\\u{1b}[2J",
        "correct the metadata",
    ),
    (
        "two that disagree",
        |w| {
            w.openid = w.metadata.clone();
            set(&mut w.openid, "token_endpoint", json!("http://127.0.0.1/t"));
        },
        "metadata",
        "failed",
        "another token_endpoint",
        "same",
    ),
    (
        "no token endpoint",
        |w| set(&mut w.metadata, "token_endpoint", Value::Null),
        "endpoints",
        "failed",
        "token_endpoint is missing",
        "all three",
    ),
    (
        "an odd endpoint",
        |w| set(&mut w.metadata, "authorization_endpoint", json!("javascript:alert(1)")),
        "endpoints",
        "failed",
        "not https",
        "https",
    ),
    (
        "no PKCE",
        |w| set(&mut w.metadata, "code_challenge_methods_supported", json!(["plain"])),
        "PKCE",
        "failed",
        "S256 is not",
        "S256",
    ),
    (
        "nobody registers",
        |w| {
            set(&mut w.metadata, "registration_endpoint", Value::Null);
            set(&mut w.metadata, "client_id_metadata_document_supported", Value::Null);
        },
        "claude-code",
        "doubtful",
        "cannot register itself",
        "http://localhost:PORT/callback",
    ),
    (
        "nobody registers, and one takes no id",
        |w| {
            set(&mut w.metadata, "registration_endpoint", Value::Null);
            set(&mut w.metadata, "client_id_metadata_document_supported", Value::Null);
        },
        "claude",
        "failed",
        "takes no client id",
        "dynamic registration",
    ),
    (
        "documents without public clients",
        |w| {
            set(&mut w.metadata, "registration_endpoint", Value::Null);
            set(&mut w.metadata, "token_endpoint_auth_methods_supported", Value::Null);
        },
        "claude",
        "failed",
        "cannot register",
        "documents",
    ),
    (
        "no public clients",
        |w| set(&mut w.metadata, "token_endpoint_auth_methods_supported", json!(["client_secret_basic"])),
        "public clients",
        "doubtful",
        "`none` is not",
        "public",
    ),
    (
        "no code flow",
        |w| set(&mut w.metadata, "grant_types_supported", json!(["client_credentials"])),
        "grants",
        "failed",
        "authorization_code",
        "code flow",
    ),
    (
        "no RFC 9207",
        |w| set(&mut w.metadata, "authorization_response_iss_parameter_supported", Value::Null),
        "mix-up",
        "unseen",
        "need not",
        "",
    ),
    (
        "weak keys",
        |w| w.keys = json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
        "keys",
        "failed",
        "no usable signing key",
        "2048",
    ),
    (
        "no keys",
        |w| set(&mut w.metadata, "jwks_uri", json!("http://10.0.0.1/none")),
        "keys",
        "failed",
        "not asked",
        "jwks_uri",
    ),
    (
        "an encryption key beside",
        |w| {
            let mut key = w.keys["keys"][0].clone();
            key["use"] = json!("enc");
            w.keys["keys"].as_array_mut().unwrap().push(key);
        },
        "keys",
        "ok",
        "left out: `use`",
        "",
    ),
    (
        "not registered",
        |w| set(&mut w.metadata, "protected_resources", json!(["https://other"])),
        "resource",
        "doubtful",
        "do not list",
        "exactly its URL",
    ),
    (
        "proofs nobody makes",
        |w| set(&mut w.resource, "dpop_bound_access_tokens_required", json!(true)),
        "DPoP",
        "failed",
        "does not say that it binds",
        "DPoP",
    ),
];

#[test]
fn each_fault_is_found_at_its_step_with_a_fix() {
    let mut missed = Vec::new();
    for (name, change, step, status, text, fix) in FAULTS {
        let world = start(change);
        let said = run(&format!("{}/mcp --format json", world.url));
        let object = object(&said);
        let found = steps(&object);
        let hit = found.iter().any(|[at, outcome, said, remedy]| {
            at == step && outcome == status && said.contains(text) && remedy.contains(fix)
        });
        if !hit {
            missed.push(format!("{name}: {found:?}"));
        }
        let failed = found.iter().filter(|[_, outcome, ..]| outcome == "failed").count();
        assert_eq!(object["failed"], failed, "{name}");
        // claude.ai never reaches a server on loopback.
        assert!(failed >= 2 && said.starts_with("exit 1\n"), "{name}: {said}");
        assert!(
            found.iter().all(|[_, outcome, _, remedy]| (outcome == "ok" || outcome == "unseen") == remedy.is_empty()),
            "{name}"
        );
        assert!(!said.contains('\u{1b}'), "{name}");
        if *name == "open" {
            let ended = world.heard.lock().unwrap().iter().filter(|head| head.starts_with("DELETE /mcp ")).count();
            assert_eq!(ended, 2, "each session it opened");
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_long_page_is_not_a_server_that_is_away() {
    let world = start(|w| w.page = "x".repeat(300_000));
    let said = run(&format!("{}/mcp --format json", world.url));
    assert!(said.starts_with("exit 1\n"), "{said}");
    let [step] = &steps(&object(&said))[..] else { panic!("{said}") };
    assert_eq!(step[..3], ["reached", "failed", "it answers with more than 256 KiB"]);
    assert!(step[3].starts_with("correct the URL: ") && !step[3].contains("start it"), "{said}");
}

#[test]
fn clients_are_walked_alone_and_fail_alone() {
    let world = start(|world| world.get = 200);
    for (client, exit) in [("codex", 1), ("mcp-remote", 1), ("vscode", 0), ("python-sdk,zed", 0)] {
        let said = run(&format!("{}/mcp --client {client}", world.url));
        assert!(said.starts_with(&format!("exit {exit}\n")), "{client}: {said}");
    }
    for wrong in [
        "--client nobody http://h/mcp",
        "",
        "http://user@h/mcp",
        "ftp://h/mcp",
        "http://h/mcp?x=1",
        "--token t --issuer http://h",
    ] {
        let words = ["portcullis", "doctor"].into_iter().chain(wrong.split(' ').filter(|word| !word.is_empty()));
        let error = <super::Cli as clap::Parser>::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
}

#[test]
fn who_is_not_there_is_not_reachable() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for arguments in [format!("http://{gone}/mcp"), format!("--issuer http://{gone}")] {
        let said = run(&arguments);
        assert!(said.starts_with("exit 69\n") && said.contains("fix: "), "{said}");
    }
}

#[test]
fn a_token_goes_to_the_server_alone_and_is_never_printed() {
    let folder = Folder::new("doctor-token");
    for (aud, status, exit, texts) in [
        ("own", 200, 0, ["✓ audience", "✓ POST, with it"]),
        ("https://other", 200, 0, ["! audience", "✓ POST, with it"]),
        ("own", 401, 1, ["✓ issuer", "✗ POST, with it"]),
    ] {
        let world = start(|world| world.with_token = status);
        let aud = if aud == "own" { format!("{}/mcp", world.url) } else { aud.to_owned() };
        let part = |value: Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let claims = json!({ "iss": world.url, "aud": aud, "sub": "SUBJECT-NOT-SHOWN" });
        let token = format!("{}.{}.c2lnbmVkLW9mLWNvdXJzZQ", part(json!({ "alg": "ES256" })), part(claims));
        folder.file("token.txt", &token);
        let said = folder.run(&format!("doctor {}/mcp --client zed --token @/token.txt", world.url));
        assert!(said.starts_with(&format!("exit {exit}\n")), "{said}");
        assert!(texts.iter().all(|text| said.contains(text)), "{said}");
        assert!(token.split('.').all(|part| !said.contains(part)) && !said.contains("SUBJECT-NOT-SHOWN"), "{said}");
        let heard = world.heard.lock().unwrap();
        let with: Vec<&String> = heard.iter().filter(|head| head.contains(&token)).collect();
        assert!(with.len() == 1 && with[0].starts_with("POST /mcp "), "{with:?}");
    }
    folder.file("token.txt", "opaque-token");
    let world = start(|_| {});
    let said = folder.run(&format!("doctor {}/mcp --client zed --token @/token.txt", world.url));
    assert!(said.contains("! form") && !said.contains("opaque-token"), "{said}");
    let said = folder.run("doctor http://192.0.2.1/mcp --token @/token.txt");
    assert!(said.starts_with("exit 2\n") && said.contains("plain http"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer::start(listener, Settings::default()).unwrap();
    let said = tokio::task::block_in_place(|| run(&format!("--issuer {} --client cursor,claude", issuer.url())));
    assert!(said.starts_with("exit 0\n"), "{said}");
    for text in [
        "✓ PKCE",
        "✓ registration        dynamic registration (RFC 7591)",
        "✓ keys                1 to verify",
        "✓ clock",
        "✓ claude",
        "✓ cursor",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    let slash = tokio::task::block_in_place(|| run(&format!("--issuer {}/", issuer.url())));
    assert!(slash.starts_with("exit 1\n") && slash.contains("a slash at the end makes it another"), "{slash}");
}
