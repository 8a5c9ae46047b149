//! What is kept for a caller is of one principal at one server: neither the same name at another issuer nor the same caller
//! at another server gets anything of it.

use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer, token_of};

/// Two servers behind two issuers, at one upstream; ana of each issuer, with a token for both servers.
struct Two {
    proxy: Proxy,
    here: String,
    there: String,
}

const POLICY: &str = r#"
[[rule]]
id = "use"
tools = ["*"]
resources = ["crm://**"]
issuer = ["corp", "other"]
[[mask]]
id = "contacts"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "tokenize"
restore = [{ tool = "send_mail", args = ["/to"], entities = ["EMAIL_ADDRESS"] }]
"#;

async fn start(upstream: &Upstream) -> Two {
    let other = Setup::new_issuer().await;
    let server = |name: &str| {
        format!(
            "[servers.{name}]\npath = \"/{name}/mcp\"\nupstream = \"{}\"\npolicies = [\"both.toml\"]\n\
             issuers = [\"corp\", \"other\"]\naudiences = [\"https://gw.test/crm/mcp\"]\n",
            upstream.url()
        )
    };
    let tables = format!(
        "[issuers.other]\nissuer = \"{}\"\ninsecure_loopback = true\n{}{}",
        other.url(),
        server("one"),
        server("two")
    );
    let proxy = Setup::new(upstream.url()).file("both.toml", POLICY).tables(&tables).start().await;
    let mut claims = token_of(&proxy.issuer, "ana");
    let here = proxy.mint(&claims);
    claims.insert("iss".into(), json!(other.url()));
    let there = proxy.keep_secret(other.mint_claims(&claims).unwrap());
    Two { proxy, here, there }
}

#[tokio::test]
async fn sessions_are_of_one_principal_on_one_server() {
    let upstream = Upstream::answering(|heard| {
        let id = heard.id();
        let body = match heard.json()["method"].as_str() {
            Some("initialize") => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}},"serverInfo":{{"name":"u","version":"1"}}}}}}"#
                );
                return crate::support::raw_answer(200, "Content-Type: application/json\r\nMcp-Session-Id: theirs\r\n", body.as_bytes());
            }
            Some("tools/list") => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}"#),
            _ => return crate::support::raw_answer(202, "", b""),
        };
        json_answer(200, &body)
    })
    .await;
    let two = start(&upstream).await;
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let opened = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&two.here).target("/one/mcp");
    let answer = two.proxy.ask(&opened).await;
    let session = answer.header("mcp-session-id").unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    upstream.take();
    let list =
        |token: &str, path: &str| Ask::legacy("tools/list", &json!({})).token(token).session(&session).target(path);
    for (name, ask) in [
        ("the same name at another issuer", list(&two.there, "/one/mcp")),
        ("the same caller at another server", list(&two.here, "/two/mcp")),
        ("both", list(&two.there, "/two/mcp")),
    ] {
        assert_eq!(two.proxy.ask(&ask).await.status, 404, "{name}");
        assert_eq!(upstream.take().len(), 0, "{name}");
    }
    assert_eq!(two.proxy.ask(&list(&two.here, "/one/mcp")).await.status, 200);
}

/// A verdict about a token is found again by the same bytes on the same server only: what one server lets pass, another
/// decides anew.
#[tokio::test]
async fn verdicts_are_of_one_principal_on_one_server() {
    let upstream = Upstream::plain().await;
    let two = start(&upstream).await;
    let call = |token: &str, path: &str| Ask::call("2026-07-28", "get_contact", &json!({})).token(token).target(path);
    for _ in 0..3 {
        for path in ["/one/mcp", "/two/mcp"] {
            for token in [&two.here, &two.there] {
                assert_eq!(two.proxy.ask(&call(token, path)).await.status, 200, "{path}");
            }
        }
        // Known elsewhere by now, and not accepted here: this server takes one issuer.
        assert_eq!(two.proxy.ask(&call(&two.there, "/crm/mcp")).await.status, 401);
    }
    let seen = two.proxy.audit();
    let subjects: Vec<(&Value, &Value)> = seen
        .iter()
        .filter(|line| line["event"] == "call")
        .map(|line| (&line["subject"]["iss"], &line["subject"]["sub"]))
        .collect();
    assert_eq!(subjects.len(), 12);
    for (at, (iss, sub)) in subjects.iter().enumerate() {
        assert_eq!(*sub, "ana");
        assert_eq!(*iss == two.proxy.issuer.url(), at % 2 == 0, "{at}: {iss}");
    }
}

#[tokio::test]
async fn pseudonyms_are_of_one_principal_on_one_server() {
    const MAIL: &str = "ana.lopez@example.com";
    let upstream = Upstream::answering(|heard| {
        let result = json!({ "content": [{ "type": "text", "text": MAIL }] });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await;
    let two = start(&upstream).await;
    let places = [(&two.here, "/one/mcp"), (&two.there, "/one/mcp"), (&two.here, "/two/mcp")];
    let mut held = Vec::new();
    for (token, path) in places {
        let answer = two.proxy.ask(&Ask::call("2026-07-28", "get_contact", &json!({})).token(token).target(path)).await;
        let text = answer.message()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("tok_email_address_"), "{text}");
        held.push(text);
    }
    upstream.take();
    for (at, (token, path)) in places.into_iter().enumerate() {
        for (of, pseudonym) in held.iter().enumerate() {
            assert!(at == of || *pseudonym != held[at], "two have one name");
            let ask = Ask::call("2026-07-28", "send_mail", &json!({ "to": pseudonym })).token(token).target(path);
            let answer = two.proxy.ask(&ask).await;
            let heard = upstream.take();
            if at == of {
                assert_eq!(heard[0].json()["params"]["arguments"]["to"], MAIL);
            } else {
                assert_eq!(answer.message()["result"]["isError"], true, "{at} {of}: {answer:?}");
                assert!(heard.iter().all(|heard| heard.json()["method"] != "tools/call"), "{at} {of}");
            }
        }
    }
}
