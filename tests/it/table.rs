//! What the client receives, row by row: the raw request, the raw answer, and that the upstream heard nothing of it.

use serde_json::{Value, json};

use crate::support::{Answer, Ask, CRM_POLICY, Proxy, Setup, Upstream};

const METADATA: &str = "https://gw.test/.well-known/oauth-protected-resource/crm/mcp";
const ERAS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// One row: what is asked, and all of what must come back.
struct Row {
    name: &'static str,
    ask: Ask,
    status: u16,
    /// Headers besides `date`, `x-request-id` and those of the body, sorted.
    headers: Vec<(&'static str, String)>,
    /// The whole body; `REQUEST` stands for the request id.
    body: String,
}

fn row(name: &'static str, ask: Ask, status: u16, body: impl Into<String>) -> Row {
    Row { name, ask, status, headers: Vec::new(), body: body.into() }
}

impl Row {
    fn challenge(self, rest: &str) -> Self {
        let value = format!("Bearer resource_metadata=\"{METADATA}\", {rest}");
        self.header("www-authenticate", &value)
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

fn error(id: Option<&str>, code: i32, message: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!("\"id\":{id},"));
    format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn tool_error(revision: &str, text: &str) -> String {
    let kind = if revision == "2026-07-28" { r#""resultType":"complete","# } else { "" };
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{{kind}"content":[{{"type":"text","text":"{text}"}}],"isError":true}}}}"#
    )
}

/// Headers of an answer that every answer of its kind has.
fn expected_headers(answer: &Answer, row: &Row) -> Vec<(String, String)> {
    let mut expected: Vec<(String, String)> =
        row.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    expected.push(("x-request-id".to_owned(), answer.header("x-request-id").expect("no request id").to_owned()));
    expected.push(("date".to_owned(), answer.header("date").expect("no date").to_owned()));
    if row.ask.method == "HEAD" {
        // The length a body would have is up to the server.
        expected.extend(answer.headers.iter().filter(|(name, _)| name.starts_with("content-")).cloned());
    } else if !(row.body.is_empty() && row.status == 204) {
        expected.push(("content-length".to_owned(), answer.body.len().to_string()));
    }
    if !row.body.is_empty() {
        expected.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    expected.sort();
    expected
}

async fn run(proxy: &Proxy, upstream: &Upstream, rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for row in rows {
        let answer = proxy.ask(&row.ask).await;
        let request_id = answer.header("x-request-id").unwrap_or_default();
        let mut headers = answer.headers.clone();
        headers.sort();
        let reached = upstream.take().len();
        if answer.status != row.status
            || request_id.len() != 36
            || answer.text() != row.body.replace("REQUEST", request_id)
            || headers != expected_headers(&answer, &row)
            || reached != 0
        {
            let asked = String::from_utf8_lossy(&row.ask.without("Authorization").bytes()).into_owned();
            wrong.push(format!(
                "{} ({reached} reached the upstream)\n{asked}\ngave {answer:?}\nwanted {} {:?} {}\n",
                row.name, row.status, row.headers, row.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn search(revision: &str) -> Ask {
    Ask::call(revision, "search_contacts", &json!({ "query": "x" }))
}

fn message(value: &Value) -> Ask {
    Ask::post(value.to_string())
}

#[tokio::test]
async fn who_shows_no_usable_credential_is_asked_for_one() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let missing = || error(None, -31401, "Authentication required");
    let base = "scope=\"crm:read\"";
    let mut rows = Vec::new();
    for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
        rows.push(row("no token", Ask::new(method), 401, missing()).challenge(base));
    }
    rows.push(row("no token, HEAD", Ask::new("HEAD"), 401, "").challenge(base));
    for revision in ERAS {
        rows.push(row("no token", search(revision), 401, missing()).challenge(base));
        let malformed = |text: &str| format!("error=\"invalid_request\", error_description=\"{text}\"");
        let query = search(revision).target("/crm/mcp?access_token=SECRETQUERYTOKEN");
        let text = "Access tokens are not accepted in the query string";
        rows.push(row("token in the query", query.clone(), 400, error(None, -31401, text)).challenge(&malformed(text)));
        rows.push(
            row("beside a good header", query.token(&token), 400, error(None, -31401, text))
                .challenge(&malformed(text)),
        );
        let text = "More than one Authorization header";
        let twice = search(revision).token(&token).token(&token);
        rows.push(row("two headers", twice, 400, error(None, -31401, text)).challenge(&malformed(text)));
        let text = "The access token is not valid for this server";
        let garbage = search(revision).token("garbage");
        rows.push(
            row("no token at all", garbage, 401, error(None, -31401, text))
                .challenge(&format!("error=\"invalid_token\", {base}, error_description=\"{text}\"")),
        );
    }
    run(&proxy, &upstream, rows).await;
    proxy.assert_not_kept("SECRETQUERYTOKEN").await;
    proxy.assert_not_kept(&token).await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_before_it_is_decided() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).listener("limits = { request_bytes = \"4 KiB\" }").start().await;
    let token = proxy.token("ana");
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "search_contacts" } });
    let mut rows = vec![
        row("not JSON", Ask::post("{"), 400, error(None, -32700, "Parse error: unfinished value")),
        row(
            "two values",
            Ask::post(format!("{call}{call}")),
            400,
            error(None, -32700, "Parse error: more than one value"),
        ),
        row("batch", message(&json!([call, call])), 400, error(None, -32600, "Batches are not accepted")),
        row(
            "too large",
            Ask::post(vec![b' '; 5000]),
            413,
            error(None, -32600, "The request body is larger than 4096 bytes"),
        ),
        row(
            "null id",
            message(&json!({ "jsonrpc": "2.0", "id": null, "method": "ping" })),
            400,
            error(None, -32600, "id must be a string of up to 128 bytes or an integer within 2^53"),
        ),
        row("text/plain", Ask::post(call.to_string()).with("Content-Type", "text/plain"), 415, ""),
        row("no type", Ask::post(call.to_string()).without("Content-Type"), 415, ""),
        row("charset", Ask::post(call.to_string()).with("Content-Type", "application/json; charset=utf-16"), 415, ""),
        row("coding", Ask::post(call.to_string()).header("Content-Encoding", "gzip"), 415, ""),
        row(
            "call without id",
            message(&json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": "search_contacts" } })),
            400,
            error(None, -32600, "This method needs an id"),
        ),
        row(
            "unknown notification",
            message(&json!({ "jsonrpc": "2.0", "method": "notifications/odd" })),
            400,
            error(None, -32600, "Unknown notification"),
        ),
        row(
            "duplicate key",
            Ask::post(
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search_contacts","name":"run_sql"}}"#,
            ),
            400,
            error(None, -32700, "Parse error: duplicate key"),
        ),
        row(
            "escaped key",
            Ask::post(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"\u006eame":"run_sql"}}"#),
            400,
            error(Some("7"), -32600, "A key is a disguised spelling of another key"),
        ),
        row(
            "other case",
            Ask::post(
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search_contacts","Name":"run_sql"}}"#,
            ),
            400,
            error(Some("7"), -32600, "A key is a disguised spelling of another key"),
        ),
    ];
    let old = Ask::legacy("tools/zap", &json!({}));
    let new = Ask::modern("tools/zap", &json!({}));
    rows.push(row("unknown method", old, 200, error(Some("7"), -32601, "Method not found")));
    rows.push(row("unknown method", new, 404, error(Some("7"), -32601, "Method not found")));
    rows.push(row(
        "old version",
        search("2025-11-25").with("MCP-Protocol-Version", "1999-01-01"),
        400,
        error(
            Some("7"),
            -32600,
            "Unsupported protocol version (supported versions: 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28)",
        ),
    ));
    let mismatch = |text| error(Some("7"), -32020, text);
    let modern = || search("2026-07-28");
    rows.extend([
        row(
            "version differs",
            modern().with("MCP-Protocol-Version", "2025-11-25"),
            400,
            mismatch("MCP-Protocol-Version differs from the version in the body"),
        ),
        row(
            "version missing",
            modern().without("MCP-Protocol-Version"),
            400,
            mismatch("MCP-Protocol-Version is missing"),
        ),
        row(
            "method differs",
            modern().with("Mcp-Method", "tools/list"),
            400,
            mismatch("Mcp-Method differs from the method in the body"),
        ),
        row("method missing", modern().without("Mcp-Method"), 400, mismatch("Mcp-Method is missing")),
        row("method twice", modern().header("Mcp-Method", "tools/call"), 400, mismatch("Mcp-Method is repeated")),
        row(
            "name differs",
            modern().with("Mcp-Name", "get_contact"),
            400,
            mismatch("Mcp-Name differs from the name in the body"),
        ),
        row(
            "name decodes to another",
            modern().with("Mcp-Name", "=?base64?cnVuX3NxbA==?="),
            400,
            mismatch("Mcp-Name differs from the name in the body"),
        ),
        row("name missing", modern().without("Mcp-Name"), 400, mismatch("Mcp-Name is missing")),
        row(
            "param malformed",
            modern().header("Mcp-Param-Region", "=?base64?!?="),
            400,
            mismatch("An Mcp-Param header is malformed"),
        ),
        row(
            "param twice",
            modern().header("Mcp-Param-Region", "a").header("mcp-param-region", "a"),
            400,
            mismatch("An Mcp-Param header is repeated"),
        ),
    ]);
    let later = modern().with("MCP-Protocol-Version", "2099-01-01");
    let later =
        Ask { body: String::from_utf8(later.body).unwrap().replace("2026-07-28", "2099-01-01").into(), ..later };
    rows.push(row("later version", later, 400,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2025-03-26","2025-06-18","2025-11-25","2026-07-28"],"requested":"2099-01-01"}}}"#));
    let bare = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {} });
    let bare = message(&bare).header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", "tools/list");
    rows.push(row(
        "_meta missing",
        bare,
        400,
        error(Some("7"), -32602, "params._meta lacks a valid io.modelcontextprotocol/protocolVersion"),
    ));
    for row in &mut rows {
        row.ask = row.ask.clone().token(&token);
    }
    run(&proxy, &upstream, rows).await;
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_answered_in_its_stead() {
    let upstream = Upstream::plain().await;
    let policy = format!(
        "{CRM_POLICY}\n{}",
        r#"
[[rule]]
id = "no-secrets"
effect = "deny"
tools = ["get_secret"]
resources = ["crm://contacts/secret"]
prompts = ["bad"]

[[rule]]
id = "listed"
tools = ["bare_*"]
resources = ["crm://bare"]
prompts = ["good"]
"#
    );
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    let token = proxy.token("ana");
    let mut rows = Vec::new();
    for revision in ERAS {
        let call = |tool| Ask::call(revision, tool, &json!({}));
        let unknown = |tool| error(Some("7"), -32602, &format!("Unknown tool: {tool}"));
        rows.push(
            row("scope missing", call("update_contact"), 403, error(Some("7"), -31403, "update_contact needs crm:write"))
                .challenge("error=\"insufficient_scope\", scope=\"crm:read crm:write\", error_description=\"update_contact needs crm:write\""),
        );
        rows.push(row("hidden", call("delete_contact"), 200, unknown("delete_contact")));
        rows.push(row("not there", call("no_such_tool"), 200, unknown("no_such_tool")));
        let read = |uri| Ask::of(revision, "resources/read", &json!({ "uri": uri }));
        let code = if revision == "2026-07-28" { -32602 } else { -32002 };
        for uri in ["crm://contacts/secret", "crm://nowhere"] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":{code},"message":"Resource not found","data":{{"uri":"{uri}"}}}}}}"#
            );
            rows.push(row("resource", read(uri), 200, body));
        }
        for prompt in ["bad", "unknown"] {
            let ask = Ask::of(revision, "prompts/get", &json!({ "name": prompt }));
            rows.push(row("prompt", ask, 200, error(Some("7"), -32602, &format!("Unknown prompt: {prompt}"))));
        }
    }
    for row in &mut rows {
        row.ask = row.ask.clone().token(&token);
    }
    run(&proxy, &upstream, rows).await;
}

#[tokio::test]
async fn a_visible_name_that_is_denied_says_so_as_the_policy_wants() {
    for on_deny in ["tool_error", "error", "http_403"] {
        let upstream = Upstream::plain().await;
        let policy = format!(
            "[policy]\nname = \"crm\"\nlist = \"all\"\non_deny = \"{on_deny}\"\n\
             [[rule]]\nid = \"no-tasks\"\neffect = \"deny\"\nmethods = [\"tasks/list\"]\nreason = \"Ask the team\"\n"
        );
        let proxy = Setup::new(upstream.url()).policy(policy).start().await;
        let token = proxy.token("ana");
        let mut rows = Vec::new();
        let status = if on_deny == "http_403" { 403 } else { 200 };
        for revision in ERAS {
            let text = "Denied by policy. Request REQUEST";
            let denied = || error(Some("7"), -31403, text);
            let tool = if on_deny == "tool_error" { tool_error(revision, text) } else { denied() };
            rows.push(row("tool", Ask::call(revision, "anything", &json!({})), status, tool));
            let read = Ask::of(revision, "resources/read", &json!({ "uri": "crm://any" }));
            rows.push(row("resource", read, status, denied()));
        }
        let text = "Denied by policy (rule no-tasks): Ask the team. Request REQUEST";
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":-31403,"message":"{text}","data":{{"rule":"no-tasks","request_id":"REQUEST"}}}}}}"#
        );
        rows.push(row("method", Ask::legacy("tasks/list", &json!({})), status, body));
        for row in &mut rows {
            row.ask = row.ask.clone().token(&token);
        }
        run(&proxy, &upstream, rows).await;
    }
}

#[tokio::test]
async fn a_mask_that_blocks_says_what_and_never_the_value() {
    let secret = "AKIAIOSFODNN7EXAMPLF";
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    proxy.keep_secret(secret.to_owned());
    let token = proxy.token("ana");
    let mut rows = Vec::new();
    for revision in ERAS {
        let call = Ask::call(revision, "search_contacts", &json!({ "query": format!("key {secret} here") }));
        let text = "Blocked: arguments contained SECRET (rule secrets-sent). Request REQUEST";
        rows.push(row("arguments", call.token(&token), 200, tool_error(revision, text)));
        let prompt =
            Ask::of(revision, "prompts/get", &json!({ "name": "summarise_contact", "arguments": { "id": secret } }));
        rows.push(row("another method", prompt.token(&token), 200, error(Some("7"), -31403, text)));
    }
    run(&proxy, &upstream, rows).await;
    proxy.assert_not_kept(secret).await;
}

#[tokio::test]
async fn paths_methods_hosts_and_origins_that_are_not_served() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let mut rows = Vec::new();
    for path in [
        "/",
        "/crm",
        "/crm/mcp/",
        "/crm//mcp",
        "//crm/mcp",
        "/CRM/mcp",
        "/crm/%6dcp",
        "/crm/../crm/mcp",
        "/crm/mcp;x=1",
        "/crm%2fmcp",
        "/wiki/mcp",
        "/crm/mcp/.well-known/oauth-protected-resource",
    ] {
        rows.push(row("unknown path", search("2025-11-25").token(&token).target(path), 404, ""));
    }
    let allow = "GET, POST, DELETE, OPTIONS";
    for method in ["PUT", "PATCH", "HEAD", "QUERY"] {
        rows.push(row("method", Ask::new(method).token(&token), 405, "").header("allow", allow));
    }
    rows.push(row("GET without Accept", Ask::new("GET").token(&token), 406, ""));
    for host in ["evil.test", "gw.test.evil.test", "gw.test:8443", "127.0.0.1:1", "GW.TEST.", ""] {
        rows.push(row(
            "host",
            search("2025-11-25").token(&token).with("Host", host),
            if host.is_empty() { 400 } else { 421 },
            "",
        ));
    }
    for origin in ["https://evil.test", "null", "https://gw.test.evil.test", "http://gw.test", "https://gw.test:8443"] {
        rows.push(row("origin", search("2025-11-25").token(&token).header("Origin", origin), 403, ""));
        rows.push(row("origin, preflight", Ask::new("OPTIONS").header("Origin", origin), 403, ""));
        rows.push(row("origin, before the token", search("2025-11-25").header("Origin", origin), 403, ""));
    }
    let two =
        search("2025-11-25").token(&token).header("Origin", "https://gw.test").header("Origin", "https://gw.test");
    rows.push(row("two origins", two, 403, ""));
    run(&proxy, &upstream, rows).await;
}
