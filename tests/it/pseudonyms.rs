//! Pseudonyms and sealed URIs over the wire: what the client gets, and what the server hears when they come back.

use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer};

const OLD: &str = "2025-11-25";
const NEW: &str = "2026-07-28";
const MAIL: &str = "ana.lopez@example.com";
const PHONE: &str = "+14155550132";

const POLICY: &str = r#"
[[rule]]
id = "use"
tools = ["*"]
resources = ["crm://**"]
[[mask]]
id = "contacts"
on = ["result"]
entities = ["EMAIL_ADDRESS", "PHONE_NUMBER"]
action = "tokenize"
restore = [{ tool = "send_mail", args = ["/to", "/cc/*"], entities = ["EMAIL_ADDRESS"] }]
unless_scopes = ["pii:read"]
except = [{ tools = ["get_link"], fields = ["/link"] }]
[[mask]]
id = "up"
on = ["arguments"]
entities = ["EMAIL_ADDRESS", "PHONE_NUMBER", "SECRET"]
[[mask]]
id = "only-notes"
on = ["result"]
tools = ["get_notes"]
pattern = 'EMP-\d{6}'
label = "EMPLOYEE_ID"
action = "hash"
"#;

/// A server that says what it is asked to say, and what it knows.
async fn upstream() -> Upstream {
    Upstream::answering(|heard| {
        let message = heard.json();
        let params = &message["params"];
        let data = match params["name"].as_str() {
            Some("get_contact" | "get_notes") => json!({ "mail": MAIL, "phone": PHONE, "id": "EMP-123456" }),
            Some("get_link") => json!({ "link": format!("https://x.test/?to={MAIL}"), "other": MAIL }),
            _ => json!({ "said": params["arguments"], "more": format!("sent to {}", params["arguments"]["to"].as_str().unwrap_or("nobody")) }),
        };
        let result = match message["method"].as_str().unwrap() {
            "resources/read" => json!({ "contents": [{ "uri": params["uri"], "text": "x" }] }),
            "resources/list" => json!({ "resources": [{ "uri": format!("crm://people/{MAIL}"), "name": "ana" }, { "uri": "crm://plain", "name": "plain" }] }),
            _ => json!({ "content": [{ "type": "text", "text": data.to_string() }], "structuredContent": data }),
        };
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await
}

async fn start(upstream: &Upstream) -> Proxy {
    Setup::new(upstream.url()).policy(POLICY).start().await
}

async fn call(proxy: &Proxy, token: &str, revision: &str, tool: &str, arguments: &Value) -> Value {
    let answer = proxy.ask(&Ask::call(revision, tool, arguments).token(token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.message()["result"].clone()
}

#[tokio::test]
async fn a_pseudonym_opens_for_its_owner_where_a_grant_says_so_and_nowhere_else() {
    let upstream = upstream().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for revision in [OLD, NEW] {
        let seen = call(&proxy, &ana, revision, "get_contact", &json!({})).await;
        let data = &seen["structuredContent"];
        let (mail, phone) = (data["mail"].as_str().unwrap(), data["phone"].as_str().unwrap());
        assert!(mail.starts_with("tok_email_address_") && phone.starts_with("tok_phone_number_"), "{data}");
        assert_eq!(seen["content"][0]["text"], data.to_string(), "both copies agree");
        assert_eq!(call(&proxy, &ana, revision, "get_contact", &json!({})).await, seen);
        upstream.take();

        // Granted: the server gets the value, and the answer does not tell it.
        let args = json!({ "to": mail, "cc": [mail, "plain"], "body": format!("to {mail}"), "bcc": mail });
        let answer = call(&proxy, &ana, revision, "send_mail", &args).await;
        let heard = upstream.take().pop().unwrap();
        let wanted = json!({ "to": MAIL, "cc": [MAIL, "plain"], "body": format!("to {mail}"), "bcc": mail });
        assert_eq!(heard.json()["params"]["arguments"], wanted);
        assert!(!answer.to_string().contains("ana.lopez"), "{answer}");
        assert_eq!(answer["structuredContent"]["said"]["to"], mail);
        assert_eq!(answer["structuredContent"]["more"], format!("sent to {mail}"));

        // Another tool, another entity: sealed as it came.
        let other = json!({ "to": mail });
        call(&proxy, &ana, revision, "other_tool", &other).await;
        assert_eq!(upstream.take().pop().unwrap().json()["params"]["arguments"], other);
        let other = json!({ "to": phone });
        call(&proxy, &ana, revision, "send_mail", &other).await;
        assert_eq!(upstream.take().pop().unwrap().json()["params"]["arguments"], other);

        // Another principal: not opened, not sent, and told so.
        let refused = call(&proxy, &max, revision, "send_mail", &json!({ "to": mail })).await;
        assert_eq!(refused["isError"], true);
        let text = refused["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("Argument /to holds a pseudonym that does not open"), "{text}");
        assert!(upstream.take().iter().all(|heard| heard.json()["method"] != "tools/call"));
        let other = call(&proxy, &max, revision, "get_contact", &json!({})).await;
        assert_ne!(other["structuredContent"]["mail"], mail);
    }
    proxy.assert_not_kept("ana.lopez").await;
}

#[tokio::test]
async fn what_the_caller_says_itself_is_redacted_in_the_answer() {
    let upstream = upstream().await;
    let proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    for said in
        [json!({ "q": MAIL }), json!({ "q": MAIL.to_uppercase() }), json!({ "a": "ana.lopez", "b": "@example.com" })]
    {
        let seen = call(&proxy, &ana, OLD, "get_contact", &said).await;
        assert_eq!(seen["structuredContent"]["mail"], "[EMAIL_ADDRESS]", "{said}");
        assert!(seen["structuredContent"]["phone"].as_str().unwrap().starts_with("tok_phone_number_"));
    }
}

#[tokio::test]
async fn a_header_that_repeats_a_pseudonym_says_what_it_stands_for() {
    let schema = json!({ "type": "object", "properties": { "to": { "type": "string", "x-mcp-header": "To" } } });
    let upstream = upstream().await;
    upstream
        .offer(&json!([{ "name": "send_mail", "inputSchema": schema }, { "name": "get_contact", "inputSchema": {} }]));
    let proxy = start(&upstream).await;
    let ana = proxy.token("ana");
    let seen = call(&proxy, &ana, NEW, "get_contact", &json!({})).await;
    let mail = seen["structuredContent"]["mail"].as_str().unwrap();
    upstream.take();
    let ask = Ask::call(NEW, "send_mail", &json!({ "to": mail })).header("Mcp-Param-To", mail).token(&ana);
    assert_eq!(proxy.ask(&ask).await.status, 200);
    let heard = upstream.take().pop().unwrap();
    assert_eq!(heard.header("mcp-param-to").as_deref(), Some(MAIL));
    assert_eq!(heard.json()["params"]["arguments"]["to"], MAIL);
    let lying = Ask::call(NEW, "send_mail", &json!({ "to": mail })).header("Mcp-Param-To", MAIL).token(&ana);
    assert_eq!(proxy.ask(&lying.with("Mcp-Param-To", "other@example.com")).await.status, 400);
}

#[tokio::test]
async fn masks_choose_by_caller_tool_and_field() {
    let upstream = upstream().await;
    let proxy = start(&upstream).await;
    let mut claims = crate::support::token_of(&proxy.issuer, "ana");
    claims.insert("scope".to_owned(), json!("pii:read"));
    let reader = proxy.mint(&claims);
    let seen = call(&proxy, &reader, OLD, "get_contact", &json!({})).await;
    assert_eq!(seen["structuredContent"], json!({ "mail": MAIL, "phone": PHONE, "id": "EMP-123456" }));
    let audit = proxy.audit();
    let masked = &audit.last().unwrap()["masked"];
    assert!(
        masked.as_array().unwrap().iter().any(|found| found["action"] == "shown" && found["entity"] == "EMAIL_ADDRESS"),
        "{masked}"
    );

    let ana = proxy.token("ana");
    let notes = call(&proxy, &ana, OLD, "get_notes", &json!({})).await;
    assert!(notes["structuredContent"]["id"].as_str().unwrap().starts_with("EMPLOYEE_ID:"), "{notes}");
    let contact = call(&proxy, &ana, OLD, "get_contact", &json!({})).await;
    assert_eq!(contact["structuredContent"]["id"], "EMP-123456");

    let link = call(&proxy, &ana, OLD, "get_link", &json!({})).await;
    let data = &link["structuredContent"];
    assert_eq!(data["link"], format!("https://x.test/?to={MAIL}"));
    assert!(data["other"].as_str().unwrap().starts_with("tok_email_address_"));
    assert_eq!(link["content"][0]["text"], data.to_string());
}

#[tokio::test]
async fn a_uri_that_holds_a_value_is_sealed_and_can_be_used() {
    let upstream = upstream().await;
    let proxy = start(&upstream).await;
    let (ana, max) = (proxy.token("ana"), proxy.token("max"));
    for revision in [OLD, NEW] {
        let list = proxy.ask(&Ask::of(revision, "resources/list", &json!({})).token(&ana)).await.message();
        let resources = &list["result"]["resources"];
        let sealed = resources[0]["uri"].as_str().unwrap();
        assert!(sealed.starts_with("sealed:"), "{resources}");
        assert_eq!(resources[1]["uri"], "crm://plain");
        upstream.take();
        let read = Ask::of(revision, "resources/read", &json!({ "uri": sealed })).token(&ana);
        let answer = proxy.ask(&read).await.message();
        let heard = upstream.take().pop().unwrap();
        assert_eq!(heard.json()["params"]["uri"], format!("crm://people/{MAIL}"));
        if revision == NEW {
            assert_eq!(heard.header("mcp-name"), Some(format!("crm://people/{MAIL}")));
        }
        assert_eq!(answer["result"]["contents"][0]["uri"], sealed);
        // Nobody else's, and no way around the rules: what is denied is denied in the caller's own words.
        let foreign = Ask::of(revision, "resources/read", &json!({ "uri": sealed })).token(&max);
        let answer = proxy.ask(&foreign).await;
        assert!(answer.message()["error"].is_object() && !answer.text().contains("ana.lopez"), "{answer:?}");
        assert!(upstream.take().is_empty());
    }
    proxy.assert_not_kept("ana.lopez").await;
}

#[tokio::test]
async fn a_uri_that_says_a_value_in_base64_is_sealed_too() {
    let encoded = data_encoding::BASE64.encode(format!("mail {MAIL} now").as_bytes());
    let uris = [format!("data:text/plain;base64,{encoded}"), format!("DATA:text/plain; BASE64,{encoded}")];
    let items: Vec<Value> = uris.iter().map(|uri| json!({ "uri": uri, "name": "x" })).collect();
    let upstream = Upstream::answering(move |heard| {
        let result = json!({ "resources": items });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let policy = POLICY.replace("\"crm://**\"", "\"**\"");
    let proxy = Setup::new(upstream.url()).policy(policy).start().await;
    let list = proxy.ask(&Ask::of(OLD, "resources/list", &json!({})).token(&proxy.token("ana"))).await.message();
    for (at, uri) in uris.iter().enumerate() {
        let shown = list["result"]["resources"][at]["uri"].as_str().unwrap();
        assert!(shown.starts_with("sealed:"), "{uri} is {shown}");
    }
}
