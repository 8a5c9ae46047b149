//! Traces: what a collector gets, what an upstream is told, and that neither a collector nor its absence is felt.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use portcullis::server::drain::Signal;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream, json_answer, raw_answer, until};

const META: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const HEADER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const POLICY: &str = r#"
[policy]
name = "traced"
[[rule]]
id = "use"
tools = ["look*"]
[[rule]]
id = "no-drop"
tools = ["drop"]
effect = "deny"
[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
"#;
/// In arguments, in the result, and nowhere else.
const SECRETS: [&str; 3] = ["ana@private.example", "s3cr3t-argument", "s3cr3t-result"];

struct Traced {
    proxy: Proxy,
    upstream: Upstream,
    collector: Upstream,
}

async fn collector() -> Upstream {
    Upstream::answering(|_| raw_answer(200, "Content-Type: application/x-protobuf\r\n", b"")).await
}

fn setup(upstream: &Upstream, collector: SocketAddr, keys: &str) -> Setup {
    let telemetry = format!("[telemetry]\notlp_endpoint = \"http://{collector}\"\n{keys}");
    Setup::new(upstream.url()).policy(POLICY).server("schema = \"off\"").tables(&telemetry)
}

async fn answering() -> Upstream {
    Upstream::answering(|heard| {
        let text = json!({ "type": "text", "text": "s3cr3t-result ana@private.example" });
        let result = json!({ "resultType": "complete", "content": [text] });
        json_answer(200, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id()))
    })
    .await
}

impl Traced {
    async fn start(keys: &str) -> Self {
        let (upstream, collector) = (answering().await, collector().await);
        let proxy = setup(&upstream, collector.address, keys).start().await;
        Self { proxy, upstream, collector }
    }

    /// Drains the proxy; gives what the collector has got, and that none of it holds a secret.
    async fn spans(mut self) -> Vec<Span> {
        self.proxy.signal(Signal::Terminate).await;
        self.proxy.ended().await;
        let mut spans = Vec::new();
        for heard in self.collector.take() {
            assert_eq!(heard.line(), "POST /v1/traces HTTP/1.1");
            assert_eq!(heard.header("content-type").as_deref(), Some("application/x-protobuf"));
            for secret in SECRETS {
                assert!(memchr::memmem::find(&heard.body, secret.as_bytes()).is_none(), "`{secret}` in a span");
            }
            let request = ExportTraceServiceRequest::decode(&*heard.body).unwrap();
            for resource in request.resource_spans {
                let about = attributes(&resource.resource.unwrap().attributes);
                assert_eq!(about["service.name"], "portcullis");
                assert_eq!(about["service.version"], env!("CARGO_PKG_VERSION"));
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }
}

fn attributes(written: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::BoolValue(flag) => json!(flag),
        any_value::Value::IntValue(number) => json!(number),
        other => panic!("{other:?}"),
    };
    let all: BTreeMap<_, _> = written.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect();
    assert_eq!(all.len(), written.len(), "an attribute twice");
    all
}

/// A part of a `traceparent`: 1 is the trace, 2 the parent span.
fn part(traceparent: &str, at: usize) -> &str {
    traceparent.split('-').nth(at).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn call(tool: &str, meta: &Value) -> Ask {
    let arguments = json!({ "to": "ana@private.example", "note": "s3cr3t-argument" });
    Ask::modern("tools/call", &json!({ "name": tool, "arguments": arguments, "_meta": meta }))
}

#[tokio::test]
async fn a_call_is_two_spans_and_the_upstream_is_told_of_ours() {
    let traced = Traced::start("").await;
    let token = traced.proxy.token("ana");
    let meta = json!({ "traceparent": META, "tracestate": "vendor=1", "baggage": "a=b" });
    let ask = call("look", &meta).token(&token).header("traceparent", HEADER).header("User-Agent", "it/1");
    let answer = traced.proxy.ask(&ask).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let heard = traced.upstream.take().pop().unwrap();
    let lines = traced.proxy.audit();
    let port = traced.upstream.address.port();
    let spans = traced.spans().await;
    let [server, client] = &spans[..] else { panic!("{spans:#?}") };
    // One trace, the client's; its message goes before the header, which is linked.
    assert_eq!(
        (hex(&server.trace_id), hex(&server.parent_span_id)),
        (part(META, 1).to_owned(), part(META, 2).to_owned())
    );
    assert_eq!(
        (hex(&server.links[0].trace_id), hex(&server.links[0].span_id)),
        (part(HEADER, 1).into(), part(HEADER, 2).into())
    );
    assert_eq!((&client.trace_id, &client.parent_span_id), (&server.trace_id, &server.span_id));
    assert_eq!([server.kind, client.kind], [2, 3]);
    assert_eq!([&*server.name, &*client.name], ["tools/call look"; 2]);
    assert_eq!([server.flags, client.flags], [0x301, 0x101]);
    assert!(server.status.is_none() && client.status.is_none());
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    // What the upstream hears names the span in which it is asked.
    let ours = format!("00-{}-{}-01", hex(&client.trace_id), hex(&client.span_id));
    let told = &heard.json()["params"]["_meta"];
    assert_eq!(told["traceparent"], ours);
    assert_eq!((&told["tracestate"], &told["baggage"]), (&json!("vendor=1"), &json!("a=b")));
    assert_eq!(heard.header("traceparent").as_deref(), Some(&*ours));
    // What is said of it.
    let about = attributes(&server.attributes);
    for (name, value) in [
        ("mcp.method.name", json!("tools/call")),
        ("gen_ai.tool.name", json!("look")),
        ("gen_ai.operation.name", json!("execute_tool")),
        ("mcp.protocol.version", json!("2026-07-28")),
        ("jsonrpc.request.id", json!("7")),
        ("http.request.method", json!("POST")),
        ("http.response.status_code", json!(200)),
        ("http.route", json!("/crm/mcp")),
        ("network.protocol.version", json!("1.1")),
        ("client.address", json!("127.0.0.1")),
        ("user_agent.original", json!("it/1")),
        ("portcullis.server", json!("crm")),
        ("portcullis.request_id", json!(answer.header("x-request-id").unwrap())),
    ] {
        assert_eq!(about[name], value, "{name}");
    }
    assert!(!about.contains_key("error.type"), "{about:?}");
    let about = attributes(&client.attributes);
    assert_eq!((&about["server.address"], &about["server.port"]), (&json!("127.0.0.1"), &json!(port)));
    // What was decided and masked.
    let events: Vec<_> =
        server.events.iter().map(|event| (event.name.as_str(), attributes(&event.attributes))).collect();
    assert_eq!(events[0].0, "policy.decision");
    assert_eq!(events[0].1["portcullis.policy.decision"], "allow");
    assert_eq!(events[0].1["portcullis.policy.rule"], "use");
    let masked: Vec<_> = events[1..].iter().map(|(name, about)| (*name, &about["portcullis.mask.direction"])).collect();
    assert_eq!(masked, [("mask.applied", &json!("arguments")), ("mask.applied", &json!("result"))]);
    // The audit names the same trace.
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["trace_id"] == part(META, 1)), "{lines:?}");
}

#[tokio::test]
async fn what_is_refused_is_one_span_that_says_why() {
    let traced = Traced::start("").await;
    let token = traced.proxy.token("ana");
    traced.proxy.ask(&call("drop", &json!({})).token(&token).header("traceparent", HEADER)).await;
    traced.proxy.ask(&call("ana@private.example", &json!({})).token(&token)).await;
    assert_eq!(traced.proxy.ask(&call("look", &json!({}))).await.status, 401);
    assert!(traced.upstream.take().is_empty());
    let spans = traced.spans().await;
    let [denied, unknown, nobody] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((hex(&denied.trace_id), hex(&denied.parent_span_id)), (part(HEADER, 1).into(), part(HEADER, 2).into()));
    // A name that only a caller has said is no part of a span's name.
    assert_eq!([&*denied.name, &*unknown.name, &*nobody.name], ["tools/call", "tools/call", "POST"]);
    let about = [denied, unknown, nobody].map(|span| attributes(&span.attributes));
    assert_eq!((&about[0]["gen_ai.tool.name"], &about[0]["error.type"]), (&json!("drop"), &json!("policy_denied")));
    assert_eq!(about[1]["gen_ai.tool.name"], "[EMAIL_ADDRESS]");
    assert_eq!((&about[2]["http.response.status_code"], about[2].get("mcp.method.name")), (&json!(401), None));
    assert!([denied, unknown, nobody].iter().all(|span| span.status.as_ref().unwrap().code == 2 && span.kind == 2));
    assert!(nobody.parent_span_id.is_empty() && nobody.trace_id != denied.trace_id);
    let decided = attributes(&denied.events[0].attributes);
    assert_eq!(
        (&decided["portcullis.policy.decision"], &decided["portcullis.policy.rule"]),
        (&json!("deny"), &json!("no-drop"))
    );
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_as_such() {
    let traced = Traced::start("sampling = \"0%\"").await;
    let token = traced.proxy.token("ana");
    let ask = call("look", &json!({ "traceparent": META })).token(&token);
    assert_eq!(traced.proxy.ask(&ask).await.status, 200);
    let told = traced.upstream.take().pop().unwrap().header("traceparent").unwrap();
    assert!(part(&told, 1) == part(META, 1) && told.ends_with("-00") && part(&told, 2) != part(META, 2), "{told}");
    assert!(traced.proxy.audit().iter().all(|line| line.get("trace_id").is_none()));
    assert_eq!(traced.spans().await, []);
}

#[tokio::test]
async fn a_caller_decides_only_where_it_may() {
    let traced = Traced::start("sampling = \"0%\"\nfollow_caller = true").await;
    let token = traced.proxy.token("ana");
    for parent in [META.to_owned(), META.replace("-01", "-00")] {
        traced.proxy.ask(&call("look", &json!({ "traceparent": parent })).token(&token)).await;
    }
    traced.proxy.ask(&call("look", &json!({})).token(&token)).await;
    assert_eq!(traced.spans().await.len(), 2);
}

/// A server of before that is asked in another era than the client speaks is told too.
#[tokio::test]
async fn a_translated_call_names_our_span_as_well() {
    let upstream = Upstream::unaided(|heard, mut connection| async move {
        let result = match heard.json()["method"].as_str() {
            Some("initialize") => {
                json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "x", "version": "1" } })
            }
            Some("tools/list") => json!({ "tools": [] }),
            Some("tools/call") => json!({ "content": [] }),
            Some("server/discover") => {
                let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
                connection.send(json_answer(200, &error.replace(":1,", &format!(":{},", heard.id())))).await;
                return Some(connection);
            }
            _ => {
                connection.send(raw_answer(202, "", b"")).await;
                return Some(connection);
            }
        };
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, heard.id());
        connection.send(json_answer(200, &answer)).await;
        Some(connection)
    })
    .await;
    let collector = collector().await;
    let proxy = setup(&upstream, collector.address, "").start().await;
    let token = proxy.token("ana");
    let answer = proxy.ask(&call("look", &json!({ "traceparent": META })).token(&token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let heard = upstream.take().into_iter().find(|heard| heard.json()["method"] == "tools/call").unwrap();
    let spans = Traced { proxy, upstream, collector }.spans().await;
    let ours = format!("00-{}-{}-01", hex(&spans[1].trace_id), hex(&spans[1].span_id));
    assert_eq!(heard.header("traceparent").as_deref(), Some(&*ours));
    assert_eq!(heard.json()["params"]["_meta"]["traceparent"], ours);
}

/// Whether it refuses connections, answers nothing or says no: calls pass, and the end of the proxy is not held up.
#[tokio::test]
async fn a_collector_that_takes_nothing_is_not_felt() {
    let silent = Upstream::handling(|_, connection| async move {
        std::future::pending::<()>().await;
        Some(connection)
    })
    .await;
    let unwilling = Upstream::answering(|_| raw_answer(400, "", b"")).await;
    let absent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (collector, is_told) in [(silent.address, false), (unwilling.address, true), (absent, false)] {
        let upstream = answering().await;
        let mut proxy = setup(&upstream, collector, "").start().await;
        let token = proxy.token("ana");
        for _ in 0..20 {
            assert_eq!(proxy.ask(&call("look", &json!({})).token(&token)).await.status, 200);
        }
        if is_told {
            let failed = async || {
                let metrics = proxy.admin("/metrics").await;
                metrics.text().contains("portcullis_trace_spans_total{result=\"failed\"} 40").then_some(())
            };
            until("the loss to be counted", failed).await;
        }
        proxy.signal(Signal::Terminate).await;
        proxy.ended().await;
    }
}
