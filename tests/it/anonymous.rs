//! Callers without a token: what a rule opens to them, what it never does, and that nothing of theirs is anybody's.

use serde_json::{Value, json};

use crate::support::{Answer, Ask, Heard, Proxy, Setup, Upstream, events, json_answer, raw_answer};

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const ERAS: [&str; 3] = ["2025-03-26", OLD, NEW];
const METADATA: &str = "https://gw.test/.well-known/oauth-protected-resource/crm/mcp";

/// Anybody may look, who has a scope may change.
const POLICY: &str = r#"
[[rule]]
id        = "public"
tools     = ["see_*", "ask_*"]
prompts   = ["hello"]
resources = ["crm://pub/**"]
anonymous = true

[[rule]]
id        = "small"
tools     = ["pay", "tip"]
anonymous = true
[rule.args]
amount = { maximum = 5 }
additional = true

[[rule]]
id     = "change"
tools  = ["put_*", "pay"]
scopes = ["crm:write"]

[[rule]]
id     = "never"
effect = "deny"
tools  = ["see_secret"]
"#;

const TOOLS: [&str; 7] = ["see_all", "see_secret", "put_all", "pay", "tip", "ask_me", "unlisted"];

fn answer(heard: &Heard) -> Value {
    let message = heard.json();
    let params = &message["params"];
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            json!({ "protocolVersion": OLD, "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } })
        }
        "tools/list" => {
            json!({ "tools": TOOLS.map(|name| json!({ "name": name, "inputSchema": { "type": "object" } })),
            "nextCursor": "up-page" })
        }
        "tools/call" => match params["arguments"]["as"].as_str() {
            Some("task") => json!({ "task": { "taskId": "up-1", "status": "working" } }),
            Some("task_of_extension") => json!({ "resultType": "task", "taskId": "up-1", "status": "working" }),
            Some("state") => json!({ "resultType": "input_required", "requestState": "up-state" }),
            Some("question") => json!({ "resultType": "input_required", "inputRequests": { "k": {
                "method": "elicitation/create", "params": { "message": "?" } } } }),
            _ => json!({ "content": [{ "type": "text", "text": "mail ana@private.example" }] }),
        },
        _ => json!({}),
    }
}

async fn upstream() -> Upstream {
    Upstream::answering(|heard| {
        let body = json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": answer(heard) });
        json_answer(200, &body.to_string())
    })
    .await
}

async fn start(upstream: &Upstream, policy: &str) -> Proxy {
    let offered = TOOLS.map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
    upstream.offer(&json!(offered));
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    for inside in ["up-page", "up-state", "up-1", "up-session"] {
        proxy.keep_secret(inside.to_owned());
    }
    proxy
}

/// 401 as to anybody without a token, and nothing of it has gone up.
fn is_asked_for_a_token(answer: &Answer, upstream: &Upstream, name: &str) {
    assert_eq!(answer.status, 401, "{name}: {answer:?}");
    let challenge = format!("Bearer resource_metadata=\"{METADATA}\", scope=\"crm:write\"");
    assert_eq!(answer.header("www-authenticate"), Some(&*challenge), "{name}");
    assert_eq!(answer.json()["error"]["code"], -31401, "{name}");
    assert_eq!(answer.json()["error"]["message"], "Authentication required", "{name}");
    assert_eq!(upstream.take().len(), 0, "{name}");
}

fn names(answer: &Answer) -> Vec<String> {
    let tools = answer.message()["result"]["tools"].as_array().unwrap().clone();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_has_no_token_finds_out_and_does_what_a_rule_opens_and_nothing_else() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    for revision in ERAS {
        if revision != NEW {
            let params = json!({ "protocolVersion": revision, "capabilities": {},
                "clientInfo": { "name": "it", "version": "1" } });
            let opened = proxy.ask(&Ask::legacy("initialize", &params).without("MCP-Protocol-Version")).await;
            assert_eq!((opened.status, opened.header("mcp-session-id")), (200, None), "{opened:?}");
            let told = Ask::post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            assert_eq!(proxy.ask(&told.header("MCP-Protocol-Version", revision)).await.status, 202);
        }
        let listed = proxy.ask(&Ask::of(revision, "tools/list", &json!({}))).await;
        assert_eq!(names(&listed), ["see_all", "pay", "tip", "ask_me"], "{revision}");
        upstream.take();
        let called = proxy.ask(&Ask::call(revision, "see_all", &json!({ "x": 1 }))).await;
        assert_eq!(called.status, 200, "{called:?}");
        let [heard] = upstream.take().try_into().unwrap();
        assert_eq!(heard.json()["params"]["arguments"], json!({ "x": 1 }));
        assert_eq!((heard.header("authorization"), heard.header("mcp-session-id")), (None, None));
        for (method, params) in
            [("prompts/get", json!({ "name": "hello" })), ("resources/read", json!({ "uri": "crm://pub/a" }))]
        {
            assert_eq!(proxy.ask(&Ask::of(revision, method, &params)).await.status, 200, "{method}");
            assert_eq!(upstream.take().len(), 1, "{method}");
        }
        for tool in ["put_all", "see_secret", "SEE_SECRET", "unlisted", "nobody_knows"] {
            let answer = proxy.ask(&Ask::call(revision, tool, &json!({}))).await;
            is_asked_for_a_token(&answer, &upstream, tool);
        }
        for (method, params) in [
            ("prompts/get", json!({ "name": "other" })),
            ("resources/read", json!({ "uri": "crm://private/a" })),
            ("resources/read", json!({ "uri": "crm://pub/../private/a" })),
            ("completion/complete", json!({ "ref": { "type": "ref/prompt", "name": "other" } })),
        ] {
            is_asked_for_a_token(&proxy.ask(&Ask::of(revision, method, &params)).await, &upstream, method);
        }
    }
    let lines = proxy.audit();
    let calls: Vec<_> = lines.iter().filter(|line| line["tool"] == "see_all" && line["event"] == "call").collect();
    assert_eq!(calls.len(), ERAS.len());
    for line in calls {
        assert_eq!(line["subject"], json!({ "anonymous": true }));
        assert_eq!((&line["decision"], &line["policy"]["rule"]), (&json!("allow"), &json!("public")));
        assert_eq!(line["client"]["ip"], "127.0.0.1");
    }
    // What was refused for want of a token is in the lane of such failures, whatever was asked for.
    assert!(lines.iter().any(|line| line["event"] == "auth_failed"));
    assert!(!lines.iter().any(|line| line["tool"] == "put_all"));
    let metrics = proxy.admin("/metrics").await.text().to_owned();
    assert!(metrics.contains("portcullis_auth_total{issuer=\"_OTHER\",result=\"anonymous\"}"), "{metrics}");
}

/// One that is presented must hold, whatever is asked for.
#[tokio::test]
async fn a_credential_that_fails_is_refused_where_none_would_do() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    for revision in ERAS {
        for ask in [
            Ask::call(revision, "see_all", &json!({})),
            Ask::of(revision, "tools/list", &json!({})),
            Ask::legacy("initialize", &json!({ "protocolVersion": OLD, "capabilities": {} })),
        ] {
            let answer = proxy.ask(&ask.clone().token("eyJhbGciOiJub25lIn0.e30.")).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
            let other = proxy.ask(&ask.clone().header("Authorization", "Basic YTpi")).await;
            is_asked_for_a_token(&other, &upstream, "another scheme");
            assert_eq!(proxy.ask(&ask.target("/crm/mcp?access_token=x")).await.status, 400);
        }
    }
    assert_eq!(upstream.take().len(), 0);
}

/// Without such a rule, and while the only one is in shadow, nothing is open: no list, no greeting.
#[tokio::test]
async fn it_is_off_unless_a_rule_in_force_says_so() {
    let shadow = "[policy]\nshadow_until = 2099-01-01T00:00:00Z\n[[rule]]\nid = \"p\"\ntools = [\"see_*\"]\nanonymous = true\nmode = \"shadow\"\n[[rule]]\nid = \"w\"\ntools = [\"put_*\"]\nscopes = [\"crm:write\"]\n";
    for policy in [POLICY.replace("anonymous = true", "anonymous = false"), shadow.to_owned()] {
        let upstream = upstream().await;
        let proxy = start(&upstream, &policy).await;
        for revision in [OLD, NEW] {
            for ask in [
                Ask::legacy("initialize", &json!({ "protocolVersion": OLD, "capabilities": {} })),
                Ask::of(revision, "tools/list", &json!({})),
                Ask::call(revision, "see_all", &json!({})),
                Ask::new("GET").header("Accept", "text/event-stream"),
                Ask::new("DELETE"),
            ] {
                is_asked_for_a_token(&proxy.ask(&ask).await, &upstream, ask.method);
            }
        }
    }
}

/// What a client would have to keep, and what is somebody's, is not for who is nobody; and nobody's id is everybody's.
#[tokio::test]
async fn nothing_is_kept_for_nobody() {
    let upstream = upstream().await;
    let more = "[[rule]]\nid = \"all\"\nmethods = [\"tasks/list\", \"elicitation/create\"]\nscopes = [\"crm:read\"]\n";
    let proxy = start(&upstream, &format!("{POLICY}{more}")).await;
    let token = proxy.token("ana");
    let with_task = Ask::legacy("tools/call", &json!({ "name": "see_all", "arguments": { "as": "task" }, "task": {} }));
    let begun = proxy.ask(&with_task.clone().token(&token)).await;
    let task = begun.message()["result"]["task"]["taskId"].clone();
    assert!(task.is_string(), "{begun:?}");
    upstream.take();
    let named = json!({ "taskId": task });
    let old = [
        ("tasks/get", named.clone()),
        ("tasks/result", named.clone()),
        ("tasks/cancel", named.clone()),
        ("tasks/list", json!({})),
        ("resources/subscribe", json!({ "uri": "crm://pub/a" })),
        ("resources/unsubscribe", json!({ "uri": "crm://pub/a" })),
        ("logging/setLevel", json!({ "level": "debug" })),
        ("tools/call", json!({ "name": "see_all", "task": { "ttl": 1000 } })),
    ];
    let new = [
        ("tasks/get", named.clone()),
        ("tasks/update", json!({ "taskId": named["taskId"], "inputResponses": {} })),
        ("tasks/cancel", named),
        ("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
        ("tools/call", json!({ "name": "see_all", "requestState": "up-state" })),
        ("tools/call", json!({ "name": "see_all", "inputResponses": { "k": { "action": "accept" } } })),
    ];
    let requests = old.iter().map(|(method, params)| Ask::legacy(method, params));
    let requests = requests.chain(new.iter().map(|(method, params)| Ask::modern(method, params)));
    let notes = ["notifications/cancelled", "notifications/roots/list_changed", "notifications/progress"];
    let notes = notes.map(|method| {
        let note = json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": 1, "progressToken": 1, "progress": 1 } });
        Ask::post(note.to_string()).header("MCP-Protocol-Version", OLD)
    });
    let answered = Ask::post(r#"{"jsonrpc":"2.0","id":"AQ","result":{"action":"accept"}}"#);
    for ask in requests.chain(notes).chain([answered.header("MCP-Protocol-Version", OLD), Ask::new("DELETE")]) {
        let answer = proxy.ask(&ask).await;
        is_asked_for_a_token(&answer, &upstream, &String::from_utf8_lossy(&ask.body));
    }
    // There is no stream to listen on, which is no reason for a client to log in.
    let listen = Ask::new("GET").header("Accept", "text/event-stream");
    let answer = proxy.ask(&listen).await;
    assert_eq!((answer.status, answer.header("allow"), upstream.take().len()), (405, Some("POST, OPTIONS"), 0));
    let resumed = proxy.ask(&listen.header("Last-Event-ID", "AQ")).await;
    is_asked_for_a_token(&resumed, &upstream, "resumed");
    // A result that would have to be kept is not passed on either; a call after which a server asks is made again with a token.
    for kept in ["task", "task_of_extension", "state", "question"] {
        for revision in [OLD, NEW] {
            let answer = proxy.ask(&Ask::call(revision, "see_all", &json!({ "as": kept }))).await;
            assert_eq!(upstream.take().len(), 1);
            is_asked_for_a_token(&answer, &upstream, kept);
        }
    }
}

/// A server may make a task only of a client's call that declares them, so it is not told that this one does.
#[tokio::test]
async fn the_tasks_extension_is_not_declared_for_nobody() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    for (extensions, left) in [
        (json!({ "io.modelcontextprotocol/tasks": {} }), json!({})),
        (
            json!({ "io.modelcontextprotocol/ui": {}, "io.modelcontextprotocol/tasks": {} }),
            json!({ "io.modelcontextprotocol/ui": {} }),
        ),
        (json!({ "io.modelcontextprotocol/ui": {} }), json!({ "io.modelcontextprotocol/ui": {} })),
    ] {
        let params = json!({ "name": "see_all", "_meta": { "io.modelcontextprotocol/protocolVersion": NEW,
            "io.modelcontextprotocol/clientCapabilities": { "sampling": {}, "extensions": extensions } } });
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let ask = Ask::post(message.to_string()).header("MCP-Protocol-Version", NEW);
        let ask = ask.header("Mcp-Method", "tools/call").header("Mcp-Name", "see_all");
        assert_eq!(proxy.ask(&ask).await.status, 200);
        let stated = &upstream.take()[0].json()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(*stated, json!({ "sampling": {}, "extensions": left }));
    }
}

/// A session would be sealed to everybody without a token: where the server needs one, a token is asked for at once, and
/// what was opened for nothing is ended.
#[tokio::test]
async fn a_server_with_sessions_is_for_somebody() {
    for streamed in [false, true] {
        let upstream = Upstream::answering(move |heard| {
            let body = json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": answer(heard) }).to_string();
            if heard.line().starts_with("DELETE") {
                return raw_answer(200, "", b"");
            }
            let (media, body) =
                if streamed { ("text/event-stream", format!("data: {body}\n\n")) } else { ("application/json", body) };
            let fields = format!("Content-Type: {media}\r\nMcp-Session-Id: up-session\r\n");
            raw_answer(200, &fields, body.as_bytes())
        })
        .await;
        let proxy = start(&upstream, POLICY).await;
        let params =
            json!({ "protocolVersion": OLD, "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
        let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version");
        let answer = proxy.ask(&ask).await;
        upstream.wait_for(2).await;
        let [opened, ended] = upstream.take().try_into().unwrap();
        assert_eq!((opened.json()["method"].clone(), opened.header("mcp-session-id")), (json!("initialize"), None));
        assert!(ended.line().starts_with("DELETE "), "{}", ended.line());
        assert_eq!(ended.header("mcp-session-id").as_deref(), Some("up-session"));
        is_asked_for_a_token(&answer, &upstream, "initialize");
        // Somebody's session is of no use without the token.
        let session = proxy.open_session(&proxy.token("ana")).await;
        upstream.take();
        for ask in [
            Ask::legacy("tools/list", &json!({})),
            Ask::call(OLD, "see_all", &json!({})),
            Ask::new("GET").header("Accept", "text/event-stream"),
            Ask::new("DELETE"),
        ] {
            is_asked_for_a_token(&proxy.ask(&ask.session(&session)).await, &upstream, "a session");
        }
    }
}

/// Pages go on for whoever began them; a token's and nobody's are not each other's.
#[tokio::test]
async fn pages_go_on_without_a_token_and_are_not_somebodys() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    let token = proxy.token("ana");
    for revision in ERAS {
        let first = Ask::of(revision, "tools/list", &json!({}));
        let nobodys = proxy.ask(&first).await.message()["result"]["nextCursor"].clone();
        let anas = proxy.ask(&first.token(&token)).await.message()["result"]["nextCursor"].clone();
        let next = |cursor: &Value| Ask::of(revision, "tools/list", &json!({ "cursor": cursor }));
        upstream.take();
        assert_eq!(proxy.ask(&next(&nobodys)).await.status, 200);
        assert_eq!(upstream.take()[0].json()["params"]["cursor"], "up-page");
        is_asked_for_a_token(&proxy.ask(&next(&anas)).await, &upstream, "a cursor of somebody");
        is_asked_for_a_token(&proxy.ask(&next(&json!("up-page"))).await, &upstream, "a cursor of nobody");
        let refused = proxy.ask(&next(&nobodys).token(&token)).await;
        assert_eq!((refused.json()["error"]["code"].clone(), upstream.take().len()), (json!(-32602), 0));
    }
}

/// On a stream: no place to go on from, no request of the server, and no value a mask would show to somebody.
#[tokio::test]
async fn a_stream_of_nobody_carries_nothing_to_come_back_with() {
    let masks = "[[mask]]\nid = \"mail\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"ACTION\"\nunless_groups = [\"staff\"]\n";
    for action in ["redact", "hash", "tokenize"] {
        let upstream = Upstream::answering(|heard| {
        let message = heard.json();
        if message["method"] != "tools/call" {
            return raw_answer(202, "", b"");
        }
        let ask = json!({ "jsonrpc": "2.0", "id": "up-1", "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1 } });
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } });
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "content": [{ "type": "text",
            "text": "mail ana@private.example" }] } });
        events(format!("id: up-1\ndata:\n\ndata: {ask}\n\nid: up-1\ndata: {note}\n\ndata: {body}\n\n").as_bytes())
    })
    .await;
        let asks = "[[rule]]\nid = \"asks\"\nmethods = [\"sampling/createMessage\"]\nscopes = [\"crm:read\"]\n";
        let policy = format!("{POLICY}{asks}{}", masks.replace("ACTION", action));
        let proxy = start(&upstream, &policy).await;
        let answer = proxy.ask(&Ask::call(OLD, "see_all", &json!({}))).await;
        let text = answer.text();
        assert!(text.lines().filter_map(|line| line.strip_prefix("id:")).all(|id| id.trim().is_empty()), "{text}");
        let messages = answer.messages();
        assert!(messages.iter().all(|message| message["method"] != "sampling/createMessage"), "{text}");
        // Not even the same for the same value: it would be so for everybody.
        assert_eq!(messages.last().unwrap()["result"]["content"][0]["text"], "mail [EMAIL_ADDRESS]", "{action}");
        upstream.wait_for(2).await;
        let heard = upstream.take();
        let refusal = heard.iter().find(|heard| heard.json().get("error").is_some()).expect("a refusal");
        assert_eq!(refusal.json()["error"]["code"], -31403);
    }
}

/// Where a token could help, one is asked for; where none could, the denial says why.
#[tokio::test]
async fn arguments_a_rule_minds_are_told_only_where_no_token_would_help() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    for revision in ERAS {
        for tool in ["pay", "tip"] {
            assert_eq!(proxy.ask(&Ask::call(revision, tool, &json!({ "amount": 5 }))).await.status, 200);
            assert_eq!(upstream.take().len(), 1);
        }
        let answer = proxy.ask(&Ask::call(revision, "pay", &json!({ "amount": 6 }))).await;
        is_asked_for_a_token(&answer, &upstream, "pay");
        let answer = proxy.ask(&Ask::call(revision, "tip", &json!({ "amount": 6 }))).await;
        let text = answer.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("Denied by policy (rule small): argument /amount does not meet maximum"), "{text}");
        assert_eq!((answer.status, upstream.take().len()), (200, 0));
    }
}

#[tokio::test]
async fn who_has_no_token_sends_little_and_not_often() {
    let upstream = upstream().await;
    upstream.offer(&json!([{ "name": "see_all", "inputSchema": { "type": "object" } }]));
    let setup = Setup::new(upstream.url()).policy(POLICY).server("anonymous = { rate = \"4/h\" }");
    let proxy = setup.start().await;
    let call = |length: usize| {
        let ask = Ask::call(OLD, "see_all", &json!({ "x": "" }));
        let room = length - ask.body.len();
        Ask::call(OLD, "see_all", &json!({ "x": "x".repeat(room) }))
    };
    assert_eq!(proxy.ask(&call(64 * 1024)).await.status, 200);
    assert_eq!(upstream.take().len(), 1);
    is_asked_for_a_token(&proxy.ask(&call(64 * 1024 + 1)).await, &upstream, "a large call");
    // Nothing of a body that is announced as larger is waited for.
    let mut client = proxy.client().await;
    let head = format!(
        "POST /crm/mcp HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\nMCP-Protocol-Version: {OLD}\r\nContent-Length: 65537\r\n\r\n"
    );
    client.send(head.as_bytes()).await;
    is_asked_for_a_token(&client.answer().await.unwrap(), &upstream, "a large head");
    assert_eq!(proxy.ask(&call(1000)).await.status, 200);
    upstream.take();
    for ask in [call(1000), Ask::of(NEW, "tools/list", &json!({})), Ask::call(NEW, "put_all", &json!({}))] {
        let answer = proxy.ask(&ask).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (429, json!(-31429)), "{answer:?}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((800..=900).contains(&wait), "{wait}");
        assert_eq!(upstream.take().len(), 0);
    }
    // Who shows a token is not counted among them, and may send more.
    assert_eq!(proxy.ask(&call(70_000).token(&proxy.token("ana"))).await.status, 200);
    let metrics = proxy.admin("/metrics").await.text().to_owned();
    assert!(metrics.contains("portcullis_rate_limited_total{server=\"crm\",rule=\"anonymous\"} 3"), "{metrics}");
}

/// A limit of a rule that counts subjects or clients counts the addresses of who has no token.
#[tokio::test]
async fn limits_of_rules_count_addresses() {
    for per in ["subject", "client"] {
        let upstream = upstream().await;
        let limit = format!("anonymous = true\nlimit = {{ rate = \"1/h\", per = \"{per}\" }}");
        let proxy = start(&upstream, &POLICY.replacen("anonymous = true", &limit, 1)).await;
        let call = Ask::call(NEW, "see_all", &json!({}));
        assert_eq!(proxy.ask(&call).await.status, 200);
        assert_eq!(proxy.ask(&call).await.status, 429);
        assert_eq!(proxy.ask(&call.clone().token(&proxy.token("ana"))).await.status, 200);
        assert_eq!(proxy.ask(&call.token(&proxy.token("ana"))).await.status, 429);
        assert_eq!(upstream.take().len(), 2, "{per}");
    }
}

/// Cookies, other schemes' fields and headers that name somebody make nobody somebody; raw, as a client might write them.
#[tokio::test]
async fn nothing_but_a_token_is_one() {
    let upstream = upstream().await;
    let proxy = start(&upstream, POLICY).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"put_all","arguments":{}}}"#;
    for field in [
        "Cookie: access_token=x",
        "X-Forwarded-User: ana",
        "X-Authorization: Bearer x",
        "Proxy-Authorization: Bearer x",
        "X-Forwarded-For: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
    ] {
        let mut client = proxy.client().await;
        let head = format!(
            "POST /crm/mcp HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{field}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send(format!("{head}{body}").as_bytes()).await;
        is_asked_for_a_token(&client.answer().await.unwrap(), &upstream, field);
    }
}
