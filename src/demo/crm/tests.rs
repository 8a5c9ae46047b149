//! The CRM over real sockets, in both eras.

use serde_json::json;

use super::*;

struct Client {
    crm: Crm,
    http: reqwest::Client,
}

/// The messages of an event stream, as they come.
struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, buffer: String::new() }
    }

    /// The next event as it was sent.
    async fn raw(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let event = event.to_owned();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            self.buffer.push_str(std::str::from_utf8(&self.response.chunk().await.unwrap()?).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Value> {
        let event = self.raw().await?;
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        Some(serde_json::from_str(data).unwrap())
    }
}

async fn start_with(settings: Settings) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let crm = start(listener, settings).unwrap();
    Client { crm, http: reqwest::Client::builder().no_proxy().build().unwrap() }
}

async fn start_stepped() -> Client {
    start_with(Settings { pace: Pace::Stepped, ..Settings::default() }).await
}

/// A request of 2026-07-28 with everything it needs.
fn modern(method: &str, params: Value) -> Value {
    let mut params = params;
    let meta = params.as_object_mut().unwrap().entry("_meta").or_insert(json!({})).as_object_mut().unwrap();
    meta.insert("io.modelcontextprotocol/protocolVersion".to_owned(), json!("2026-07-28"));
    meta.insert("io.modelcontextprotocol/clientCapabilities".to_owned(), json!({}));
    json!({ "jsonrpc": "2.0", "id": "r-1", "method": method, "params": params })
}

impl Client {
    fn request(&self, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(self.crm.url()).header("accept", "application/json, text/event-stream").json(body)
    }

    fn modern_request(&self, body: &Value) -> reqwest::RequestBuilder {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let request = self.request(body).header("mcp-protocol-version", "2026-07-28");
        let request = request.header("mcp-method", text("/method").unwrap_or_default());
        let request = match text("/params/name").or(text("/params/uri")) {
            Some(name) => request.header("mcp-name", name),
            None => request,
        };
        match text("/params/arguments/region").filter(|_| text("/params/name").as_deref() == Some("search_contacts")) {
            Some(region) => request.header("mcp-param-region", region),
            None => request,
        }
    }

    async fn modern(&self, method: &str, params: Value) -> (u16, Value) {
        read(self.modern_request(&modern(method, params)).send().await.unwrap()).await
    }

    async fn tool(&self, name: &str, arguments: Value) -> Value {
        let (status, answer) = self.modern("tools/call", json!({ "name": name, "arguments": arguments })).await;
        assert_eq!(status, 200);
        answer["result"].clone()
    }

    async fn initialize(&self, version: &str) -> (String, Value) {
        let params =
            json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let response = self.request(&body).send().await.unwrap();
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let (_, answer) = read(response).await;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.legacy_request(&session, &initialized).send().await.unwrap().status(), 202);
        (session, answer["result"].clone())
    }

    fn legacy_request(&self, session: &str, body: &Value) -> reqwest::RequestBuilder {
        self.request(body).header("mcp-session-id", session)
    }

    async fn legacy(&self, session: &str, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (status, answer) = read(self.legacy_request(session, &body).send().await.unwrap()).await;
        assert_eq!((status, &answer["id"]), (200, &json!(1)));
        answer
    }
}

/// Status and message, whichever form it has.
async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        return (status, Events::new(response).next().await.unwrap());
    }
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_modern_client_discovers_lists_and_calls() {
    let client = start_with(Settings::default()).await;
    let (status, discovered) = client.modern("server/discover", json!({})).await;
    let result = &discovered["result"];
    assert_eq!((status, &result["supportedVersions"]), (200, &json!(["2026-07-28"])));
    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")));
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "sample-crm");

    let (_, listed) = client.modern("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect::<Vec<_>>(), TOOLS);
    assert!(listed["result"]["ttlMs"].is_u64());
    assert_eq!(tools[5]["annotations"]["destructiveHint"], true);
    assert_eq!(tools[0]["inputSchema"]["properties"]["region"]["x-mcp-header"], "Region");
    assert!(tools[7]["description"].as_str().unwrap().contains('\u{200b}'));

    let contact = client.tool("get_contact", json!({ "id": "c-001" })).await;
    assert_eq!(contact["structuredContent"]["card"], "4111 1111 1111 1111");
    let text = contact["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), contact["structuredContent"]);
    assert!(contact.get("ttlMs").is_none());
    let found = client.tool("search_contacts", json!({ "query": "initech", "region": "amer" })).await;
    assert_eq!(found["structuredContent"]["contacts"][0]["email"], "jane.placeholder@example.org");
    let bills = client.tool("list_invoices", json!({ "contact_id": "c-001" })).await;
    assert_eq!(bills["structuredContent"]["total"], 2);
}

#[tokio::test]
async fn requests_that_disagree_with_themselves_are_refused() {
    let client = start_with(Settings::default()).await;
    let call = modern("tools/call", json!({ "name": "search_contacts", "arguments": { "region": "emea" } }));
    let request = || client.request(&call).header("mcp-protocol-version", "2026-07-28");
    let named = || request().header("mcp-method", "tools/call").header("mcp-name", "search_contacts");
    for (what, request, code) in [
        ("no method", request(), -32020),
        ("wrong method", request().header("mcp-method", "tools/list"), -32020),
        ("case", request().header("mcp-method", "Tools/call").header("mcp-name", "search_contacts"), -32020),
        ("no name", request().header("mcp-method", "tools/call"), -32020),
        ("wrong name", request().header("mcp-method", "tools/call").header("mcp-name", "get_contact"), -32020),
        ("no param", named(), -32020),
        ("wrong param", named().header("mcp-param-region", "amer"), -32020),
        ("twice", named().header("mcp-param-region", "emea").header("mcp-param-region", "emea"), -32020),
        ("bad sentinel", named().header("mcp-param-region", "=?base64?!?="), -32020),
        ("no version", client.request(&call).header("mcp-method", "tools/call"), -32020),
        ("old version", client.request(&call).header("mcp-protocol-version", "2025-11-25"), -32020),
    ] {
        let (status, answer) = read(request.send().await.unwrap()).await;
        assert_eq!((status, answer["error"]["code"].as_i64()), (400, Some(code)), "{what}: {answer}");
        assert_eq!(answer["id"], "r-1", "{what}");
    }
    let sentinel = named().header("mcp-param-region", "=?base64?ZW1lYQ==?=").header("mcp-param-other", "x");
    assert_eq!(read(sentinel.send().await.unwrap()).await.0, 200);
}

#[tokio::test]
async fn modern_refusals_have_their_own_codes() {
    let client = start_with(Settings::default()).await;
    let mut future = modern("tools/list", json!({}));
    future["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let request =
        client.request(&future).header("mcp-protocol-version", "2099-01-01").header("mcp-method", "tools/list");
    let (status, answer) = read(request.send().await.unwrap()).await;
    assert_eq!((status, answer["error"]["code"].as_i64()), (400, Some(-32022)));
    assert_eq!(answer["error"]["data"], json!({ "supported": ["2026-07-28"], "requested": "2099-01-01" }));

    for key in ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"] {
        let mut body = modern("tools/list", json!({}));
        body["params"]["_meta"].as_object_mut().unwrap().remove(key);
        let (status, answer) = read(client.modern_request(&body).send().await.unwrap()).await;
        assert_eq!((status, answer["error"]["code"].as_i64()), (400, Some(-32602)), "{key}");
    }
    for method in ["unknown/method", "ping", "logging/setLevel", "resources/subscribe", "initialize"] {
        let (status, answer) = client.modern(method, json!({})).await;
        assert_eq!((status, answer["error"]["code"].as_i64()), (404, Some(-32601)), "{method}");
    }
    let (status, answer) = client.modern("tools/call", json!({ "name": "nothing" })).await;
    assert_eq!((status, &answer["error"]["message"]), (200, &json!("Unknown tool: nothing")));
    let (_, answer) = client.modern("resources/read", json!({ "uri": "crm://contacts/c-999" })).await;
    assert_eq!(
        answer["error"],
        json!({ "code": -32602, "message": "Resource not found", "data": { "uri": "crm://contacts/c-999" } })
    );

    for method in [Method::GET, Method::DELETE] {
        let request = client.http.request(method, client.crm.url()).header("mcp-protocol-version", "2026-07-28");
        assert_eq!(request.send().await.unwrap().status(), 405);
    }
    let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    let request = client.request(&response).header("mcp-protocol-version", "2026-07-28");
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn bodies_and_headers_that_are_not_mcp_are_refused() {
    let client = start_with(Settings::default()).await;
    let url = client.crm.url();
    let post = || client.http.post(url).header("accept", "application/json, text/event-stream");
    let json = || post().header("content-type", "application/json");
    for (request, status) in [
        (post().header("content-type", "text/plain").body("{}"), 415),
        (client.http.post(url).json(&json!({})), 406),
        (client.http.post(url).header("accept", "application/json").json(&json!({})), 406),
        (json().body("{"), 400),
        (json().body("[]"), 400),
        (json().header("origin", "http://evil.example").body("{}"), 403),
        (json().header("host", "evil.example").body("{}"), 403),
        (json().body(" ".repeat(BODY_LIMIT_BYTES + 1)), 413),
        (client.http.put(url), 405),
        (client.http.get(url).header("accept", "text/event-stream"), 400),
        (client.http.get(url.replace("/mcp", "/other")), 404),
    ] {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn bad_arguments_are_answers_for_the_model() {
    let client = start_with(Settings::default()).await;
    for (name, arguments, told) in [
        ("get_contact", json!({}), "\"id\" is missing"),
        ("get_contact", json!({ "id": "1" }), "a contact id such as c-001"),
        ("get_contact", json!({ "id": "c-001", "all": true }), "There is no argument \"all\""),
        ("get_contact", json!({ "id": "c-999" }), "There is no contact c-999"),
        ("update_contact", json!({ "id": "c-001" }), "Nothing was given"),
        ("update_contact", json!({ "id": "c-001", "amount": -1 }), "a whole number from 0"),
        ("export_contacts", json!({ "region": "moon" }), "one of amer, apac, emea"),
    ] {
        let result = client.tool(name, arguments).await;
        assert_eq!((&result["isError"], &result["resultType"]), (&json!(true), &json!("complete")));
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn contacts_can_be_created_changed_and_deleted() {
    let client = start_with(Settings::default()).await;
    let created = client.tool("create_contact", json!({ "name": "New Person", "email": "new@example.com" })).await;
    let id = created["structuredContent"]["id"].clone();
    let changed = client.tool("update_contact", json!({ "id": id, "amount": 500, "owner": "max@example.com" })).await;
    assert_eq!(
        (&changed["structuredContent"]["amount"], &changed["structuredContent"]["name"]),
        (&json!(500), &json!("New Person"))
    );
    let gone = client.tool("delete_contact", json!({ "id": id })).await;
    assert_eq!((&gone["isError"], gone.get("structuredContent")), (&json!(false), None));
    assert_eq!(client.tool("get_contact", json!({ "id": id })).await["isError"], true);
}

/// The types that results may have under `schema`, as far as the CRM's schemas go.
fn conforms(schema: &Value, value: &Value) -> bool {
    if schema.get("enum").is_some_and(|choices| !choices.as_array().unwrap().contains(value)) {
        return false;
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let (properties, value) = (schema["properties"].as_object().unwrap(), value.as_object().unwrap());
            schema["required"].as_array().unwrap().iter().all(|name| value.contains_key(name.as_str().unwrap()))
                && value.iter().all(|(name, value)| properties.get(name).is_some_and(|schema| conforms(schema, value)))
        }
        "array" => value.as_array().unwrap().iter().all(|item| conforms(&schema["items"], item)),
        "integer" => value.is_i64(),
        "string" => value.is_string(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn structured_content_keeps_its_promise() {
    let client = start_with(Settings::default()).await;
    let (_, listed) = client.modern("tools/list", json!({})).await;
    for (name, arguments) in [
        ("search_contacts", json!({})),
        ("get_contact", json!({ "id": "c-009" })),
        ("list_invoices", json!({})),
        ("update_contact", json!({ "id": "c-011", "notes": "x" })),
        ("create_contact", json!({ "name": "N", "email": "n@example.com" })),
    ] {
        let tool = listed["result"]["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).unwrap();
        let result = client.tool(name, arguments).await;
        assert!(conforms(&tool["outputSchema"], &result["structuredContent"]), "{name}: {result}");
    }
}

#[tokio::test]
async fn resources_prompts_and_completion_work_in_both_eras() {
    let client = start_with(Settings::default()).await;
    let (session, _) = client.initialize("2025-11-25").await;
    let mut seen = Vec::new();
    let mut params = json!({});
    loop {
        let (_, page) = client.modern("resources/list", params).await;
        let legacy = client.legacy(&session, "resources/list", json!({})).await;
        assert!(legacy["result"].get("resultType").is_none() && legacy["result"].get("ttlMs").is_none());
        let page = page["result"].clone();
        seen.extend(page["resources"].as_array().unwrap().iter().map(|one| one["uri"].clone()));
        let Some(cursor) = page.get("nextCursor") else { break };
        params = json!({ "cursor": cursor });
    }
    assert_eq!(seen.len(), 12);
    let (_, refused) = client.modern("resources/list", json!({ "cursor": "x" })).await;
    assert_eq!(refused["error"]["code"], -32602);

    let (_, read) = client.modern("resources/read", json!({ "uri": "crm://contacts/c-005" })).await;
    assert_eq!(read["result"]["cacheScope"], "private");
    assert!(read["result"]["contents"][0]["text"].as_str().unwrap().contains("212-45-6781"));
    let missing = client.legacy(&session, "resources/read", json!({ "uri": "crm://contacts/none" })).await;
    assert_eq!(
        (&missing["error"]["code"], &missing["error"]["data"]["uri"]),
        (&json!(-32002), &json!("crm://contacts/none"))
    );
    let (_, templates) = client.modern("resources/templates/list", json!({})).await;
    assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "crm://contacts/{id}");

    let (_, prompts) = client.modern("prompts/list", json!({})).await;
    assert_eq!(prompts["result"]["prompts"][0]["name"], "summarise_contact");
    let arguments = json!({ "contact_id": "c-001", "tone": "formal" });
    let prompt =
        client.legacy(&session, "prompts/get", json!({ "name": "summarise_contact", "arguments": arguments })).await;
    assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("4111 1111 1111 1111"));
    for (reference, name, value, values) in [
        (json!({ "type": "ref/prompt", "name": "summarise_contact" }), "tone", "f", json!(["formal", "friendly"])),
        (json!({ "type": "ref/resource", "uri": "crm://contacts/{id}" }), "id", "erika", json!(["c-001"])),
    ] {
        let params = json!({ "ref": reference, "argument": { "name": name, "value": value } });
        let (_, completed) = client.modern("completion/complete", params).await;
        assert_eq!(completed["result"]["completion"]["values"], values);
    }
}

#[tokio::test]
async fn an_export_is_streamed_contact_by_contact() {
    let client = start_stepped().await;
    let meta = json!({ "progressToken": 7, "io.modelcontextprotocol/logLevel": "info" });
    let body =
        modern("tools/call", json!({ "name": "export_contacts", "arguments": { "region": "amer" }, "_meta": meta }));
    let mut events = Events::new(client.modern_request(&body).send().await.unwrap());
    let log = events.next().await.unwrap();
    assert_eq!((&log["method"], &log["params"]["logger"]), (&json!("notifications/message"), &json!("crm")));
    for progress in 1..=3 {
        // Each event arrives before the next contact is even allowed to be read.
        client.crm.step(1);
        let event = events.next().await.unwrap();
        assert_eq!(event["params"]["progress"], progress);
        assert_eq!((&event["params"]["total"], &event["params"]["progressToken"]), (&json!(3), &json!(7)));
    }
    let last = events.next().await.unwrap();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("r-1"), &json!("complete")));
    assert!(last["result"]["content"][0]["text"].as_str().unwrap().contains("joe.bloggs@example.net"));
    assert!(events.next().await.is_none());
    client.crm.journal().until(|entry| matches!(entry, Entry::ExportFinished)).await;
}

#[tokio::test]
async fn an_export_stops_when_its_client_goes_away() {
    let client = start_stepped().await;
    let params = json!({ "name": "export_contacts", "arguments": {}, "_meta": { "progressToken": "t" } });
    let mut events = Events::new(client.modern_request(&modern("tools/call", params)).send().await.unwrap());
    client.crm.step(2);
    events.next().await.unwrap();
    events.next().await.unwrap();
    drop(events);
    client.crm.journal().until(|entry| matches!(entry, Entry::ExportStopped { sent: 2 })).await;
}

#[tokio::test]
async fn an_older_client_can_cancel_by_message() {
    let client = start_stepped().await;
    let (session, _) = client.initialize("2025-11-25").await;
    let params = json!({ "name": "export_contacts", "_meta": { "progressToken": "t" } });
    let call = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params });
    let mut events = Events::new(client.legacy_request(&session, &call).send().await.unwrap());
    client.crm.step(1);
    let first = events.raw().await.unwrap();
    assert!(first.starts_with("event: message\ndata: {"), "{first}");
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    assert_eq!(client.legacy_request(&session, &cancel).send().await.unwrap().status(), 202);
    assert!(events.next().await.is_none(), "a cancelled request is not answered");
    client.crm.journal().until(|entry| matches!(entry, Entry::ExportStopped { sent: 1 })).await;
}

#[tokio::test]
async fn older_clients_agree_on_a_version_and_keep_a_session() {
    let client = start_with(Settings::default()).await;
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ] {
        let (session, result) = client.initialize(asked).await;
        assert_eq!(result["protocolVersion"], given, "{asked}");
        assert!(session.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(client.legacy(&session, "ping", json!({})).await["result"], json!({}));
        let tools = client.legacy(&session, "tools/list", json!({})).await;
        let tool = &tools["result"]["tools"][1];
        assert_eq!(tool.get("outputSchema").is_some(), given > "2025-03-26");
        let call = client
            .legacy(&session, "tools/call", json!({ "name": "get_contact", "arguments": { "id": "c-001" } }))
            .await;
        assert_eq!(call["result"].get("structuredContent").is_some(), given > "2025-03-26");
        let unknown = client.legacy(&session, "server/discover", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32601);
    }
}

#[tokio::test]
async fn sessions_are_needed_known_and_end() {
    let client = start_with(Settings::default()).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    assert_eq!(client.request(&ping).send().await.unwrap().status(), 400);
    assert_eq!(client.legacy_request("nobody", &ping).send().await.unwrap().status(), 404);
    let (session, _) = client.initialize("2025-11-25").await;
    let odd = client.legacy_request(&session, &ping).header("mcp-protocol-version", "1900-01-01");
    assert_eq!(odd.send().await.unwrap().status(), 400);
    let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    assert_eq!(client.legacy_request(&session, &response).send().await.unwrap().status(), 202);
    for bad in [json!({ "id": 1, "method": "ping" }), json!({ "jsonrpc": "2.0", "id": null, "method": "ping" })] {
        assert_eq!(client.legacy_request(&session, &bad).send().await.unwrap().status(), 400, "{bad}");
    }
    let delete = client.http.delete(client.crm.url()).header("mcp-session-id", &session);
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert_eq!(client.legacy_request(&session, &ping).send().await.unwrap().status(), 404);
    let (session, _) = client.initialize("2025-06-18").await;
    client.crm.forget_sessions();
    assert_eq!(client.legacy_request(&session, &ping).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn batches_belong_to_2025_03_26_alone() {
    let client = start_with(Settings::default()).await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": { "name": "get_contact", "arguments": { "id": "c-002" } } },
        7,
    ]);
    let (session, _) = client.initialize("2025-03-26").await;
    let (status, answers) = read(client.legacy_request(&session, &batch).send().await.unwrap()).await;
    assert_eq!((status, answers.as_array().unwrap().len()), (200, 3));
    assert_eq!((&answers[1]["id"], &answers[2]["error"]["code"]), (&json!("b"), &json!(-32600)));
    let (session, _) = client.initialize("2025-11-25").await;
    assert_eq!(client.legacy_request(&session, &batch).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_get_stream_carries_what_changed_on_one_stream_only() {
    let client = start_with(Settings::default()).await;
    let (session, _) = client.initialize("2025-11-25").await;
    let uri = "crm://contacts/c-004";
    client.legacy(&session, "resources/subscribe", json!({ "uri": uri })).await;
    let listen = || async {
        let request = client.http.get(client.crm.url()).header("accept", "text/event-stream");
        Events::new(request.header("mcp-session-id", &session).send().await.unwrap())
    };
    let (mut first, mut second) = (listen().await, listen().await);
    client.crm.announce_tools();
    assert_eq!(first.next().await.unwrap()["method"], "notifications/tools/list_changed");
    let change = json!({ "name": "update_contact", "arguments": { "id": "c-004", "notes": "seen" } });
    client.legacy(&session, "tools/call", change.clone()).await;
    assert_eq!(first.next().await.unwrap()["params"]["uri"], uri);
    client.legacy(&session, "resources/unsubscribe", json!({ "uri": uri })).await;
    client.legacy(&session, "tools/call", change).await;
    client.crm.announce_tools();
    assert_eq!(first.next().await.unwrap()["method"], "notifications/tools/list_changed");
    drop(first);
    client.crm.journal().until(|entry| matches!(entry, Entry::ListenClosed)).await;
    client.crm.announce_tools();
    assert_eq!(second.next().await.unwrap()["method"], "notifications/tools/list_changed");
    client.http.delete(client.crm.url()).header("mcp-session-id", &session).send().await.unwrap();
    assert!(second.next().await.is_none());
}

#[tokio::test]
async fn a_subscription_is_acknowledged_filtered_and_ended() {
    let client = start_with(Settings::default()).await;
    let wanted = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["crm://contacts/c-003"] });
    let body = modern("subscriptions/listen", json!({ "notifications": wanted }));
    let mut events = Events::new(client.modern_request(&body).send().await.unwrap());
    let acknowledged = events.next().await.unwrap();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["crm://contacts/c-003"] });
    assert_eq!(acknowledged["params"]["notifications"], honoured);

    client.tool("update_contact", json!({ "id": "c-004", "notes": "not asked for" })).await;
    client.tool("create_contact", json!({ "name": "Not", "email": "asked@example.com" })).await;
    client.tool("update_contact", json!({ "id": "c-003", "notes": "asked for" })).await;
    let updated = events.next().await.unwrap();
    assert_eq!(updated["method"], "notifications/resources/updated");
    client.crm.announce_tools();
    let changed = events.next().await.unwrap();
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    client.crm.end_subscriptions();
    let ended = events.next().await.unwrap();
    assert_eq!((&ended["id"], &ended["result"]["resultType"]), (&json!("r-1"), &json!("complete")));
    for message in [&acknowledged["params"], &updated["params"], &changed["params"], &ended["result"]] {
        assert_eq!(message["_meta"]["io.modelcontextprotocol/subscriptionId"], "r-1");
    }
    assert!(events.next().await.is_none());
    let (_, refused) = client.modern("subscriptions/listen", json!({})).await;
    assert_eq!(refused["error"]["code"], -32602);
}

#[tokio::test]
async fn the_form_of_answers_is_the_settings_choice() {
    for (answers, list, search) in [
        (Answers::Json, "application/json", "application/json"),
        (Answers::Mixed, "application/json", "text/event-stream"),
        (Answers::Stream, "text/event-stream", "text/event-stream"),
    ] {
        let client = start_with(Settings { answers, ..Settings::default() }).await;
        let kind = async |method: &str, params: Value| {
            let response = client.modern_request(&modern(method, params)).send().await.unwrap();
            response.headers()["content-type"].to_str().unwrap().to_owned()
        };
        assert_eq!(kind("tools/list", json!({})).await, list);
        assert_eq!(kind("tools/call", json!({ "name": "search_contacts" })).await, search);
    }
}

#[tokio::test]
async fn primed_streams_begin_with_an_empty_event() {
    let client = start_with(Settings { pace: Pace::Stepped, priming: Priming::On, ..Settings::default() }).await;
    let (session, _) = client.initialize("2025-11-25").await;
    client.legacy(&session, "logging/setLevel", json!({ "level": "info" })).await;
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "export_contacts" } });
    let mut events = Events::new(client.legacy_request(&session, &call).send().await.unwrap());
    assert_eq!(events.raw().await.unwrap(), "id: export-1\nretry: 1000\ndata: ");
    let log = events.raw().await.unwrap();
    assert!(log.starts_with("event: message\nid: export-2\ndata: "), "{log}");
    assert!(log.contains("notifications/message"));
}

#[tokio::test]
async fn the_journal_keeps_requests_as_they_came() {
    let client = start_with(Settings::default()).await;
    let body = modern("tools/list", json!({}));
    client.modern_request(&body).header("x-seen", "yes").send().await.unwrap();
    let requests = client.crm.journal().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0].method, requests[0].uri.path()), (&Method::POST, "/mcp"));
    assert_eq!((&requests[0].headers["x-seen"], requests[0].json()), (&"yes".parse().unwrap(), body));
    client.crm.journal().clear();
    assert!(client.crm.journal().entries().is_empty());
    client.crm.set_fault(Fault::Error);
    assert_eq!(client.modern("tools/list", json!({})).await.0, 500);
}
