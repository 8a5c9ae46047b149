//! Tasks of a server of 2025-11-25 for clients of 2026-07-28: followed by those that can, and for those that cannot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::support::{Answer, Ask, Connection, Heard, Proxy, Setup, Upstream, json_answer, raw_answer, until};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";
const HIDDEN: &str = "ana@private.example";
const SHOWN: &str = "[EMAIL_ADDRESS]";
const POLICY: &str = r#"
[policy]
name = "tasks"
[[rule]]
id = "use"
tools = ["**"]
[[rule]]
id = "ask"
methods = ["elicitation/create"]
[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
"#;

/// What the server keeps.
struct Older {
    can: Value,
    sessions: Mutex<usize>,
    /// How each task stands, and the session it belongs to.
    tasks: Mutex<HashMap<String, (String, String)>>,
    answers: Mutex<Vec<Value>>,
    answered: Notify,
    news: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

struct Server {
    upstream: Upstream,
    kept: Arc<Older>,
    tell: mpsc::UnboundedSender<String>,
}

impl Server {
    /// One that can run tools as tasks.
    async fn start() -> Self {
        Self::able(json!({ "tools": {}, "tasks": { "cancel": {}, "requests": { "tools": { "call": {} } } } })).await
    }

    async fn able(can: Value) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let kept = Arc::new(Older {
            can,
            sessions: Mutex::default(),
            tasks: Mutex::default(),
            answers: Mutex::default(),
            answered: Notify::new(),
            news: Mutex::new(Some(news)),
        });
        let state = kept.clone();
        let upstream = Upstream::unaided(move |heard, connection| state.clone().serve(heard, connection)).await;
        Self { upstream, kept, tell }
    }

    async fn proxied(&self) -> Proxy {
        let proxy = Setup::new(self.upstream.url()).policy(POLICY).server("schema = \"off\"").start().await;
        for inside in [HIDDEN, "up:"] {
            proxy.keep_secret(inside.to_owned());
        }
        proxy
    }

    fn set(&self, id: &str, status: &str) {
        status.clone_into(&mut self.kept.tasks.lock().unwrap().get_mut(id).unwrap().0);
    }

    /// The next request of that method.
    async fn heard(&self, method: &str) -> Heard {
        let find = async || self.upstream.take().into_iter().find(|heard| heard.json()["method"] == method);
        until(method, find).await
    }
}

fn task(id: &str, status: &str) -> Value {
    json!({ "taskId": id, "status": status, "statusMessage": format!("for {HIDDEN}"), "createdAt": "2026-01-05T12:00:00Z",
        "lastUpdatedAt": "2026-01-05T12:00:01Z", "ttl": 60_000, "pollInterval": 20 })
}

impl Older {
    async fn serve(self: Arc<Self>, heard: Heard, mut connection: Connection) -> Option<Connection> {
        let message = heard.json();
        let method = message["method"].as_str().unwrap_or_default();
        if method == "initialize" {
            let number = {
                let mut sessions = self.sessions.lock().unwrap();
                *sessions += 1;
                *sessions
            };
            let result = json!({ "protocolVersion": "2025-11-25", "serverInfo": { "name": "old", "version": "1" },
                "capabilities": self.can });
            let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
            let fields = format!("Content-Type: application/json\r\nMcp-Session-Id: s{number}\r\n");
            connection.send(raw_answer(200, &fields, body.as_bytes())).await;
            return Some(connection);
        }
        let Some(session) = heard.header("mcp-session-id") else {
            connection.send(answer(&message, &Err(-32_000))).await;
            return Some(connection);
        };
        if heard.line().starts_with("GET") {
            let Some(mut news) = self.news.lock().unwrap().take() else {
                connection.send(raw_answer(405, "", b"")).await;
                return Some(connection);
            };
            connection.begin_stream().await;
            while let Some(news) = news.recv().await {
                connection.piece(format!("data: {news}\n\n")).await;
            }
            return None;
        }
        if method.is_empty() {
            self.answers.lock().unwrap().push(message.clone());
            self.answered.notify_one();
        }
        if message.get("id").is_none() || method.is_empty() {
            connection.send(raw_answer(202, "", b"")).await;
            return Some(connection);
        }
        let id = message["params"]["taskId"].as_str().unwrap_or_default().to_owned();
        if method == "tasks/result" && self.status(&id, &session).is_some_and(|status| status == "input_required") {
            self.ask(&message, &id, &mut connection).await;
            return None;
        }
        if message["params"]["name"] == "asks_first" {
            self.ask_first(&message, &session, &mut connection).await;
            return None;
        }
        let told = self.tell(method, &message["params"], &id, &session);
        connection.send(answer(&message, &told)).await;
        Some(connection)
    }

    fn status(&self, id: &str, session: &str) -> Option<String> {
        self.tasks.lock().unwrap().get(id).filter(|(_, of)| of == session).map(|(status, _)| status.clone())
    }

    /// A result, or the code of an error.
    fn tell(&self, method: &str, params: &Value, id: &str, session: &str) -> Result<Value, i64> {
        let name = params["name"].as_str().unwrap_or_default();
        match method {
            "tools/list" => {
                let tool = |name: &str, support: &str| json!({ "name": name, "inputSchema": { "type": "object" }, "execution": { "taskSupport": support } });
                let quick = json!({ "name": "quick", "inputSchema": { "type": "object" } });
                Ok(
                    json!({ "tools": [quick, tool("never", "forbidden"), tool("may", "optional"), tool("must", "required"), tool("asks_first", "required")] }),
                )
            }
            "tools/call" => match (params.get("task"), name) {
                (Some(_), "may" | "must") => {
                    let id = format!("up:{name}:{}", self.tasks.lock().unwrap().len());
                    self.tasks.lock().unwrap().insert(id.clone(), ("working".into(), session.into()));
                    let meta = json!({ RELATED: { "taskId": id } });
                    Ok(json!({ "task": task(&id, "working"), "_meta": meta }))
                }
                (Some(_), _) | (None, "must") => Err(-32_601),
                (None, _) => Ok(json!({ "content": [{ "type": "text", "text": "at once" }] })),
            },
            "tasks/get" => {
                let status = self.status(id, session).ok_or(-32_602)?;
                Ok(task(id, status.strip_suffix("_by_tool").unwrap_or(&status)))
            }
            "tasks/cancel" => {
                let status = self.status(id, session).ok_or(-32_602)?;
                if matches!(&*status, "completed" | "cancelled") {
                    return Err(-32_602);
                }
                self.tasks.lock().unwrap().get_mut(id).unwrap().0 = "cancelled".into();
                Ok(task(id, "cancelled"))
            }
            "tasks/result" => match &*self.status(id, session).ok_or(-32_602)? {
                "completed" => Ok(outcome(id, &format!("{session} {HIDDEN}"))),
                "failed_by_tool" => {
                    let mut outcome = outcome(id, HIDDEN);
                    outcome["isError"] = json!(true);
                    Ok(outcome)
                }
                _ => Err(-32_603),
            },
            _ => Err(-32_601),
        }
    }

    /// Asks on the answer to the call, which becomes a task when that is answered.
    async fn ask_first(&self, message: &Value, session: &str, connection: &mut Connection) {
        connection.begin_stream().await;
        let params = json!({ "message": "sure?", "requestedSchema": { "type": "object", "properties": {} } });
        let asked = json!({ "jsonrpc": "2.0", "id": 4, "method": "elicitation/create", "params": params });
        connection.piece(format!("data: {asked}\n\n")).await;
        self.answered.notified().await;
        self.answers.lock().unwrap().clear();
        self.tasks.lock().unwrap().insert("up:first".into(), ("completed".into(), session.into()));
        let result = json!({ "task": task("up:first", "working") });
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        connection.piece(format!("data: {body}\n\n")).await;
        connection.end_stream().await;
    }

    /// Asks on the answer to `tasks/result`, and has its outcome when that is answered.
    async fn ask(&self, message: &Value, id: &str, connection: &mut Connection) {
        connection.begin_stream().await;
        let params = json!({ "message": format!("for {HIDDEN}?"), "_meta": { RELATED: { "taskId": id } },
            "requestedSchema": { "type": "object", "properties": {} } });
        let asked = json!({ "jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": params });
        connection.piece(format!("id: 1\ndata: {asked}\n\n")).await;
        self.answered.notified().await;
        let said = self.answers.lock().unwrap().pop().unwrap();
        self.tasks.lock().unwrap().get_mut(id).unwrap().0 = "completed".into();
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": outcome(id, &said.to_string()) });
        connection.piece(format!("data: {body}\n\n")).await;
        connection.end_stream().await;
    }
}

fn outcome(id: &str, text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "_meta": { RELATED: { "taskId": id } } })
}

fn answer(message: &Value, told: &Result<Value, i64>) -> Vec<u8> {
    let mut body = json!({ "jsonrpc": "2.0", "id": message["id"] });
    match told {
        Ok(result) => body["result"] = result.clone(),
        Err(code) => body["error"] = json!({ "code": code, "message": format!("no, {HIDDEN}") }),
    }
    json_answer(200, &body.to_string())
}

/// A message of a client that can do that.
fn able(method: &str, params: &Value, can: &Value) -> Ask {
    let mut ask = Ask::modern(method, params);
    let mut message: Value = serde_json::from_slice(&ask.body).unwrap();
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = can.clone();
    ask.body = message.to_string().into_bytes();
    ask
}

fn follows() -> Value {
    json!({ "extensions": { EXTENSION: {} } })
}

fn follows_and_answers() -> Value {
    json!({ "extensions": { EXTENSION: {} }, "elicitation": {} })
}

fn call(tool: &str, can: &Value) -> Ask {
    able("tools/call", &json!({ "name": tool, "arguments": {} }), can)
}

fn about(method: &str, id: &str) -> Ask {
    Ask::modern(method, &json!({ "taskId": id }))
}

/// Begins a task; gives the id its client knows.
async fn begin(proxy: &Proxy, token: &str, tool: &str, can: &Value) -> String {
    let begun = proxy.ask(&call(tool, can).token(token)).await.message();
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    begun["result"]["taskId"].as_str().unwrap().to_owned()
}

/// The next how it stands that is of that status.
async fn stands(proxy: &Proxy, ask: &Ask, status: &str) -> Value {
    until(status, async || {
        let result = proxy.ask(ask).await.message()["result"].clone();
        (result["status"] == status).then_some(result)
    })
    .await
}

fn named(upstream: &Upstream) -> Vec<String> {
    let heard = upstream.take();
    let name = |heard: &Heard| heard.json()["method"].as_str().map(ToOwned::to_owned);
    heard.iter().filter_map(name).filter(|name| name.starts_with("tasks/") || name == "tools/call").collect()
}

fn is_refused(answer: &Answer, server: &Server, what: &str) {
    let message = answer.message();
    assert_eq!(
        (&message["error"]["code"], &message["error"]["message"]),
        (&json!(-32_602), &json!("Task not found")),
        "{what}"
    );
    assert_eq!(named(&server.upstream), [""; 0], "{what} reached the server");
}

#[tokio::test]
async fn tasks_are_told_of_where_the_server_runs_tools_so() {
    let tasks = json!({ "tasks": { "requests": { "tools": { "call": {} } } }, "tools": {} });
    for (can, is_told) in [(tasks, true), (json!({ "tasks": { "list": {} }, "tools": {} }), false)] {
        let server = Server::able(can).await;
        let proxy = server.proxied().await;
        let found = proxy.ask(&Ask::modern("server/discover", &json!({})).token(&proxy.token("ana"))).await.message();
        let told = &found["result"]["capabilities"];
        assert_eq!(told.get("tasks"), None, "{found}");
        assert_eq!(told["extensions"].get(EXTENSION), is_told.then_some(&json!({})), "{found}");
        // Then no call is one either, whatever the client says.
        if !is_told {
            let done = proxy.ask(&call("may", &follows()).token(&proxy.token("ana"))).await.message();
            assert_eq!(done["result"]["content"][0]["text"], "at once", "{done}");
        }
    }
}

#[tokio::test]
async fn a_call_becomes_a_task_after_its_client_has_answered() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    for can in [json!({ "elicitation": {} }), follows_and_answers()] {
        let ask = call("asks_first", &can);
        let asked = proxy.ask(&ask.clone().token(&token)).await.message();
        assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
        let mut message: Value = serde_json::from_slice(&ask.body).unwrap();
        message["params"]["requestState"] = asked["result"]["requestState"].clone();
        message["params"]["inputResponses"] = json!({ "0": { "action": "accept", "content": {} } });
        let retry = Ask { body: message.to_string().into_bytes(), ..ask };
        let done = proxy.ask(&retry.token(&token)).await.messages().pop().unwrap();
        match can.get("extensions") {
            // The proxy waits for the outcome in its client's place.
            None => assert_eq!(done["result"]["content"][0]["text"], format!("s1 {SHOWN}"), "{done}"),
            Some(_) => assert_eq!(done["result"]["resultType"], "task", "{done}"),
        }
    }
}

#[tokio::test]
async fn a_client_follows_its_task_and_nobody_else_does() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let begun = proxy.ask(&call("may", &follows_and_answers()).token(&ana)).await.message();
    let id = begun["result"]["taskId"].as_str().unwrap().to_owned();
    let mut wanted = json!({ "resultType": "task", "taskId": id, "status": "working", "statusMessage": format!("for {SHOWN}"),
        "createdAt": "2026-01-05T12:00:00Z", "lastUpdatedAt": "2026-01-05T12:00:01Z", "ttlMs": 60_000, "pollIntervalMs": 20 });
    assert_eq!(begun["result"], wanted);
    let made = server.heard("tools/call").await;
    assert_eq!(made.json()["params"]["task"], json!({}));
    // It is asked after in the session it was begun in, whatever else its client can do by now.
    let standing = proxy.ask(&about("tasks/get", &id).token(&ana)).await.message();
    wanted["resultType"] = json!("complete");
    assert_eq!(standing["result"], wanted);
    let asked = server.heard("tasks/get").await;
    assert_eq!(asked.json()["params"], json!({ "taskId": "up:may:0" }));
    assert_eq!(asked.header("mcp-session-id"), made.header("mcp-session-id"));
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        is_refused(&proxy.ask(&about(method, &id).token(&max)).await, &server, &format!("{method} of somebody else"));
        is_refused(
            &proxy.ask(&about(method, "up:may:0").token(&ana)).await,
            &server,
            &format!("{method} by its real name"),
        );
    }
    server.set("up:may:0", "completed");
    let done = proxy.ask(&about("tasks/get", &id).token(&ana)).await.message();
    let result = json!({ "resultType": "complete", "content": [{ "type": "text", "text": format!("s1 {SHOWN}") }] });
    wanted["status"] = json!("completed");
    wanted["result"] = result;
    assert_eq!(done["result"], wanted);
    assert_eq!(named(&server.upstream), ["tasks/get", "tasks/result"]);
}

#[tokio::test]
async fn only_tools_that_may_run_as_tasks_do() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    for (tool, can, is_task) in [
        ("quick", follows(), false),
        ("never", follows(), false),
        ("may", follows(), true),
        ("must", follows(), true),
        ("may", json!({}), false),
    ] {
        let result = proxy.ask(&call(tool, &can).token(&token)).await.message()["result"].clone();
        assert_eq!(result["resultType"] == "task", is_task, "{tool} {can} {result}");
        let sent = server.heard("tools/call").await.json();
        assert_eq!(sent["params"].get("task").is_some(), is_task, "{tool} {can}");
    }
}

#[tokio::test]
async fn how_a_task_ended_is_told_in_the_extension_s_words() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    let id = begin(&proxy, &token, "may", &follows()).await;
    let get = about("tasks/get", &id).token(&token);
    // Older servers call failed what a tool says in error, too.
    server.set("up:may:0", "failed_by_tool");
    let result = proxy.ask(&get).await.message()["result"].clone();
    assert_eq!((&result["status"], &result["result"]["isError"]), (&json!("completed"), &json!(true)), "{result}");
    assert_eq!(result["result"]["content"][0]["text"], SHOWN);
    server.set("up:may:0", "failed");
    let result = proxy.ask(&get).await.message()["result"].clone();
    let error = json!({ "code": -32_603, "message": format!("no, {SHOWN}") });
    assert_eq!(
        (&result["status"], &result["error"], result.get("result")),
        (&json!("failed"), &error, None),
        "{result}"
    );
    // What is no status of that revision is no answer.
    server.set("up:may:0", "paused");
    assert_eq!(proxy.ask(&get).await.status, 502);
}

#[tokio::test]
async fn what_a_task_asks_is_answered_by_its_owner() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let can = follows_and_answers();
    let id = begin(&proxy, &ana, "must", &can).await;
    server.set("up:must:0", "input_required");
    let get = able("tasks/get", &json!({ "taskId": id }), &can).token(&ana);
    let asks = proxy.ask(&get).await.message()["result"].clone();
    assert_eq!(asks["status"], "input_required", "{asks}");
    let requests = asks["inputRequests"].as_object().unwrap();
    let (key, question) = requests.iter().next().unwrap();
    assert_eq!((question["method"].as_str(), requests.len()), (Some("elicitation/create"), 1));
    assert_eq!(
        (&question["params"]["message"], &question["params"]["_meta"]),
        (&json!(format!("for {SHOWN}?")), &Value::Null)
    );
    // It is the same question however often it is told.
    assert_eq!(proxy.ask(&get).await.message()["result"]["inputRequests"], asks["inputRequests"]);
    assert_eq!(named(&server.upstream), ["tools/call", "tasks/get", "tasks/result", "tasks/get"]);
    let update = |key: &str| {
        let responses = json!({ key: { "action": "accept", "content": { "to": HIDDEN } } });
        Ask::modern("tasks/update", &json!({ "taskId": id, "inputResponses": responses }))
    };
    is_refused(&proxy.ask(&update(key).token(&max)).await, &server, "somebody else's answer");
    let heard = proxy.ask(&update("other").token(&ana)).await.message();
    assert_eq!(heard["result"], json!({ "resultType": "complete" }), "{heard}");
    assert_eq!(server.upstream.take().len(), 0, "an answer to no question reached the server");
    let heard = proxy.ask(&update(key).token(&ana)).await.message();
    assert_eq!(heard["result"], json!({ "resultType": "complete" }), "{heard}");
    let said = server.upstream.take().pop().unwrap().json();
    let content = json!({ "action": "accept", "content": { "to": SHOWN } });
    assert_eq!(said, json!({ "jsonrpc": "2.0", "id": 5, "result": content }));
    let done = stands(&proxy, &get, "completed").await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    assert_eq!(done.get("inputRequests"), None);
    // Once more: there is nothing it could be the answer to.
    proxy.ask(&update(key).token(&ana)).await;
    assert!(server.upstream.take().iter().all(|heard| heard.json().get("result").is_none()));
}

#[tokio::test]
async fn a_task_is_taken_back_and_that_it_has_ended_is_no_error() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    let id = begin(&proxy, &token, "may", &follows()).await;
    let cancel = about("tasks/cancel", &id).token(&token);
    for again in [false, true] {
        let heard = proxy.ask(&cancel).await.message();
        assert_eq!(heard["result"], json!({ "resultType": "complete" }), "{again} {heard}");
    }
    let sent = server.heard("tasks/cancel").await.json();
    assert_eq!(sent["params"], json!({ "taskId": "up:may:0" }));
    let standing = proxy.ask(&about("tasks/get", &id).token(&token)).await.message();
    assert_eq!(standing["result"]["status"], "cancelled", "{standing}");
    // One the server no longer knows is none.
    server.kept.tasks.lock().unwrap().clear();
    for method in ["tasks/get", "tasks/cancel"] {
        let gone = proxy.ask(&about(method, &id).token(&token)).await.message();
        assert_eq!(gone["error"]["code"], -32_602, "{method} {gone}");
    }
}

#[tokio::test]
async fn a_client_that_cannot_follow_waits_for_the_answer() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    let waiting = tokio::spawn({
        let (proxy, call) = (proxy.client().await, call("must", &json!({})).token(&token));
        async move {
            let mut client = proxy;
            client.send(&call.bytes()).await;
            client.answer().await.unwrap().message()
        }
    });
    for _ in 0..2 {
        server.heard("tasks/get").await;
    }
    server.set("up:must:0", "completed");
    let done = waiting.await.unwrap();
    let text = json!([{ "type": "text", "text": format!("s1 {SHOWN}") }]);
    assert_eq!(done["result"], json!({ "resultType": "complete", "content": text }), "{done}");
    let sent = named(&server.upstream);
    assert_eq!(sent.last().map(String::as_str), Some("tasks/result"), "{sent:?}");
    assert!(!sent.contains(&"tasks/cancel".to_owned()), "{sent:?}");
}

#[tokio::test]
async fn a_client_that_cannot_follow_is_asked_inside_of_the_answer() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let token = proxy.token("ana");
    let call = call("must", &json!({ "elicitation": {} })).token(&token);
    let mut client = proxy.client().await;
    client.send(&call.bytes()).await;
    server.heard("tasks/get").await;
    server.set("up:must:0", "input_required");
    let asked = client.answer().await.unwrap().message();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(asked["result"]["inputRequests"]["0"]["params"]["message"], format!("for {SHOWN}?"));
    let mut message: Value = serde_json::from_slice(&call.body).unwrap();
    message["params"]["requestState"] = asked["result"]["requestState"].clone();
    message["params"]["inputResponses"] = json!({ "0": { "action": "decline" } });
    let retry = Ask { body: message.to_string().into_bytes(), ..call };
    let done = proxy.ask(&retry).await.message();
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    let said: Value = serde_json::from_str(done["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(said["result"], json!({ "action": "decline" }));
    assert!(!named(&server.upstream).contains(&"tasks/cancel".to_owned()));
}

#[tokio::test]
async fn a_task_nobody_waits_for_any_more_is_taken_back() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let mut client = proxy.client().await;
    client.send(&call("must", &json!({})).token(&proxy.token("ana")).bytes()).await;
    client.head().await.unwrap();
    server.heard("tasks/get").await;
    drop(client);
    let sent = server.heard("tasks/cancel").await;
    assert_eq!(sent.json()["params"], json!({ "taskId": "up:must:0" }));
    assert_eq!(sent.header("mcp-session-id").as_deref(), Some("s1"));
}

#[tokio::test]
async fn a_task_that_takes_longer_than_an_answer_may_is_taken_back() {
    let server = Server::start().await;
    let times = "schema = \"off\"\ntimeouts = { first_byte = \"2s\", total = \"2s\" }";
    let proxy = Setup::new(server.upstream.url()).policy(POLICY).server(times).start().await;
    let mut client = proxy.client().await;
    client.send(&call("must", &json!({})).token(&proxy.token("ana")).bytes()).await;
    let done = client.answer().await.unwrap().message();
    assert_eq!(done["result"]["isError"], true, "{done}");
    assert!(done["result"]["content"][0]["text"].as_str().unwrap().contains("longer than 2 s"), "{done}");
    assert_eq!(server.heard("tasks/cancel").await.json()["params"], json!({ "taskId": "up:must:0" }));
}

#[tokio::test]
async fn a_task_that_is_taken_back_elsewhere_is_an_error_of_the_tool() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let mut client = proxy.client().await;
    client.send(&call("must", &json!({})).token(&proxy.token("ana")).bytes()).await;
    server.heard("tasks/get").await;
    server.set("up:must:0", "cancelled");
    let done = client.answer().await.unwrap().message();
    assert_eq!(done["result"]["isError"], true, "{done}");
}

#[tokio::test]
async fn news_of_a_task_are_what_its_owner_would_be_told() {
    let server = Server::start().await;
    let proxy = server.proxied().await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    let id = begin(&proxy, &ana, "may", &follows()).await;
    let other = begin(&proxy, &max, "may", &follows()).await;
    let filter = json!({ "notifications": { "taskIds": [id, other, "up:may:0"] } });
    let deaf = proxy.ask(&Ask::modern("subscriptions/listen", &filter).token(&ana)).await;
    assert_eq!((deaf.status, &deaf.message()["error"]["code"]), (400, &json!(-32_021)), "{deaf:?}");
    let mut client = proxy.client().await;
    client.send(&able("subscriptions/listen", &filter, &follows()).token(&ana).bytes()).await;
    client.head().await.unwrap();
    let first = client.message().await.unwrap();
    assert_eq!(first["params"]["notifications"], json!({ "taskIds": [id] }), "{first}");
    server.set("up:may:0", "completed");
    for real in ["up:may:1", "up:may:0"] {
        let news = json!({ "jsonrpc": "2.0", "method": "notifications/tasks/status", "params": task(real, "working") });
        server.tell.send(news.to_string()).unwrap();
    }
    let news = client.message().await.unwrap();
    assert_eq!((&news["method"], &news["params"]["taskId"]), (&json!("notifications/tasks"), &json!(id)), "{news}");
    assert_eq!(news["params"]["status"], "completed", "{news}");
    assert_eq!(news["params"]["result"]["content"][0]["text"], format!("s1 {SHOWN}"));
    assert_eq!(news["params"]["_meta"], json!({ "io.modelcontextprotocol/subscriptionId": 7 }));
}
