//! Sessions of the older era: sealed to who opened them, where and with what; of no use to anybody else.

use portcullis::demo::issuer::Issuer;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, CRM_POLICY, Proxy, Setup, Upstream, events, json_answer, raw_answer, token_of};

const OWN_ID: &str = "upstream-session-1";

/// A server that opens a session of that name for everybody, and streams events with ids.
async fn upstream() -> Upstream {
    Upstream::answering(|heard| {
        if heard.line().starts_with("GET") {
            return events(
                b"id: place-2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n",
            );
        }
        if heard.line().starts_with("DELETE") {
            return b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        }
        let message = heard.json();
        match message["method"].as_str() {
            Some("initialize") => {
                let result = json!({ "protocolVersion": message["params"]["protocolVersion"], "capabilities": {},
                    "serverInfo": { "name": "up", "version": "1" } });
                let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
                raw_answer(
                    200,
                    &format!("Content-Type: application/json\r\nMcp-Session-Id: {OWN_ID}\r\n"),
                    body.as_bytes(),
                )
            }
            Some(method) if method.starts_with("notifications/") => raw_answer(202, "", b""),
            _ => json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[]}}}}"#, heard.id())),
        }
    })
    .await
}

fn list(token: &str, session: &str) -> Ask {
    Ask::legacy("tools/list", &json!({})).token(token).session(session)
}

fn not_found(answer: &Answer, id: &str) {
    assert_eq!(answer.status, 404, "{answer:?}");
    let expected = format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32600,"message":"Session not found"}}}}"#);
    assert_eq!(answer.text(), expected);
}

async fn start(upstream: &Upstream) -> Proxy {
    let proxy = Setup::new(upstream.url()).start().await;
    proxy.keep_secret(OWN_ID.to_owned());
    proxy
}

#[tokio::test]
async fn a_session_is_the_upstreams_behind_a_name_of_our_own() {
    let upstream = upstream().await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    assert!(session.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(upstream.take()[0].header("mcp-session-id"), None);
    let again = proxy.open_session(&token).await;
    assert_ne!(session, again, "two sessions have two names");
    upstream.take();

    // The revision that was settled is what later requests say upstream.
    assert_eq!(proxy.ask(&list(&token, &session).without("MCP-Protocol-Version")).await.status, 200);
    let heard = upstream.take();
    assert_eq!(heard[0].header("mcp-session-id").as_deref(), Some(OWN_ID));
    assert_eq!(heard[0].header("mcp-protocol-version").as_deref(), Some("2025-11-25"));

    // A token of the same caller that was not there when it was opened.
    let mut renewed = token_of(&proxy.issuer, "ana");
    renewed.insert("jti".to_owned(), json!("renewed"));
    assert_eq!(proxy.ask(&list(&proxy.mint(&renewed), &session)).await.status, 200);
    assert_eq!(upstream.take().len(), 1);

    // One that a client brings to `initialize` is not taken over.
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    let fixed = proxy.ask(&Ask::legacy("initialize", &params).token(&token).session("mine")).await;
    not_found(&fixed, "\"id\":7,");
    assert_eq!(upstream.take().len(), 0);

    let end = proxy.ask(&Ask::new("DELETE").token(&token).session(&session)).await;
    assert_eq!((end.status, end.text()), (204, ""));
    let heard = upstream.take();
    assert_eq!((heard.len(), heard[0].line()), (1, "DELETE /mcp HTTP/1.1"));
    assert_eq!(heard[0].header("mcp-session-id").as_deref(), Some(OWN_ID));
    assert_eq!(heard[0].names(), ["accept-encoding", "host", "mcp-protocol-version", "mcp-session-id"]);
    proxy.assert_not_kept(OWN_ID).await;
    proxy.assert_not_kept(&session).await;
}

#[tokio::test]
async fn nobody_else_can_use_a_session_and_nobody_can_make_one() {
    let upstream = upstream().await;
    let wiki = format!(
        "[servers.wiki]\npath = \"/wiki/mcp\"\nupstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n\
         audiences = [\"https://gw.test/crm/mcp\"]\n",
        upstream.url()
    );
    let proxy = Setup::new(upstream.url()).tables(&wiki).start().await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    upstream.take();
    let with = |name: &str, value: Value| {
        let mut claims = token_of(&proxy.issuer, "ana");
        claims.insert(name.to_owned(), value);
        proxy.mint(&claims)
    };
    let mut asks = vec![
        ("another subject", list(&proxy.token("max"), &session)),
        ("the subject spelled otherwise", list(&with("sub", json!("Ana")), &session)),
        ("another client", list(&with("client_id", json!("other")), &session)),
        ("another server", list(&token, &session).target("/wiki/mcp")),
        ("the upstream's own name", list(&token, OWN_ID)),
        ("empty", list(&token, "")),
        ("a word", list(&token, "00000000-0000-4000-8000-000000000000")),
        ("longer", list(&token, &format!("{session}A"))),
        ("shorter", list(&token, &session[..session.len() - 1])),
        ("twice", list(&token, &session).session(&session)),
    ];
    for at in (0..session.len()).step_by(7) {
        let mut changed = session.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        asks.push(("one character changed", list(&token, &String::from_utf8(changed).unwrap())));
    }
    for (name, ask) in asks {
        let answer = proxy.ask(&ask).await;
        assert_eq!(answer.status, 404, "{name} {answer:?}");
        not_found(&answer, "\"id\":7,");
        for method in ["GET", "DELETE"] {
            let other = Ask { method, body: Vec::new(), ..ask.clone() };
            let answer = proxy.ask(&other.with("Accept", "text/event-stream")).await;
            assert_eq!(answer.status, 404, "{name} {method} {answer:?}");
        }
        assert_eq!(upstream.take().len(), 0, "{name} reached the upstream");
    }
    not_found(&proxy.ask(&Ask::new("DELETE").token(&token)).await, "");
    assert_eq!(upstream.take().len(), 0);
    // The new era has no sessions: whatever is sent as one is not looked at and not sent on.
    let modern = Ask::modern("tools/list", &json!({})).token(&token).session("anything");
    assert_eq!(proxy.ask(&modern).await.status, 200);
    assert_eq!(upstream.take()[0].header("mcp-session-id"), None);
}

async fn restarted(upstream: &Upstream, issuer: &Issuer, keys: &[(&str, &str)]) -> Proxy {
    let mut setup = Setup::new(upstream.url()).issuer(issuer);
    for (id, key) in keys {
        setup = setup
            .file(&format!("{id}.key"), key.repeat(16))
            .tables(&format!("[[sealing.keys]]\nid = \"{id}\"\nfile = \"{id}.key\"\n"));
    }
    setup.start().await
}

#[tokio::test]
async fn a_session_outlives_the_process_where_sealing_keys_are_configured() {
    let upstream = upstream().await;
    let issuer = Setup::new_issuer().await;
    let first = restarted(&upstream, &issuer, &[("k1", "ab01")]).await;
    let token = first.token("ana");
    let session = first.open_session(&token).await;
    drop(first);
    let second = restarted(&upstream, &issuer, &[("k1", "ab01"), ("k2", "cd02")]).await;
    assert_eq!(second.ask(&list(&token, &session)).await.status, 200);
    upstream.take();
    for keys in [&[("k1", "ef03")][..], &[("k2", "ab01")], &[]] {
        let other = restarted(&upstream, &issuer, keys).await;
        not_found(&other.ask(&list(&token, &session)).await, "\"id\":7,");
        assert_eq!(upstream.take().len(), 0, "{keys:?}");
    }
}

#[tokio::test]
async fn a_session_the_upstream_forgot_is_not_found() {
    let upstream = Upstream::answering(|heard| {
        if heard.text().contains("initialize") {
            let body = r#"{"jsonrpc":"2.0","id":7,"result":{"protocolVersion":"2025-11-25"}}"#;
            return raw_answer(200, "Content-Type: application/json\r\nMcp-Session-Id: x\r\n", body.as_bytes());
        }
        json_answer(404, r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"INSIDE"}}"#)
    })
    .await;
    let proxy = start(&upstream).await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    not_found(&proxy.ask(&list(&token, &session)).await, "\"id\":7,");
    not_found(&proxy.ask(&Ask::new("DELETE").token(&token).session(&session)).await, "");
}

#[tokio::test]
async fn a_stream_resumes_only_in_the_session_it_belongs_to() {
    let upstream = upstream().await;
    let proxy = Setup::new(upstream.url()).policy(CRM_POLICY).start().await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    upstream.take();
    let listen = |token: &str, session: &str| {
        Ask::new("GET").header("Accept", "text/event-stream").token(token).session(session)
    };
    let answer = proxy.ask(&listen(&token, &session)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert_eq!(answer.messages(), [json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })]);
    let heard = upstream.take();
    assert_eq!(heard[0].line(), "GET /mcp HTTP/1.1");
    assert_eq!(heard[0].header("last-event-id"), None);
    let place = answer.text().lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert!(!place.contains("place-2"), "the place must be sealed");

    let resume = |token: &str, session: &str, place: &str| listen(token, session).header("Last-Event-ID", place);
    assert_eq!(proxy.ask(&resume(&token, &session, &place)).await.status, 200);
    let heard = upstream.take();
    assert_eq!(heard[0].header("last-event-id").as_deref(), Some("place-2"));
    assert_eq!(heard[0].header("mcp-session-id").as_deref(), Some(OWN_ID));

    let max = proxy.token("max");
    let theirs = proxy.open_session(&max).await;
    upstream.take();
    for (name, ask) in [
        ("another's place", resume(&max, &theirs, &place)),
        ("another's session", resume(&max, &session, &place)),
        ("no session", resume(&token, &session, &place).without("Mcp-Session-Id")),
        ("a place of the upstream's", resume(&token, &session, "place-2")),
        ("a session as a place", resume(&token, &session, &session)),
        ("two places", resume(&token, &session, &place).header("Last-Event-ID", &place)),
    ] {
        not_found(&proxy.ask(&ask).await, "");
        assert_eq!(upstream.take().len(), 0, "{name} reached the upstream");
    }
}

#[tokio::test]
async fn a_session_opened_on_a_stream_speaks_the_revision_that_was_settled() {
    for settled in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let upstream = Upstream::handling(move |heard, mut connection| async move {
            if !heard.text().contains("initialize") {
                connection.send(json_answer(200, r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#)).await;
                return Some(connection);
            }
            let log = json!({ "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": "info", "data": "hello" } });
            let result = json!({ "jsonrpc": "2.0", "id": 7, "result": { "protocolVersion": settled,
                "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } } });
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: {OWN_ID}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
            );
            connection.send(head).await;
            connection.piece(format!("data: {log}\n\n")).await;
            connection.piece(format!("data: {result}\n\n")).await;
            connection.end_stream().await;
            Some(connection)
        })
        .await;
        let proxy = start(&upstream).await;
        let token = proxy.token("ana");
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
        let answer = proxy.ask(&Ask::legacy("initialize", &params).token(&token)).await;
        let methods: Vec<_> = answer.messages().iter().map(|message| message["method"].clone()).collect();
        assert_eq!(methods, [json!("notifications/message"), Value::Null]);
        let session = answer.header("mcp-session-id").unwrap();
        upstream.take();
        assert_eq!(proxy.ask(&list(&token, session).without("MCP-Protocol-Version")).await.status, 200);
        // The oldest of them has no such header yet.
        let stated = Some(settled).filter(|settled| *settled != "2025-03-26");
        assert_eq!(upstream.take()[0].header("mcp-protocol-version").as_deref(), stated);
    }
}

/// A stream may break off before its answer where events have ids; the rest is read and masked as part of its call.
#[tokio::test]
async fn a_stream_that_broke_off_goes_on_as_the_answer_to_its_call() {
    let upstream = Upstream::answering(|heard| {
        if heard.text().contains("initialize") {
            let body = r#"{"jsonrpc":"2.0","id":7,"result":{"protocolVersion":"2025-11-25"}}"#;
            return raw_answer(
                200,
                &format!("Content-Type: application/json\r\nMcp-Session-Id: {OWN_ID}\r\n"),
                body.as_bytes(),
            );
        }
        if heard.line().starts_with("POST") {
            return events(b"id: place-1\nretry: 10\ndata: \n\n");
        }
        events(b"id: place-2\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"tools\":[{\"name\":\"delete_contact\"},{\"name\":\"get_contact\",\"description\":\"ask ana@private.example\"}]}}\n\n")
    })
    .await;
    let proxy = start(&upstream).await;
    proxy.keep_secret("ana@private.example".to_owned());
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    let mut client = proxy.client().await;
    client.send(&list(&token, &session).bytes()).await;
    client.head().await.unwrap();
    let priming = client.event().await.unwrap();
    let place = priming.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert!(priming.contains("retry: 10"), "{priming}");
    assert_eq!(client.event().await, None, "a pause, not an error");
    upstream.take();
    let listen = Ask::new("GET").header("Accept", "text/event-stream").token(&token).session(&session);
    let rest = proxy.ask(&listen.header("Last-Event-ID", &place)).await;
    assert_eq!(upstream.take()[0].header("last-event-id").as_deref(), Some("place-1"));
    let wanted = json!({ "tools": [{ "name": "get_contact", "description": "ask [EMAIL_ADDRESS]" }] });
    assert_eq!((&rest.message()["id"], &rest.message()["result"]), (&json!(7), &wanted));
}
