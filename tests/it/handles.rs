//! What a client carries of its calls is of no use to anybody else, and is no way around a rule: tasks, states, cursors,
//! subscriptions, completions, places of streams and answers to servers are decided as what they belong to.

use portcullis::server::drain::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Heard, Proxy, Setup, Upstream, events, json_answer, raw_answer, token_of, until};

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const HIDDEN: &str = "ana@private.example";
const ELICIT: &str = "methods = [\"elicitation/create\"]";

/// Every caller may use it all; `more` is added.
fn policy(more: &str) -> String {
    format!(
        "[policy]\nname = \"x\"\n[[rule]]\nid = \"use\"\ntools = [\"slow_*\", \"ask_*\"]\nprompts = [\"ask_*\"]\n\
         resources = [\"crm://pub/**\"]\n[[rule]]\nid = \"asks\"\nmethods = [\"tasks/list\", \"elicitation/create\"]\n\
         [[mask]]\nid = \"mail\"\non = [\"result\", \"arguments\"]\nentities = [\"EMAIL_ADDRESS\", \"SECRET\"]\naction = \"redact\"\n{more}\n"
    )
}

fn deny(what: &str) -> String {
    format!("[[rule]]\nid = \"no\"\neffect = \"deny\"\n{what}\n")
}

fn task(id: &Value) -> Value {
    json!({ "taskId": id, "status": "working", "createdAt": "2026-01-05T12:00:00Z", "ttl": 60_000, "ttlMs": 60_000,
        "statusMessage": format!("mail {HIDDEN}") })
}

/// A server that makes a task of every call of a slow tool, asks something in others, and shows everybody all it has.
fn answer(heard: &Heard) -> Value {
    let message = heard.json();
    let params = &message["params"];
    let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": params["taskId"] } });
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            json!({ "protocolVersion": OLD, "capabilities": {}, "serverInfo": { "name": "u", "version": "1" } })
        }
        "tools/call" | "prompts/get" | "resources/read" => {
            let name = params["name"].as_str().unwrap_or_default();
            if params.get("requestState").is_some() {
                return json!({ "resultType": "complete", "content": [{ "type": "text", "text": "with a state" }] });
            }
            if name.starts_with("ask_") {
                let asked = json!({ "method": "elicitation/create", "params": { "mode": "form", "message": "?",
                    "requestedSchema": { "type": "object", "properties": {} } } });
                return json!({ "resultType": "input_required", "requestState": written(&params["arguments"]["state"]),
                    "inputRequests": { "k": asked } });
            }
            let mut begun = task(&json!(format!("up-{name}")));
            if params.get("task").is_some() {
                return json!({ "task": begun });
            }
            begun["resultType"] = json!("task");
            begun
        }
        "tasks/result" => {
            json!({ "content": [{ "type": "text", "text": format!("mail {HIDDEN}") }], "_meta": related })
        }
        "tasks/list" => {
            let all = ["up-slow_one", "up-slow_two", "up-somebody's", "odd id"];
            json!({ "tasks": all.map(|id| task(&json!(id))), "nextCursor": "up-page" })
        }
        "tasks/get" | "tasks/cancel" => task(&params["taskId"]),
        "tools/list" | "prompts/list" => json!({ "tools": [], "prompts": [], "nextCursor": "up-page" }),
        _ => json!({}),
    }
}

/// The state of that name: a word, nothing, or as long as states may be, with what masks look for.
fn written(name: &Value) -> String {
    match name.as_str() {
        Some("long") => format!("up-state {HIDDEN} é\" {}", "AKIAIOSFODNN7EXAMPLF ".repeat(700)),
        Some("empty") => String::new(),
        _ => "up-state".to_owned(),
    }
}

async fn upstream() -> Upstream {
    Upstream::answering(|heard| {
        let body = json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": answer(heard) });
        json_answer(200, &body.to_string())
    })
    .await
}

async fn start(upstream: &Upstream, policy: String) -> Proxy {
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    for inside in [HIDDEN, "up-slow", "up-page", "up-state"] {
        proxy.keep_secret(inside.to_owned());
    }
    proxy
}

/// Puts other rules in force, seen by what becomes of `probe`.
async fn reload(proxy: &Proxy, upstream: &Upstream, policy: &str, probe: &Ask) {
    let before = proxy.ask(probe).await.status_and_code();
    proxy.folder.write("crm.toml", policy);
    proxy.signal(Signal::Reload).await;
    until("the newer rules", async || (proxy.ask(probe).await.status_and_code() != before).then_some(())).await;
    upstream.take();
}

trait Code {
    fn status_and_code(&self) -> (u16, Value);
}

impl Code for Answer {
    fn status_and_code(&self) -> (u16, Value) {
        let message = self.message();
        let text = message["result"]["content"][0]["text"].clone();
        (self.status, if message.get("error").is_some() { message["error"]["code"].clone() } else { text })
    }
}

fn is_refused(answer: &Answer, upstream: &Upstream, text: &str, name: &str) {
    let message = answer.message();
    assert_eq!(message["error"]["message"], text, "{name}: {answer:?}");
    assert_eq!(message["error"]["code"], -32602, "{name}: {answer:?}");
    assert_eq!(upstream.take().len(), 0, "{name} reached the upstream");
}

/// Begins a task of that tool; gives the id the client was told.
async fn begin(proxy: &Proxy, revision: &str, token: &str, tool: &str) -> String {
    let mut params = json!({ "name": tool, "arguments": {} });
    if revision == OLD {
        params["task"] = json!({ "ttl": 60_000 });
    }
    let answer = proxy.ask(&Ask::of(revision, "tools/call", &params).token(token)).await;
    let result = &answer.message()["result"];
    let begun = if revision == OLD { &result["task"] } else { result };
    assert_eq!(begun["statusMessage"], "mail [EMAIL_ADDRESS]", "{answer:?}");
    begun["taskId"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn about(revision: &str, method: &str, id: &str, token: &str) -> Ask {
    Ask::of(revision, method, &json!({ "taskId": id })).token(token)
}

const OF_TASKS: [(&str, &[&str]); 2] =
    [(OLD, &["tasks/get", "tasks/result", "tasks/cancel"]), (NEW, &["tasks/get", "tasks/update", "tasks/cancel"])];

#[tokio::test]
async fn a_task_is_its_callers_alone_and_never_seen_by_its_real_name() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    let other_client = {
        let mut claims = token_of(&proxy.issuer, "ana");
        claims.insert("client_id".to_owned(), json!("other"));
        proxy.mint(&claims)
    };
    for (revision, methods) in OF_TASKS {
        let id = begin(&proxy, revision, &token, "slow_one").await;
        upstream.take();
        for method in methods {
            let answer = proxy.ask(&about(revision, method, &id, &token)).await;
            let result = &answer.message()["result"];
            match *method {
                "tasks/update" => {}
                "tasks/result" => {
                    assert_eq!(result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], id.as_str());
                    assert_eq!(result["content"][0]["text"], "mail [EMAIL_ADDRESS]", "masked like the call");
                }
                _ => assert_eq!(result["taskId"], id.as_str(), "{method} {answer:?}"),
            }
            let heard = upstream.take().pop().unwrap();
            assert_eq!(heard.json()["params"]["taskId"], "up-slow_one", "{method}");
            let named = (revision == NEW).then(|| "up-slow_one".to_owned());
            assert_eq!(heard.header("mcp-name"), named, "{method}");
            let max = proxy.token("max");
            let changed = format!("{}{}", &id[..40], if &id[40..41] == "A" { "B" } else { "A" }) + &id[41..];
            for (name, id, token) in [
                ("another caller", id.as_str(), &max),
                ("another client", id.as_str(), &other_client),
                ("the upstream's own name", "up-slow_one", &token),
                ("one character changed", changed.as_str(), &token),
                ("nothing", "", &token),
            ] {
                let answer = proxy.ask(&about(revision, method, id, token)).await;
                is_refused(&answer, &upstream, "Task not found", &format!("{method} {name}"));
            }
            for params in [json!({}), json!({ "taskId": 7 }), json!({ "taskId": [id] })] {
                let mut ask = Ask::of(revision, method, &params).token(&token);
                ask.headers.retain(|(name, _)| name != "Mcp-Name");
                let answer = proxy.ask(&ask).await;
                assert!(answer.message().get("error").is_some(), "{params} {answer:?}");
                assert_eq!(upstream.take().len(), 0, "{params}");
            }
        }
        if revision == NEW {
            let undeclared = about(NEW, "tasks/get", &id, &token);
            let body = String::from_utf8(undeclared.body.clone()).unwrap().replace("modelcontextprotocol/tasks", "x/y");
            let answer = proxy.ask(&Ask { body: body.into(), ..undeclared }).await;
            assert_eq!((answer.status, &answer.message()["error"]["code"]), (400, &json!(-32021)), "{answer:?}");
            assert_eq!(upstream.take().len(), 0);
        }
        let line = proxy.audit().into_iter().find(|line| line["method"] == "tasks/get").unwrap();
        assert_eq!(line["tool"], "slow_one", "the audit names the tool");
    }
}

#[tokio::test]
async fn a_task_of_a_tool_that_is_denied_by_now_is_gone() {
    for what in
        ["tools = [\"slow_one\"]", "tools = [\"slow_one\"]\nmethods = [\"tools/call\"]", "tools = [\"SLOW_ONE\"]"]
    {
        let upstream = upstream().await;
        let proxy = start(&upstream, policy("")).await;
        let token = proxy.token("ana");
        let ids = [begin(&proxy, OLD, &token, "slow_one").await, begin(&proxy, NEW, &token, "slow_one").await];
        let kept = begin(&proxy, NEW, &token, "slow_two").await;
        let probe = Ask::call(OLD, "slow_one", &json!({})).token(&token);
        reload(&proxy, &upstream, &policy(&deny(what)), &probe).await;
        for ((revision, methods), id) in OF_TASKS.into_iter().zip(&ids) {
            for method in methods {
                let answer = proxy.ask(&about(revision, method, id, &token)).await;
                is_refused(&answer, &upstream, "Task not found", &format!("{method} {what}"));
            }
        }
        assert!(proxy.ask(&about(NEW, "tasks/get", &kept, &token)).await.message().get("result").is_some());
        let listed = proxy.ask(&Ask::legacy("tasks/list", &json!({})).token(&token)).await;
        let listed: Vec<_> = listed.message()["result"]["tasks"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["taskId"], kept.as_str());
    }
}

#[tokio::test]
async fn rules_about_tasks_themselves_hold_too() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy(&deny("methods = [\"tasks/cancel\"]\nreason = \"Let it end\""))).await;
    let token = proxy.token("ana");
    let id = begin(&proxy, OLD, &token, "slow_one").await;
    upstream.take();
    let answer = proxy.ask(&about(OLD, "tasks/cancel", &id, &token)).await;
    assert!(answer.text().contains("rule no") && answer.text().contains("Let it end"), "{answer:?}");
    assert_eq!(upstream.take().len(), 0);
    assert!(proxy.ask(&about(OLD, "tasks/get", &id, &token)).await.message().get("result").is_some());
    // A tool that may only be called, and whose tasks nothing opens; then a rule for tasks.
    let narrow = "[policy]\nname = \"x\"\n[[rule]]\nid = \"call\"\ntools = [\"slow_*\"]\nmethods = [\"tools/call\"]\n\
        [[mask]]\nid = \"mail\"\non = [\"result\"]\nentities = [\"EMAIL_ADDRESS\"]\naction = \"redact\"\n";
    let probe = Ask::call(OLD, "ask_x", &json!({})).token(&token);
    reload(&proxy, &upstream, narrow, &probe).await;
    is_refused(&proxy.ask(&about(OLD, "tasks/get", &id, &token)).await, &upstream, "Task not found", "narrow");
    let wider = format!("{narrow}[[rule]]\nid = \"tasks\"\nmethods = [\"tasks/*\"]\n");
    reload(&proxy, &upstream, &wider, &about(OLD, "tasks/get", &id, &token)).await;
    // With fewer scopes than the call needs by now: asked for them.
    let scoped = narrow.replace("[\"slow_*\"]", "[\"slow_*\"]\nscopes = [\"crm:admin\"]");
    reload(&proxy, &upstream, &scoped, &about(OLD, "tasks/get", &id, &token)).await;
    let answer = proxy.ask(&about(OLD, "tasks/get", &id, &token)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.header("www-authenticate").unwrap().contains("crm:admin"));
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test]
async fn a_list_of_tasks_has_the_callers_own() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let (one, two) = (begin(&proxy, OLD, &ana, "slow_one").await, begin(&proxy, OLD, &max, "slow_two").await);
    for (token, id) in [(&ana, &one), (&max, &two)] {
        let answer = proxy.ask(&Ask::legacy("tasks/list", &json!({})).token(token)).await;
        let mut wanted = task(&json!(id));
        wanted["statusMessage"] = json!("mail [EMAIL_ADDRESS]");
        assert_eq!(answer.message()["result"]["tasks"], json!([wanted]), "{answer:?}");
        assert!(answer.message()["result"]["nextCursor"].is_string());
    }
    let nobody = proxy.ask(&Ask::legacy("tasks/list", &json!({})).token(&proxy.token("nobody"))).await;
    assert_eq!(nobody.message()["result"]["tasks"], json!([]));
}

fn streamed(messages: &[Value], result: &Value) -> Vec<u8> {
    let answer = json!({ "jsonrpc": "2.0", "id": 7, "result": result });
    let all = messages.iter().chain([&answer]);
    events(all.map(|message| format!("data: {message}\n\n")).collect::<Vec<_>>().concat().as_bytes())
}

/// Of a stream that says all it knows, each caller hears what is its own.
#[tokio::test]
async fn news_of_tasks_reach_their_owners() {
    let note = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
    let upstream = Upstream::answering(move |heard| {
        let message = heard.json();
        let status = |id: &str| note("notifications/tasks/status", task(&json!(id)));
        let news = |id: &str| note("notifications/tasks", task(&json!(id)));
        let related = |id: &str| {
            let meta = json!({ "io.modelcontextprotocol/related-task": { "taskId": id } });
            note("notifications/progress", json!({ "progressToken": "p", "progress": 1, "_meta": meta }))
        };
        match message["method"].as_str() {
            Some("tasks/result") => streamed(
                &[
                    status("up-slow_one"),
                    status("up-slow_two"),
                    related("up-slow_one"),
                    related("up-slow_two"),
                    status("x y"),
                ],
                &answer(heard),
            ),
            Some("subscriptions/listen") => {
                let acknowledged = json!({ "resourceSubscriptions": ["crm://pub/a", "crm://secret/a"],
                    "taskIds": ["up-slow_two", "up-slow_one"] });
                streamed(
                    &[
                        note("notifications/subscriptions/acknowledged", json!({ "notifications": acknowledged })),
                        news("up-slow_one"),
                        news("up-slow_two"),
                        note("notifications/resources/updated", json!({ "uri": "crm://secret/a" })),
                        note("notifications/resources/updated", json!({ "uri": "crm://pub/a" })),
                    ],
                    &json!({ "resultType": "complete" }),
                )
            }
            _ => json_answer(200, &json!({ "jsonrpc": "2.0", "id": 7, "result": answer(heard) }).to_string()),
        }
    })
    .await;
    let proxy = start(&upstream, policy("")).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let one = begin(&proxy, OLD, &ana, "slow_one").await;
    begin(&proxy, OLD, &max, "slow_two").await;
    let answer = proxy.ask(&about(OLD, "tasks/result", &one, &ana)).await;
    let heard: Vec<_> = answer.messages();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(heard[0]["params"]["taskId"], one.as_str());
    assert_eq!(heard[1]["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], one.as_str());

    let mine = begin(&proxy, NEW, &ana, "slow_one").await;
    let theirs = begin(&proxy, NEW, &max, "slow_two").await;
    upstream.take();
    let filter = json!({ "toolsListChanged": true, "taskIds": ["up-slow_two", theirs, mine],
        "resourceSubscriptions": ["crm://secret/a", "crm://pub/a", "crm://pub/../secret/a"] });
    let answer = proxy.ask(&Ask::modern("subscriptions/listen", &json!({ "notifications": filter })).token(&ana)).await;
    let heard = upstream.take().pop().unwrap().json();
    let wanted =
        json!({ "toolsListChanged": true, "taskIds": ["up-slow_one"], "resourceSubscriptions": ["crm://pub/a"] });
    assert_eq!(heard["params"]["notifications"], wanted);
    let told: Vec<_> = answer.messages();
    assert_eq!(told.len(), 4, "{told:?}");
    let acknowledged = json!({ "resourceSubscriptions": ["crm://pub/a"], "taskIds": [mine] });
    assert_eq!(told[0]["params"]["notifications"], acknowledged);
    assert_eq!(told[1]["params"]["taskId"], mine.as_str());
    assert_eq!(told[2]["params"]["uri"], "crm://pub/a");
}

fn ask_state(proxy_token: &str, name: &str, state: &Value, retry: Option<(&Value, Value)>) -> Ask {
    let mut params = json!({ "name": name, "arguments": { "state": state, "n": 1 } });
    if let Some((brought, responses)) = retry {
        params["requestState"] = brought.clone();
        params["inputResponses"] = responses;
    }
    Ask::modern("tools/call", &params).token(proxy_token)
}

fn accepted() -> Value {
    json!({ "k": { "action": "accept", "content": {} } })
}

#[tokio::test]
async fn a_request_state_comes_back_once_to_the_call_it_was_given_to() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    for name in ["word", "empty", "long"] {
        let (name, words) = (json!(name), json!(written(&json!(name))));
        let first = proxy.ask(&ask_state(&token, "ask_a", &name, None)).await.message();
        let state = first["result"]["requestState"].clone();
        assert!(state.is_string() && state != words, "{first}");
        upstream.take();
        let (max, other) = (proxy.token("max"), json!("other"));
        let again = |token: &str, name: &str, arguments: &Value, state: &Value| {
            ask_state(token, name, arguments, Some((state, accepted())))
        };
        for (who, ask) in [
            ("another caller", again(&max, "ask_a", &name, &state)),
            ("another tool", again(&token, "ask_b", &name, &state)),
            ("other arguments", again(&token, "ask_a", &other, &state)),
            ("the upstream's own words", again(&token, "ask_a", &name, &words)),
            ("no text", again(&token, "ask_a", &name, &json!(7))),
            ("another method", {
                let mut params = json!({ "name": "ask_a", "arguments": { "state": name, "n": 1 } });
                params["requestState"] = state.clone();
                Ask::modern("prompts/get", &params).token(&token)
            }),
            ("the older era", {
                let mut params = json!({ "name": "ask_a", "arguments": { "state": name, "n": 1 } });
                params["requestState"] = state.clone();
                Ask::legacy("tools/call", &params).token(&token)
            }),
        ] {
            is_refused(&proxy.ask(&ask).await, &upstream, "Invalid requestState", who);
        }
        let answer = proxy.ask(&again(&token, "ask_a", &name, &state)).await;
        assert!(answer.message().get("result").is_some(), "{answer:?}");
        assert_eq!(upstream.take()[0].json()["params"]["requestState"], words);
        let text = "This requestState was used before; begin again without it";
        is_refused(&proxy.ask(&again(&token, "ask_a", &name, &state)).await, &upstream, text, "a second time");
    }
    // What is only read may be read again.
    let params = json!({ "name": "ask_a", "arguments": { "state": "s" } });
    let first = proxy.ask(&Ask::modern("prompts/get", &params).token(&token)).await.message();
    let mut params = params;
    params["requestState"] = first["result"]["requestState"].clone();
    upstream.take();
    for _ in 0..2 {
        proxy.ask(&Ask::modern("prompts/get", &params).token(&token)).await;
        assert_eq!(upstream.take()[0].json()["params"]["requestState"], "up-state");
    }
}

#[tokio::test]
async fn a_state_is_no_way_to_a_tool_that_is_denied_by_now() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    let first = proxy.ask(&ask_state(&token, "ask_a", &json!("s"), None)).await.message();
    let state = &first["result"]["requestState"];
    let probe = Ask::call(OLD, "ask_a", &json!({})).token(&token);
    reload(&proxy, &upstream, &policy(&deny("tools = [\"ask_a\"]")), &probe).await;
    let answer = proxy.ask(&ask_state(&token, "ask_a", &json!("s"), Some((state, accepted())))).await;
    is_refused(&answer, &upstream, "Unknown tool: ask_a", "a denied tool");
}

/// Elicitation is allowed, sampling and roots are not: whatever carries the answer.
#[tokio::test]
async fn what_a_server_may_not_ask_is_not_answered_either() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    let id = begin(&proxy, NEW, &token, "slow_one").await;
    upstream.take();
    let sampled = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "t" } });
    for (name, response, passes) in [
        ("elicited", json!({ "action": "accept", "content": {} }), true),
        ("sampled", sampled.clone(), false),
        ("roots", json!({ "roots": [{ "uri": "file:///etc" }] }), false),
        ("elicited and sampled", json!({ "action": "accept", "role": "assistant" }), false),
        ("disguised", json!({ "action": "accept", "Roots": [] }), false),
        ("of no kind", json!({ "content": { "type": "text", "text": "t" } }), false),
        ("no object", json!("yes"), false),
    ] {
        let responses = json!({ "k": response });
        let call = json!({ "name": "slow_one", "arguments": {}, "inputResponses": responses });
        let update = json!({ "taskId": id, "inputResponses": responses });
        for (method, params) in [("tools/call", call), ("tasks/update", update)] {
            let answer = proxy.ask(&Ask::modern(method, &params).token(&token)).await;
            let reached = upstream.take().len();
            assert_eq!(reached, usize::from(passes), "{method} {name}: {answer:?}");
            assert_eq!(answer.text().contains("Denied by policy"), !passes, "{method} {name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_of_one_list_and_one_caller() {
    let upstream = upstream().await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    for revision in [OLD, NEW] {
        let page = |method: &str, cursor: &Value, token: &str| {
            Ask::of(revision, method, &json!({ "cursor": cursor })).token(token)
        };
        let first = proxy.ask(&Ask::of(revision, "tools/list", &json!({})).token(&token)).await.message();
        let cursor = first["result"]["nextCursor"].clone();
        upstream.take();
        proxy.ask(&page("tools/list", &cursor, &token)).await;
        assert_eq!(upstream.take()[0].json()["params"]["cursor"], "up-page");
        for (name, ask) in [
            ("another caller", page("tools/list", &cursor, &proxy.token("max"))),
            ("another list", page("prompts/list", &cursor, &token)),
            ("the upstream's own words", page("tools/list", &json!("up-page"), &token)),
            ("no text", page("tools/list", &json!({ "a": cursor }), &token)),
        ] {
            is_refused(&proxy.ask(&ask).await, &upstream, "Invalid cursor", name);
        }
    }
}

/// Each kind of thing with every other method that is about it.
#[tokio::test]
async fn what_may_not_be_used_may_not_be_completed_or_subscribed_to_either() {
    let upstream = upstream().await;
    let denied = [
        deny("prompts = [\"ask_no\"]\nmethods = [\"prompts/get\"]"),
        deny("resources = [\"crm://pub/no\"]\nmethods = [\"resources/read\"]").replace("\"no\"", "\"no-read\""),
        deny("methods = [\"subscriptions/listen\", \"logging/*\"]").replace("\"no\"", "\"no-listen\""),
    ];
    let proxy = start(&upstream, policy(&denied.concat())).await;
    let token = proxy.token("ana");
    let complete = |reference: Value| json!({ "ref": reference, "argument": { "name": "a", "value": "b" } });
    let prompt = |name: &str| complete(json!({ "type": "ref/prompt", "name": name }));
    let resource = |uri: &str| complete(json!({ "type": "ref/resource", "uri": uri }));
    for (revision, method, yes, no) in [
        (OLD, "completion/complete", prompt("ask_yes"), prompt("ask_no")),
        (NEW, "completion/complete", prompt("ask_yes"), prompt("ask_no")),
        (OLD, "completion/complete", resource("crm://pub/a"), resource("crm://pub/no")),
        (NEW, "completion/complete", resource("crm://pub/a"), resource("crm://secret/{id}")),
        (OLD, "resources/subscribe", json!({ "uri": "crm://pub/a" }), json!({ "uri": "crm://pub/no" })),
        (OLD, "resources/unsubscribe", json!({ "uri": "crm://pub/a" }), json!({ "uri": "crm://pub/no" })),
    ] {
        proxy.ask(&Ask::of(revision, method, &yes).token(&token)).await;
        assert_eq!(upstream.take().len(), 1, "{method} {yes}");
        let answer = proxy.ask(&Ask::of(revision, method, &no).token(&token)).await;
        assert!(answer.message().get("error").is_some(), "{method} {no}: {answer:?}");
        assert_eq!(upstream.take().len(), 0, "{method} {no}");
    }
    for (revision, method, params) in [
        (NEW, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
        (OLD, "logging/setLevel", json!({ "level": "debug" })),
    ] {
        let answer = proxy.ask(&Ask::of(revision, method, &params).token(&token)).await;
        assert!(answer.text().contains("rule no-listen"), "{answer:?}");
        assert_eq!(upstream.take().len(), 0, "{method}");
    }
}

/// A server asks on the stream of a call and of a page nobody asked for; the answers go up while the call itself may.
#[tokio::test]
async fn answers_and_places_of_a_call_that_is_denied_by_now_are_refused() {
    let upstream = Upstream::answering(|heard| {
        if heard.text().contains("initialize") {
            let body = json!({ "jsonrpc": "2.0", "id": 7, "result": answer(heard) }).to_string();
            return raw_answer(200, "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n", body.as_bytes());
        }
        if heard.text().contains("\"result\"") {
            return raw_answer(202, "", b"");
        }
        let asked = json!({ "jsonrpc": "2.0", "id": "up-1", "method": "elicitation/create",
            "params": { "mode": "form", "message": "?", "requestedSchema": { "type": "object", "properties": {} } } });
        events(format!("id: up-place\ndata: {asked}\n\n").as_bytes())
    })
    .await;
    let proxy = start(&upstream, policy("")).await;
    let token = proxy.token("ana");
    let session = proxy.open_session(&token).await;
    let call = Ask::call(OLD, "slow_one", &json!({})).token(&token).session(&session);
    let stream = proxy.ask(&call).await;
    let asked = &stream.messages()[0];
    let place = stream.text().lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "accept", "content": {} } });
    let reply = Ask::post(reply.to_string()).token(&token).session(&session);
    let resume = Ask::new("GET").header("Accept", "text/event-stream").header("Last-Event-ID", &place);
    let resume = resume.token(&token).session(&session);
    upstream.take();
    assert_eq!(proxy.ask(&reply).await.status, 202);
    assert_eq!(upstream.take()[0].json()["id"], "up-1");
    assert_eq!(proxy.ask(&resume).await.status, 200);
    assert_eq!(upstream.take()[0].header("last-event-id").as_deref(), Some("up-place"));
    for more in [deny("tools = [\"slow_one\"]"), deny(ELICIT)] {
        let probe = if more.contains("tools") { call.clone() } else { reply.clone().header("X-Probe", "1") };
        proxy.folder.write("crm.toml", policy(&more));
        proxy.signal(Signal::Reload).await;
        until("the newer rules", async || {
            let answer = proxy.ask(&probe).await;
            (!answer.is_stream() && answer.status != 202).then_some(())
        })
        .await;
        upstream.take();
        let answer = proxy.ask(&reply).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(upstream.take().len(), 0, "the answer reached the upstream");
        if more.contains("tools") {
            let answer = proxy.ask(&resume).await;
            assert_ne!(answer.status, 200, "{answer:?}");
            assert_eq!(upstream.take().len(), 0, "the place reached the upstream");
            proxy.folder.write("crm.toml", policy(""));
            proxy.signal(Signal::Reload).await;
            until("the older rules", async || (proxy.ask(&reply).await.status == 202).then_some(())).await;
        }
    }
}

/// What no handle can be made of is an answer that cannot be used.
#[tokio::test]
async fn odd_ids_of_an_upstream_are_refused() {
    let odd = [
        json!("a b"),
        json!(""),
        json!("é"),
        json!("a\n"),
        json!("x".repeat(257)),
        json!(7),
        json!({ "a": 1 }),
        json!(null),
    ];
    for (at, odd) in odd.into_iter().enumerate() {
        let told = odd.clone();
        let upstream = Upstream::answering(move |heard| {
            let result = match heard.json()["method"].as_str() {
                Some("tools/call") if heard.text().contains("ask_") => {
                    json!({ "resultType": "input_required", "requestState": told })
                }
                Some("tools/call") => task(&told),
                Some("tools/list") => json!({ "tools": [], "nextCursor": told }),
                _ => json!({ "protocolVersion": OLD }),
            };
            let body = json!({ "jsonrpc": "2.0", "id": 7, "result": result }).to_string();
            let session = told.as_str().filter(|id| !id.contains('\n')).unwrap_or("");
            raw_answer(
                200,
                &format!("Content-Type: application/json\r\nMcp-Session-Id: {session}\r\n"),
                body.as_bytes(),
            )
        })
        .await;
        let proxy = start(&upstream, policy("")).await;
        let token = proxy.token("ana");
        let broke = async |ask: Ask, what: &str| {
            let answer = proxy.ask(&ask.token(&token)).await;
            assert_eq!((answer.status, &answer.message()["error"]["code"]), (502, &json!(-31502)), "{what} {odd}");
        };
        broke(Ask::call(NEW, "slow_one", &json!({})), "task").await;
        // Any text is a cursor or a state, and no cursor is none.
        if !odd.is_string() {
            broke(Ask::call(NEW, "ask_one", &json!({})), "state").await;
        }
        if !odd.is_string() && !odd.is_null() {
            broke(Ask::legacy("tools/list", &json!({})), "cursor").await;
        }
        if at < 5 {
            let params = json!({ "protocolVersion": OLD, "capabilities": {}, "clientInfo": {} });
            broke(Ask::legacy("initialize", &params), "session").await;
        }
    }
}
