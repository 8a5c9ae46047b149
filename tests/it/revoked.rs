//! Revoked tokens open nothing, and what they had opened ends (RFC 8417, RFC 8935, RFC 8936, CAEP, RISC).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::server::drain::Signal;
use serde_json::{Map, Value, json};

use crate::support::{Answer, Ask, Proxy, Setup, Upstream, json_answer, token_of, until};

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

fn ask(token: &str) -> Ask {
    Ask::call("2026-07-28", "search_contacts", &json!({})).token(token)
}

pub(crate) fn token_with(proxy: &Proxy, user: &str, more: &Value) -> String {
    let mut claims = token_of(&proxy.issuer, user);
    claims.extend(more.as_object().unwrap().clone());
    proxy.mint(&claims)
}

#[tokio::test]
async fn what_is_listed_is_refused_from_the_reload_on() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url())
        .file("revoked.jsonl", "")
        .issuer_keys("revocation_file = \"revoked.jsonl\"")
        .start()
        .await;
    let now = Timestamp::now().unix_seconds();
    let tokens = [
        ("{\"jti\":\"stolen\"}", token_with(&proxy, "ana", &json!({"jti": "stolen"}))),
        ("{\"sid\":\"laptop\"}", token_with(&proxy, "ana", &json!({"sid": "laptop"}))),
        ("{\"sub\":\"max\"}", token_with(&proxy, "max", &json!({}))),
        (&format!("{{\"issued_before\":{}}}", now - 100), token_with(&proxy, "ana", &json!({"iat": now - 101}))),
    ];
    let free = token_with(&proxy, "ana", &json!({"jti": "free", "sid": "phone"}));
    let mut list = String::new();
    for (line, token) in &tokens {
        assert_eq!(proxy.ask(&ask(token)).await.status, 200, "{line}");
        list.push_str(line);
        list.push('\n');
        proxy.folder.write("revoked.jsonl", &list);
        proxy.signal(Signal::Reload).await;
        let answer = until(line, async || {
            let answer = proxy.ask(&ask(token)).await;
            (answer.status == 401).then_some(answer)
        })
        .await;
        assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        assert_eq!(proxy.ask(&ask(&free)).await.status, 200, "{line}");
    }
    assert!(proxy.audit().iter().any(|line| line.to_string().contains("revoked")));
    // A line that cannot be read keeps the list before it, whole.
    proxy.folder.write("revoked.jsonl", "{\"jti\":\n");
    proxy.signal(Signal::Reload).await;
    until("the failed reload", async || {
        proxy.admin("/readyz?verbose").await.text().contains("reloads fail since").then_some(())
    })
    .await;
    for (line, token) in &tokens {
        assert_eq!(proxy.ask(&ask(token)).await.status, 401, "{line}");
    }
}

pub(crate) fn push_setup(upstream: &Upstream) -> Setup {
    Setup::new(upstream.url()).file("push-token", "pu5h").tables(
        "[issuers.corp.signals]\naudience = \"https://gw.test\"\npush_path = \"/signals/corp\"\npush_token = { file = \"push-token\" }\n",
    )
}

fn event(proxy: &Proxy, subject: &Value, changes: &Value) -> Map<String, Value> {
    let mut claims = json!({"iss": proxy.issuer.url(), "aud": "https://gw.test", "jti": uuid::Uuid::now_v7().to_string(),
        "iat": Timestamp::now().unix_seconds(), "sub_id": subject,
        "events": {REVOKED: {"event_timestamp": Timestamp::now().unix_seconds()}}});
    for (name, value) in changes.as_object().unwrap() {
        if value == "(remove)" {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.as_object().unwrap().clone()
}

pub(crate) fn set(proxy: &Proxy, subject: &Value, changes: &Value) -> String {
    proxy.issuer.mint_typed("secevent+jwt", &event(proxy, subject, changes)).unwrap()
}

pub(crate) async fn push(proxy: &Proxy, set: &str) -> Answer {
    let mut ask = Ask::new("POST").target("/signals/corp").header("Content-Type", "application/secevent+jwt");
    ask.body = set.as_bytes().to_vec();
    proxy_raw(proxy, &ask.header("Authorization", "Bearer pu5h")).await
}

/// Without the checks for what MCP clients may see: a transmitter is none.
async fn proxy_raw(proxy: &Proxy, ask: &Ask) -> Answer {
    let mut client = proxy.client().await;
    client.send(&ask.bytes()).await;
    client.answer().await.unwrap()
}

#[tokio::test]
async fn rfc_8935_a_revoked_sessions_streams_end() {
    for revision in ["2025-11-25", "2026-07-28"] {
        let upstream = Upstream::handling(|_, mut connection| async move {
            connection.begin_stream().await;
            connection.hung_up().await;
            None
        })
        .await;
        let proxy = push_setup(&upstream).start().await;
        let token = token_with(&proxy, "ana", &json!({"sid": "laptop"}));
        let other = token_with(&proxy, "ana", &json!({"sid": "phone"}));
        let mut streams = Vec::new();
        for token in [&token, &other] {
            let mut client = proxy.client().await;
            client.send(&Ask::call(revision, "export_contacts", &json!({})).token(token).bytes()).await;
            assert_eq!(client.head().await.unwrap().status, 200);
            streams.push(client);
        }
        let subject = json!({"format": "complex", "session": {"format": "opaque", "id": "laptop"}});
        let answer = push(&proxy, &set(&proxy, &subject, &json!({}))).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
        let last = streams[0].message().await.expect("why it ended");
        assert_eq!(last["error"]["message"], "The access token is not valid for this server", "{last}");
        assert_eq!(streams[0].event().await, None);
        assert_eq!(proxy.ask(&ask(&token)).await.status, 401);
        // The other session goes on: nothing has been said on its stream.
        let quiet = tokio::time::timeout(Duration::from_millis(50), streams[1].event()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}

#[tokio::test]
async fn streams_end_that_a_reload_no_longer_lets_in() {
    for revision in ["2025-11-25", "2026-07-28"] {
        for keys in ["audiences = [\"https://elsewhere.test\"]", "dpop = { required = true }"] {
            let upstream = Upstream::handling(|_, mut connection| async move {
                connection.begin_stream().await;
                connection.hung_up().await;
                None
            })
            .await;
            let proxy = Setup::new(upstream.url()).start().await;
            let token = proxy.token("ana");
            let mut client = proxy.client().await;
            client.send(&Ask::call(revision, "export_contacts", &json!({})).token(&token).bytes()).await;
            assert_eq!(client.head().await.unwrap().status, 200);
            let path = "path = \"/crm/mcp\"";
            proxy.reload((path, &format!("{path}\n{keys}"))).await;
            let last = client.message().await.expect("why it ended");
            assert_eq!(last["error"]["message"], "The access token is not valid for this server", "{last}");
            assert_eq!(client.event().await, None);
        }
    }
}

#[tokio::test]
async fn rfc_8417_event_tokens_are_from_the_transmitter_for_us_and_typed() {
    let upstream = Upstream::plain().await;
    let proxy = push_setup(&upstream).start().await;
    let stranger = Setup::new_issuer().await;
    let ana = json!({"format": "iss_sub", "iss": proxy.issuer.url(), "sub": "ana"});
    let token = proxy.token("ana");
    assert_eq!(proxy.ask(&ask(&token)).await.status, 200);
    let refused = [
        ("invalid_issuer", set(&proxy, &ana, &json!({"iss": "https://evil.example"}))),
        ("invalid_audience", set(&proxy, &ana, &json!({"aud": "https://other.example"}))),
        ("invalid_audience", set(&proxy, &ana, &json!({"aud": "(remove)"}))),
        ("invalid_request", set(&proxy, &ana, &json!({"jti": "(remove)"}))),
        ("invalid_request", set(&proxy, &ana, &json!({"iat": "(remove)"}))),
        ("invalid_request", set(&proxy, &ana, &json!({"iat": 4_102_444_800_i64}))),
        ("invalid_request", set(&proxy, &ana, &json!({"events": "(remove)"}))),
        ("invalid_request", set(&proxy, &ana, &json!({"sub": "ana"}))),
        ("invalid_request", set(&proxy, &ana, &json!({"exp": 4_102_444_800_i64}))),
        ("invalid_request", proxy.issuer.mint_typed("at+jwt", &event(&proxy, &ana, &json!({}))).unwrap()),
        ("invalid_request", "x.y.z".to_owned()),
        ("invalid_key", stranger.mint_typed("secevent+jwt", &event(&proxy, &ana, &json!({}))).unwrap()),
    ];
    for (code, set) in refused {
        let answer = push(&proxy, &set).await;
        assert_eq!(answer.status, 400, "{code} {answer:?}");
        assert_eq!(answer.json()["err"], code, "{answer:?}");
    }
    for (name, ask) in [
        ("no token", Ask::new("POST")),
        ("another", Ask::new("POST").header("Authorization", "Bearer pu5i")),
        ("longer", Ask::new("POST").header("Authorization", "Bearer pu5hx")),
        ("an access token", Ask::new("POST").token(&token)),
        ("two", Ask::new("POST").header("Authorization", "Bearer pu5h").header("Authorization", "Bearer pu5h")),
    ] {
        let mut ask = ask.target("/signals/corp").header("Content-Type", "application/secevent+jwt");
        ask.body = set(&proxy, &ana, &json!({})).into_bytes();
        let answer = proxy_raw(&proxy, &ask).await;
        assert_eq!((answer.status, &answer.json()["err"]), (400, &json!("authentication_failed")), "{name}");
    }
    assert_eq!(proxy_raw(&proxy, &Ask::new("GET").target("/signals/corp")).await.status, 405);
    assert_eq!(proxy.ask(&ask(&token)).await.status, 200, "none of it has done anything");
    // Unknown subjects and foreign ones are taken without a word, and so is the same again.
    let known = set(&proxy, &ana, &json!({}));
    for set in [
        set(&proxy, &json!({"format": "iss_sub", "iss": "https://other", "sub": "ana"}), &json!({})),
        set(&proxy, &json!({"format": "opaque", "id": "nobody"}), &json!({})),
        known.clone(),
        known,
    ] {
        let answer = push(&proxy, &set).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
    }
    assert_eq!(proxy.ask(&ask(&token)).await.status, 401);
    let metrics = until("the counts", async || {
        let metrics = proxy.admin("/metrics").await.text().to_owned();
        metrics.contains("issuer=\"corp\",result=\"again\"").then_some(metrics)
    })
    .await;
    let count = |line: &str| metrics.lines().find_map(|text| text.strip_prefix(line)?.trim().parse::<u32>().ok());
    let signals = |result: &str| count(&format!("portcullis_signals_total{{issuer=\"corp\",result=\"{result}\"}}"));
    assert_eq!(
        (signals("again"), signals("invalid_audience"), signals("invalid_key")),
        (Some(1), Some(2), Some(1)),
        "{metrics}"
    );
    assert!(signals("acted") >= Some(1) && count("portcullis_revocations{issuer=\"corp\"}") >= Some(1), "{metrics}");
    // A later login is another token.
    let later = token_with(&proxy, "ana", &json!({"iat": Timestamp::now().unix_seconds() + 2}));
    assert_eq!(proxy.ask(&ask(&later)).await.status, 200);
    assert_eq!(proxy.ask(&ask(&proxy.token("max"))).await.status, 200);
    // It is itself no access token.
    let mut claims = token_of(&proxy.issuer, "max");
    claims.insert("events".into(), json!({}));
    assert_eq!(proxy.ask(&ask(&proxy.issuer.mint_typed("secevent+jwt", &claims).unwrap())).await.status, 401);
    // What was taken back is written down once each, by whom and of whom; what was refused is not.
    let told = |line: &Value| (line["revoked"]["event"].clone(), line["revoked"]["of"].clone());
    let log = proxy.folder.read("audit.jsonl");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["event"] == "revoked").collect();
    let sub = |name: &str| (json!("session-revoked"), json!([{ "sub": name }]));
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), [sub("nobody"), sub("ana")], "{lines:?}");
    assert!(lines.iter().all(|line| line["revoked"]["iss"] == proxy.issuer.url()), "{lines:?}");
}

#[tokio::test]
async fn rfc_8936_events_are_asked_for_and_acknowledged() {
    let upstream = Upstream::plain().await;
    let next: Arc<Mutex<Value>> = Arc::new(Mutex::new(json!({"sets": {}})));
    let scripted = next.clone();
    let transmitter = Upstream::answering(move |_| {
        json_answer(200, &std::mem::replace(&mut *scripted.lock().unwrap(), json!({"sets": {}})).to_string())
    })
    .await;
    let proxy = Setup::new(upstream.url())
        .file("poll-token", "p0ll")
        .tables(&format!(
            "[issuers.corp.signals]\naudience = \"https://gw.test\"\npoll_endpoint = \"{}\"\npoll_interval = \"1s\"\npoll_token = {{ file = \"poll-token\" }}\n",
            transmitter.url()
        ))
        .start()
        .await;
    let token = proxy.token("ana");
    assert_eq!(proxy.ask(&ask(&token)).await.status, 200);
    let subject = json!({"format": "iss_sub", "iss": proxy.issuer.url(), "sub": "ana"});
    let (good, bad) = (set(&proxy, &subject, &json!({})), set(&proxy, &subject, &json!({"aud": "x"})));
    *next.lock().unwrap() = json!({"sets": {"good": good, "bad": bad}, "moreAvailable": false});
    until("the revocation", async || (proxy.ask(&ask(&token)).await.status == 401).then_some(())).await;
    let mut heard = Vec::new();
    until("the acknowledgement", async || {
        heard.extend(transmitter.take());
        heard.iter().any(|heard| heard.json()["ack"] == json!(["good"])).then_some(())
    })
    .await;
    let told = heard.iter().find(|heard| heard.json()["ack"] == json!(["good"])).unwrap();
    assert_eq!(told.json()["setErrs"]["bad"]["err"], "invalid_audience");
    assert_eq!(told.header("authorization"), Some("Bearer p0ll".to_owned()));
    assert_eq!(told.json()["returnImmediately"], true);
}
