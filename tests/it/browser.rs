//! Browsers and discovery: preflight, what a page may read, metadata documents; and heads that never reach a handler.

use serde_json::json;

use crate::support::{Answer, Ask, Setup, Upstream};

const ALLOWED: &str = "authorization, dpop, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, \
                       mcp-name, last-event-id, traceparent, tracestate, baggage";
const EXPOSED: &str = "www-authenticate, mcp-session-id, mcp-protocol-version, retry-after, x-request-id, dpop-nonce";
const PAGE: &str = "http://localhost:6274";
const METADATA: &str = "/.well-known/oauth-protected-resource";

async fn proxy(upstream: &Upstream, servers: &str) -> crate::support::Proxy {
    let cors = format!("[cors]\nallow_origins = [\"{PAGE}\"]\n{servers}");
    Setup::new(upstream.url()).tables(&cors).start().await
}

fn reads(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{answer:?}");
    assert_eq!(answer.header("access-control-expose-headers"), Some(EXPOSED), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("Origin"), "{answer:?}");
}

#[tokio::test]
async fn a_listed_page_may_ask_first_without_a_token() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    let ask = Ask::new("OPTIONS")
        .header("Origin", PAGE)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,Mcp-Param-Region, x-evil,mcp-param-a b");
    let answer = proxy.ask(&ask).await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, DELETE, OPTIONS"));
    let allowed = format!("{ALLOWED}, mcp-param-region");
    assert_eq!(answer.header("access-control-allow-headers"), Some(allowed.as_str()));
    assert_eq!(answer.header("access-control-max-age"), Some("7200"));
    reads(&answer);
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test]
async fn a_listed_page_reads_answers_and_refusals() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    let call = Ask::call("2026-07-28", "search_contacts", &json!({})).header("Origin", PAGE);
    let refused = proxy.ask(&call).await;
    assert_eq!(refused.status, 401);
    reads(&refused);
    let answered = proxy.ask(&call.token(&proxy.token("ana"))).await;
    assert_eq!(answered.status, 200);
    reads(&answered);
    assert_eq!(upstream.take().len(), 1);
    // Without a page nothing is said about pages.
    let plain = proxy.ask(&Ask::new("GET")).await;
    assert!(plain.headers.iter().all(|(name, _)| !name.starts_with("access-control") && name != "vary"), "{plain:?}");
}

#[tokio::test]
async fn one_server_is_described_at_its_path_and_at_the_root() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    let document = json!({
        "resource": "https://gw.test/crm/mcp",
        "authorization_servers": [proxy.issuer.url()],
        "scopes_supported": ["crm:read"],
        "bearer_methods_supported": ["header"],
    });
    for path in [format!("{METADATA}/crm/mcp"), METADATA.to_owned()] {
        for origin in [None, Some("https://evil.test")] {
            let ask = Ask::new("GET").target(&path).header("X-Forwarded-Host", "evil.test");
            let ask = origin.map_or(ask.clone(), |origin| ask.header("Origin", origin));
            let answer = proxy.ask(&ask).await;
            assert_eq!(answer.status, 200, "{path} {answer:?}");
            assert_eq!(answer.json(), document, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.header("cache-control"), Some("max-age=300"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        let head = proxy.ask(&Ask::new("HEAD").target(&path)).await;
        assert_eq!((head.status, head.text()), (200, ""));
        let preflight = proxy.ask(&Ask::new("OPTIONS").target(&path).header("Origin", "https://evil.test")).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
        let post = proxy.ask(&Ask::new("POST").target(&path)).await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    assert_eq!(proxy.ask(&Ask::new("GET").target(&format!("{METADATA}/wiki/mcp"))).await.status, 404);
    assert_eq!(upstream.take().len(), 0);
}

/// Clients look for other documents first, pages among them: they learn that there are none, and nothing else.
#[tokio::test]
async fn a_page_can_read_that_there_is_no_document() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/crm/mcp",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/",
    ] {
        for origin in [None, Some("https://evil.test"), Some(PAGE)] {
            let from = |method| {
                let ask = Ask::new(method).target(path).header("MCP-Protocol-Version", "2025-11-25");
                origin.map_or(ask.clone(), |origin| ask.header("Origin", origin))
            };
            let (open, answer) = (if origin == Some(PAGE) { PAGE } else { "*" }, proxy.ask(&from("GET")).await);
            assert_eq!((answer.status, answer.text()), (404, r#"{"error":"not_found"}"#), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("access-control-allow-origin"), Some(open));
            let asked = from("OPTIONS").header("Access-Control-Request-Headers", "mcp-protocol-version");
            let preflight = proxy.ask(&asked).await;
            assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some(open)));
        }
    }
    for path in ["/.well-known", "/.well-knownx/a", "/crm/mcp/.well-known/a", "/other"] {
        let answer = proxy.ask(&Ask::new("GET").target(path)).await;
        assert_eq!((answer.status, answer.text(), answer.header("access-control-allow-origin")), (404, "", None));
    }
    let other = proxy.ask(&Ask::new("GET").target("/.well-known/a").without("Host").header("Host", "evil.test")).await;
    assert_eq!(other.status, 421);
    // Whoever makes up paths makes no labels.
    let metrics = proxy.admin("/metrics").await.text().to_owned();
    assert!(!metrics.contains("openid-configuration"), "{metrics}");
}

#[tokio::test]
async fn two_servers_are_described_at_their_paths_only() {
    let upstream = Upstream::plain().await;
    let wiki = format!(
        "[servers.wiki]\npath = \"/wiki/mcp\"\nupstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n\
         resource_name = \"The wiki\"\nscopes_advertised = [\"wiki:read\"]\n",
        upstream.url()
    );
    let proxy = proxy(&upstream, &wiki).await;
    assert_eq!(proxy.ask(&Ask::new("GET").target(METADATA)).await.status, 404);
    let crm = proxy.ask(&Ask::new("GET").target(&format!("{METADATA}/crm/mcp"))).await.json();
    let wiki = proxy.ask(&Ask::new("GET").target(&format!("{METADATA}/wiki/mcp"))).await.json();
    assert_eq!(crm["resource"], "https://gw.test/crm/mcp");
    assert_eq!(wiki["resource"], "https://gw.test/wiki/mcp");
    assert_eq!(wiki["resource_name"], "The wiki");
    assert_eq!(wiki["scopes_supported"], json!(["wiki:read"]));
    let challenge = proxy.ask(&Ask::new("POST").target("/wiki/mcp")).await;
    let expected = format!("Bearer resource_metadata=\"https://gw.test{METADATA}/wiki/mcp\", scope=\"wiki:read\"");
    assert_eq!(challenge.header("www-authenticate"), Some(expected.as_str()));
    // A token of one opens the other no more than none.
    let token = proxy.token("ana");
    let other = proxy.ask(&Ask::legacy("tools/list", &json!({})).token(&token).target("/wiki/mcp")).await;
    assert_eq!(other.status, 401);
    assert_eq!(upstream.take().len(), 0);
}

/// The guard answers these itself, in one form, and closes.
#[tokio::test]
async fn heads_that_are_too_large_or_have_two_readings_end_the_connection() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    let token = proxy.token("ana");
    let good = Ask::legacy("ping", &json!({})).token(&token);
    let many = (0..101).fold(good.clone(), |ask, at| ask.header(&format!("X-{at}"), "1"));
    let second = || good.clone().header("Host", "gw.test");
    let rows: [(&str, Vec<u8>, &str); 9] = [
        ("too many fields", many.bytes(), "431 Request Header Fields Too Large"),
        ("too long", good.clone().header("X", &"x".repeat(33 * 1024)).bytes(), "431 Request Header Fields Too Large"),
        ("two hosts", second().bytes(), "400 Bad Request"),
        ("no host", good.clone().without("Host").bytes(), "400 Bad Request"),
        ("length and chunks", good.clone().header("Transfer-Encoding", "chunked").bytes(), "400 Bad Request"),
        ("declared hop by hop", good.clone().header("Connection", "close, authorization").bytes(), "400 Bad Request"),
        ("expectation", good.clone().header("Expect", "the worst").bytes(), "417 Expectation Failed"),
        ("upgrade", good.clone().header("Upgrade", "websocket").bytes(), "400 Bad Request"),
        ("a tunnel", Ask { method: "CONNECT", ..good.clone() }.target("gw.test:443").bytes(), "400 Bad Request"),
    ];
    for (name, bytes, line) in rows {
        let mut client = proxy.client().await;
        client.send(&bytes).await;
        client.send(&good.bytes()).await;
        client.finish().await;
        let answer = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {line}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"), "{name}");
    }
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_or_breaks_off_is_not_waited_for() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).listener("limits = { body_timeout = \"100ms\" }").start().await;
    let ask = Ask::legacy("ping", &json!({})).token(&proxy.token("ana"));
    let whole = ask.bytes();
    let mut slow = proxy.client().await;
    slow.send(&whole[..whole.len() - 1]).await;
    let answer = slow.answer().await.unwrap();
    proxy.check(&answer);
    assert_eq!(answer.status, 408);
    assert_eq!(
        answer.text(),
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"The request body did not arrive in time"}}"#
    );
    let mut broken = proxy.client().await;
    broken.send(&whole[..whole.len() - 1]).await;
    broken.finish().await;
    let rest = broken.rest().await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test]
async fn each_request_of_a_connection_shows_its_own_credential() {
    let upstream = Upstream::plain().await;
    let proxy = proxy(&upstream, "").await;
    let with = Ask::call("2026-07-28", "search_contacts", &json!({})).token(&proxy.token("ana"));
    let mut client = proxy.client().await;
    let both = [with.bytes(), with.clone().without("Authorization").bytes(), with.bytes()].concat();
    client.send(&both).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = client.answer().await.unwrap();
        proxy.check(&answer);
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 401, 200]);
    assert_eq!(upstream.take().len(), 2);
}
