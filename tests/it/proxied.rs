//! Behind other proxies: whose address counts, and whose word for it.

use serde_json::{Value, json};

use crate::support::{Answer, Ask, Proxy, Setup, Upstream, json_answer, raw_answer, until};

const NEW: &str = "2026-07-28";
/// Open to one network, without a token.
const POLICY: &str = r#"
[[rule]]
id = "public"
tools = ["look"]
anonymous = true
when = "client.ip.startsWith('203.0.113.')"
[[rule]]
id = "write"
tools = ["put"]
scopes = ["crm:write"]
"#;

async fn answering() -> Upstream {
    let upstream = Upstream::answering(|heard| {
        let result = json!({ "resultType": "complete", "content": [{ "type": "text", "text": "seen" }] });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    });
    upstream.await
}

async fn start(upstream: &Upstream, keys: &str) -> Proxy {
    Setup::new(upstream.url()).policy(POLICY).server("schema = \"off\"").listener(keys).start().await
}

fn look() -> Ask {
    Ask::call(NEW, "look", &json!({}))
}

fn is_served(answer: &Answer, upstream: &Upstream) -> bool {
    let heard = upstream.take();
    for heard in &heard {
        for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            assert_eq!(heard.header(name), None, "{name} went upstream");
        }
    }
    assert_eq!(answer.status == 200, heard.len() == 1, "{answer:?}");
    answer.status == 200
}

fn last_address(proxy: &Proxy) -> Value {
    proxy.audit().last().unwrap()["client"]["ip"].clone()
}

#[tokio::test]
async fn the_client_a_trusted_proxy_names_is_the_client() {
    let upstream = answering().await;
    let proxy = start(&upstream, "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]").await;
    for (forwarded, address, served) in [
        (&["203.0.113.7"][..], "203.0.113.7", true),
        (&["203.0.113.7, 198.51.100.1"], "198.51.100.1", false),
        (&["198.51.100.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7", true),
        (&["203.0.113.7", "198.51.100.1"], "198.51.100.1", false),
        (&["not.an.address, 203.0.113.7:99"], "203.0.113.7", true),
        (&["2001:db8::1"], "2001:db8::1", false),
        (&[], "127.0.0.1", false),
    ] {
        let mut ask = look().header("X-Real-IP", "203.0.113.9").header("Forwarded", "for=203.0.113.9");
        for field in forwarded {
            ask = ask.header("X-Forwarded-For", field);
        }
        let answer = proxy.ask(&ask).await;
        assert_eq!(is_served(&answer, &upstream), served, "{forwarded:?} {answer:?}");
        assert_eq!(last_address(&proxy), address, "{forwarded:?}");
    }
    for forwarded in ["unknown", "203.0.113.7, _hidden", "203.0.113.7, 10.0.0.2, x"] {
        let answer = proxy.ask(&look().header("X-Forwarded-For", forwarded)).await;
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{forwarded}");
        assert_eq!(upstream.take().len(), 0);
    }
    let metrics = proxy.admin("/metrics").await.text().to_owned();
    assert!(metrics.contains("portcullis_errors_total{server=\"\",reason=\"client_unknown\"} 3"), "{metrics}");
}

/// One connection of a proxy carries the requests of many clients.
#[tokio::test]
async fn each_request_of_a_connection_has_its_own_client() {
    let upstream = answering().await;
    let proxy = start(&upstream, "trusted_proxies = [\"127.0.0.1\"]\nforwarded_header = \"forwarded\"").await;
    let mut client = proxy.client().await;
    for (forwarded, address) in [
        (Some("for=203.0.113.7;proto=https"), "203.0.113.7"),
        (Some("for=203.0.113.8"), "203.0.113.8"),
        (None, "127.0.0.1"),
        (Some("for=\"[2001:db8::1]:4711\""), "2001:db8::1"),
        (Some("for=203.0.113.7"), "203.0.113.7"),
    ] {
        let mut ask = look().header("X-Forwarded-For", "203.0.113.99");
        if let Some(forwarded) = forwarded {
            ask = ask.header("Forwarded", forwarded);
        }
        client.send(&ask.bytes()).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(is_served(&answer, &upstream), address.starts_with("203.0.113."), "{answer:?}");
        assert_eq!(last_address(&proxy), address);
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let upstream = answering().await;
    for keys in
        ["", "trusted_proxies = [\"10.0.0.0/8\"]", "trusted_proxies = [\"127.0.0.1\"]\nforwarded_header = \"off\""]
    {
        let proxy = start(&upstream, keys).await;
        for forwarded in ["203.0.113.7", "unknown"] {
            let ask = look().header("X-Forwarded-For", forwarded).header("Forwarded", &format!("for={forwarded}"));
            let answer = proxy.ask(&ask).await;
            assert!(!is_served(&answer, &upstream), "{keys}");
            assert_eq!((answer.status, last_address(&proxy)), (401, json!("127.0.0.1")), "{keys}");
        }
    }
}

#[tokio::test]
async fn a_reload_says_anew_whom_to_believe() {
    let upstream = answering().await;
    let proxy = start(&upstream, "trusted_proxies = [\"10.0.0.1\"]").await;
    let mut kept = proxy.client().await;
    let ask = look().header("X-Forwarded-For", "203.0.113.7");
    for served in [false, true, false] {
        kept.send(&ask.bytes()).await;
        assert_eq!(is_served(&kept.answer().await.unwrap(), &upstream), served);
        let (from, to) = if served { ("127.0.0.1\"]", "10.0.0.9\"]") } else { ("10.0.0.1\"]", "127.0.0.1\"]") };
        if proxy.folder.read("proxy.toml").contains(from) {
            proxy.reload((&format!("[\"{from}"), &format!("[\"{to}"))).await;
        }
    }
}

/// Callers without a token are counted by the client's address, not the proxy's.
#[tokio::test]
async fn clients_behind_a_proxy_are_counted_each() {
    let upstream = answering().await;
    let setup = Setup::new(upstream.url()).policy(POLICY).listener("trusted_proxies = [\"127.0.0.1\"]");
    let proxy = setup.server("schema = \"off\"\nanonymous = { rate = \"2/h\" }").start().await;
    let from = |address: &str| look().header("X-Forwarded-For", address);
    for _ in 0..2 {
        assert_eq!(proxy.ask(&from("203.0.113.7")).await.status, 200);
    }
    let refused = proxy.ask(&from("203.0.113.7")).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(proxy.ask(&from("203.0.113.8")).await.status, 200);
}

#[tokio::test]
async fn a_trace_has_the_client_that_is_named() {
    let (upstream, collector) = (answering().await, Upstream::answering(|_| raw_answer(200, "", b"")).await);
    let telemetry = format!("[telemetry]\notlp_endpoint = \"http://{}\"", collector.address);
    let setup = Setup::new(upstream.url()).policy(POLICY).listener("trusted_proxies = [\"127.0.0.1\"]");
    let proxy = setup.server("schema = \"off\"").tables(&telemetry).start().await;
    proxy.ask(&look().header("X-Forwarded-For", "203.0.113.7")).await;
    let sent = until("spans", async || collector.take().pop()).await;
    let has = |text: &str| memchr::memmem::find(&sent.body, text.as_bytes()).is_some();
    assert!(has("client.address") && has("203.0.113.7") && !has("client.port"));
}

/// A header of version 2 that names that client.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1], &4711_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &addresses[..]].concat()
}

/// The answer to `ask` on a connection that begins with `header`; `None` if it is closed.
async fn after(proxy: &Proxy, header: &[u8], ask: &Ask) -> Option<Answer> {
    let mut client = proxy.client().await;
    client.send(&[header, &ask.bytes()].concat()).await;
    client.answer().await
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

#[tokio::test]
async fn the_client_a_proxy_header_names_is_the_client() {
    let upstream = answering().await;
    for protocol in ["optional", "required"] {
        let proxy = start(&upstream, &format!("{TRUSTED}\nproxy_protocol = \"{protocol}\"")).await;
        // Whoever the proxy speaks for is not believed of others, and neither is nobody.
        let ask = look().header("X-Forwarded-For", "203.0.113.9");
        for (header, address) in [
            (&b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"[..], "203.0.113.7"),
            (b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 443\r\n", "198.51.100.1"),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (&binary([203, 0, 113, 8]), "203.0.113.8"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
        ] {
            let answer = after(&proxy, header, &ask).await.unwrap();
            assert_eq!(is_served(&answer, &upstream), address.starts_with("203.0.113."), "{address} {answer:?}");
            assert_eq!(last_address(&proxy), address);
        }
        // A trusted proxy behind another one is.
        let answer = after(&proxy, b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 443\r\n", &ask).await.unwrap();
        assert!(is_served(&answer, &upstream) && last_address(&proxy) == "203.0.113.9");
        let plain = after(&proxy, b"", &ask).await;
        assert_eq!(plain.is_some(), protocol == "optional");
        assert!(plain.is_none_or(|answer| is_served(&answer, &upstream) && last_address(&proxy) == "203.0.113.9"));
    }
}

#[tokio::test]
async fn a_proxy_header_that_is_wrong_ends_the_connection() {
    let upstream = answering().await;
    let proxy = start(&upstream, &format!("{TRUSTED}\nproxy_protocol = \"required\"")).await;
    let dgram = [&binary([203, 0, 113, 7])[..13], b"\x12\0\x0c", &[0; 12]].concat();
    let long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(), &[0; 4096]].concat();
    let headers: [&[u8]; 9] = [
        b"",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 99999\r\n",
        b"PROXY TCP4 203.0.113.7\n",
        b"PROXY tcp4 203.0.113.7 10.0.0.1 4711 443\r\n",
        b"proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
        b"\r\nPROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        &dgram,
        &long,
    ];
    for header in headers {
        assert!(after(&proxy, header, &look()).await.is_none(), "{:?}", String::from_utf8_lossy(header));
    }
    // A second header is no request.
    let twice = [binary([203, 0, 113, 7]), binary([203, 0, 113, 8])].concat();
    assert_eq!(after(&proxy, &twice, &look()).await.map(|answer| answer.status), Some(400));
    assert_eq!(upstream.take().len(), 0);
    let counted = format!("portcullis_connections_refused_total{{reason=\"proxy_header\"}} {}", headers.len());
    let told = async || proxy.admin("/metrics").await.text().contains(&counted).then_some(());
    until("the metric", told).await;
}

/// Who sends nothing is not waited for.
#[tokio::test]
async fn a_proxy_header_that_does_not_come_is_not_waited_for() {
    let upstream = answering().await;
    let limits = "limits = { header_timeout = \"200ms\", tls_timeout = \"200ms\" }";
    let proxy = start(&upstream, &format!("{TRUSTED}\nproxy_protocol = \"required\"\n{limits}")).await;
    for start in [&b""[..], b"P", b"PROXY TCP4 203.0.113.7 ", &binary([203, 0, 113, 7])[..20]] {
        let mut client = proxy.client().await;
        client.send(start).await;
        assert!(client.answer().await.is_none());
    }
}

#[tokio::test]
async fn nobody_else_may_send_a_proxy_header() {
    let upstream = answering().await;
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n";
    for (keys, answered) in [
        ("", true),
        (TRUSTED, true),
        ("trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = \"optional\"", true),
        ("trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = \"required\"", false),
    ] {
        let proxy = start(&upstream, keys).await;
        let answer = after(&proxy, header, &look()).await;
        // It is a malformed request, or that of nobody who may connect.
        assert_eq!(answer.map(|answer| answer.status), answered.then_some(400), "{keys}");
        assert_eq!(after(&proxy, b"", &look()).await.is_some(), answered, "{keys}");
        assert_eq!(upstream.take().len(), 0);
    }
}

#[tokio::test]
async fn a_client_has_only_so_many_connections() {
    let upstream = answering().await;
    let keys = format!("{TRUSTED}\nproxy_protocol = \"optional\"\nlimits = {{ connections_per_address = 2 }}");
    let proxy = start(&upstream, &keys).await;
    let open = async |host: u8| {
        let mut client = proxy.client().await;
        client.send(&[&binary([203, 0, 113, host])[..], &look().bytes()].concat()).await;
        client.answer().await.map(|_| client)
    };
    let held = [open(7).await, open(7).await];
    assert!(held.iter().all(Option::is_some));
    assert!(open(7).await.is_none(), "one more than it may have");
    assert!(open(8).await.is_some(), "nobody else's");
    for _ in 0..4 {
        assert!(after(&proxy, b"", &look()).await.is_some(), "nor the proxy's");
    }
    drop(held);
    until("a free place", async || open(7).await).await;
    let told = async || {
        let metrics = proxy.admin("/metrics").await.text().to_owned();
        let refused = metrics
            .lines()
            .find(|line| line.starts_with("portcullis_connections_refused_total{reason=\"connections_per_address\"}"));
        let open = metrics.lines().any(|line| line.starts_with("portcullis_connections "));
        (open && refused.is_some_and(|line| !line.ends_with(" 0"))).then_some(())
    };
    until("the metric", told).await;
}

/// Who tries out tokens is refused before they are looked at, and nobody else for it.
#[tokio::test]
async fn an_address_may_have_only_so_many_tokens_refused() {
    let upstream = answering().await;
    let proxy = start(&upstream, &format!("{TRUSTED}\nlimits = {{ refused_tokens = \"3/h\" }}")).await;
    let put =
        |address: &str, token: &str| Ask::call(NEW, "put", &json!({})).header("X-Forwarded-For", address).token(token);
    let [known, fresh, weak] = ["max", "ana", "kim"].map(|user| proxy.token(user));
    assert_eq!(proxy.ask(&put("203.0.113.7", &known)).await.status, 200);
    // What is no token at all, one without a signature, and one of another audience.
    let mut other = crate::support::token_of(&proxy.issuer, "max");
    other.insert("aud".to_owned(), json!("https://gw.test/other"));
    for token in ["x.y.z", "eyJhbGciOiJub25lIn0.e30.", &proxy.mint(&other)] {
        assert_eq!(proxy.ask(&put("203.0.113.7", token)).await.status, 401);
    }
    // A good one too, as nobody knows that before it is looked at.
    for token in ["x.y.z", &fresh] {
        let refused = proxy.ask(&put("203.0.113.7", token)).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (429, json!(-31429)), "{refused:?}");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(refused.header("www-authenticate"), None);
    }
    upstream.take();
    // Who is known there goes on, who has no token learns where to get one, and others are others.
    assert_eq!(proxy.ask(&put("203.0.113.7", &known)).await.status, 200);
    assert_eq!(proxy.ask(&look().header("X-Forwarded-For", "203.0.113.7")).await.status, 200);
    assert_eq!(proxy.ask(&put("203.0.113.8", &fresh)).await.status, 403);
    assert_eq!(upstream.take().len(), 2);
    // A reload makes nobody a stranger.
    proxy.reload(("workers = 1", "workers = 1\nallowed_hosts = [\"x.test\"]")).await;
    assert_eq!(proxy.ask(&put("203.0.113.7", &known)).await.status, 200);
    assert_eq!(proxy.ask(&put("203.0.113.7", &weak)).await.status, 429);
    // The proxy itself speaks for many.
    let own = |token: &str| Ask::call(NEW, "put", &json!({})).token(token);
    for _ in 0..5 {
        assert_eq!(proxy.ask(&own("x.y.z")).await.status, 401);
    }
    let lines = proxy.audit();
    assert!(lines.iter().any(|line| line["error"] == "too_many_refused" && line["client"]["ip"] == "203.0.113.7"));
    let metrics = proxy.admin("/metrics").await.text().to_owned();
    assert!(metrics.contains("portcullis_auth_total{issuer=\"_OTHER\",result=\"too_many_refused\"} 3"), "{metrics}");
}

#[tokio::test]
async fn without_a_limit_tokens_are_refused_one_by_one() {
    let upstream = answering().await;
    let proxy = start(&upstream, &format!("{TRUSTED}\nlimits = {{ refused_tokens = \"off\" }}")).await;
    for _ in 0..400 {
        let ask = Ask::call(NEW, "put", &json!({})).header("X-Forwarded-For", "203.0.113.7").token("x.y.z");
        assert_eq!(proxy.ask(&ask).await.status, 401);
    }
}
