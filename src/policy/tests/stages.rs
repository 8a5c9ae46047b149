//! Decisions other than on calls: the rest of a stream, subscriptions, notifications, and a server's requests inside an answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{AT, caller, policy};
use crate::json::{Document, Limits, Splice};
use crate::mcp::handle::{Origin, Task};
use crate::mcp::session::EventId;
use crate::mcp::{Head, Known, Revision, SubjectKind, admit, find};
use crate::opened::{Ask, Handles, Opened, OwnTask};
use crate::policy::{Asker, Denial, Policy, authorize};

const RULES: &str = r#"
    [[rule]]
    id = "read"
    tools = ["get_*"]
    scopes = ["r"]
    [[rule]]
    id = "pub"
    resources = ["crm://pub/**"]
    [[rule]]
    id = "tasks"
    methods = ["tasks/get", "elicitation/create"]
    scopes = ["t"]
"#;

fn opened(scopes: &str, ask: Ask, resumed: Option<EventId>) -> Box<Opened> {
    let caller = Arc::new(caller(scopes));
    let handles = Handles::default();
    Box::new(Opened { caller, ask, session: None, resumed, answers: None, handles, splice: Splice::new() })
}

fn call(tool: &str) -> Origin {
    Origin { method: find("tools/call").unwrap(), subject: Some((SubjectKind::Tool, tool.into())) }
}

fn event(method: Option<&str>, subject: Option<&str>) -> EventId {
    let origin = method.map(|name| Origin {
        method: find(name).unwrap(),
        subject: subject.map(|subject| (SubjectKind::Tool, subject.into())),
    });
    EventId { upstream_id: "41".into(), rpc_id: method.map(|_| "7".into()), origin, task: None }
}

fn resume(policy: &Policy, scopes: &str, event: EventId) -> Result<Option<Arc<str>>, Denial> {
    authorize(policy, opened(scopes, Ask::Listen, Some(event)), &AT).map(|permit| permit.rule().cloned())
}

fn value(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::ANSWER).unwrap()
}

#[test]
fn a_resumed_stream_is_decided_like_its_call() {
    let policy = policy(RULES);
    let call = || event(Some("tools/call"), Some("get_a"));
    assert_eq!(resume(&policy, "r", call()).unwrap().as_deref(), Some("read"));
    assert!(matches!(resume(&policy, "", call()), Err(Denial::StepUp { .. })), "a token with fewer scopes");
    assert!(resume(&policy, "r", event(Some("tools/call"), Some("put_a"))).is_err(), "a tool that is denied by now");
    assert!(resume(&policy, "r", event(Some("tools/call"), None)).is_err(), "a call of nobody knows what");
    for method in ["tasks/get", "tasks/result"] {
        assert!(resume(&policy, "r", event(Some(method), Some("get_a"))).is_ok(), "{method}");
        assert!(
            resume(&policy, "t", event(Some(method), Some("get_a"))).is_err(),
            "{method}: no longer a scope of the tool"
        );
        assert!(
            resume(&policy, "r t", event(Some(method), Some("put_a"))).is_err(),
            "{method} of a tool that is denied"
        );
    }
    assert!(resume(&policy, "", event(Some("tools/list"), None)).is_ok());
    assert!(resume(&policy, "", event(None, None)).is_ok(), "the server's own stream");
    let forgotten = EventId { rpc_id: Some("7".into()), ..event(None, None) };
    assert!(resume(&policy, "r t", forgotten).is_err(), "an answer to a method that is not in the table");
}

fn listen(policy: &Policy, scopes: &str, filter: &str) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{filter},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let lines = [
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "subscriptions/listen"),
    ];
    let headers: HeaderMap =
        lines.into_iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
    let known = Known { bytes: 1 << 20, limits: Limits::REQUEST, names_method: &|_| false, supported: &Revision::ALL };
    let message = admit(&Head { headers: &headers, session: None }, body.into(), &known).unwrap();
    let bytes = message.document().bytes().clone();
    let mut opened = opened(scopes, Ask::Message(message), None);
    for (handle, tool) in [("one", "get_a"), ("two", "put_a")] {
        let task = Task { upstream_id: format!("up-{handle}").into(), origin: call(tool) };
        opened.handles.listened.push(OwnTask { handle: handle.into(), task });
    }
    let permit = authorize(policy, opened, &AT).unwrap();
    let sent = permit.into_parts().0.splice.apply(&bytes);
    let sent = value(std::str::from_utf8(&sent).unwrap());
    String::from_utf8(sent.pointer("/params/notifications").unwrap().raw().to_vec()).unwrap()
}

#[test]
fn a_subscription_keeps_only_what_could_be_read() {
    let policy = policy(RULES);
    let uris =
        r#"{"resourceSubscriptions":["crm://pub/a","crm://pub/../secret/db","crm://pub/%2e%2e/db","crm://secret/db"]}"#;
    assert_eq!(listen(&policy, "", uris), r#"{"resourceSubscriptions":["crm://pub/a"]}"#);
    let tasks = r#"{"taskIds":["up-one","two","one","x"],"resourceSubscriptions":["crm://pub/a"]}"#;
    assert_eq!(listen(&policy, "r", tasks), r#"{"taskIds":["up-one"],"resourceSubscriptions":["crm://pub/a"]}"#);
    assert_eq!(listen(&policy, "t", tasks), r#"{"taskIds":[],"resourceSubscriptions":["crm://pub/a"]}"#);
    let all = super::policy(&format!("{RULES}\n[[rule]]\nid = \"put\"\ntools = [\"put_*\"]"));
    assert_eq!(listen(&all, "r", r#"{"taskIds":["two","one"]}"#), r#"{"taskIds":["up-two","up-one"]}"#);
}

#[test]
fn news_need_what_they_are_news_of() {
    let open = policy(RULES);
    let hears = |policy: &Policy, scopes: &str, method: &str, params: &str| {
        let caller = caller(scopes);
        let asker = Asker { policy, caller: &caller, context: &AT, enforced: false };
        asker.hears(find(method).unwrap(), Some(value(params).root()), None)
    };
    let follows = |policy: &Policy, scopes: &str, method: &str, tool: &str| {
        let caller = caller(scopes);
        let asker = Asker { policy, caller: &caller, context: &AT, enforced: false };
        asker.hears(find(method).unwrap(), None, Some(&call(tool)))
    };
    assert!(!hears(&open, "r", "notifications/elicitation/complete", "{}"));
    assert!(hears(&open, "t", "notifications/elicitation/complete", "{}"));
    for method in ["notifications/tasks", "notifications/tasks/status"] {
        assert!(!hears(&open, "r t", method, "{}"), "{method} of nobody's task");
        assert!(follows(&open, "r", method, "get_a"), "{method}");
        assert!(!follows(&open, "t", method, "get_a"), "{method} without the scope of the tool");
        assert!(!follows(&open, "r t", method, "put_a"), "{method} of a tool that is denied");
    }
    assert!(hears(&open, "", "notifications/message", "{}"));
    assert!(hears(&open, "", "notifications/resources/updated", r#"{"uri":"crm://pub/a"}"#));
    assert!(!hears(&open, "", "notifications/resources/updated", r#"{"uri":"crm://pub/../b"}"#));
    assert!(!hears(&open, "", "notifications/resources/updated", "{}"));
    let shut =
        policy(&format!("{RULES}\n[[rule]]\nid = \"no\"\neffect = \"deny\"\nmethods = [\"notifications/tasks\"]"));
    assert!(!follows(&shut, "r", "notifications/tasks", "get_a"));
    assert!(follows(&shut, "r", "notifications/tasks/status", "get_a"));
}

#[test]
fn what_a_server_asks_inside_an_answer_needs_a_rule() {
    let policy = policy(RULES);
    let asks = |scopes: &str, text: &str| {
        let caller = caller(scopes);
        Asker { policy: &policy, caller: &caller, context: &AT, enforced: false }.may_ask(value(text).root()).is_ok()
    };
    let elicit = r#"{"inputRequests":{"a":{"method":"elicitation/create","params":{}}}}"#;
    assert!(asks("t", elicit));
    assert!(asks("", r#"{"content":[]}"#));
    assert!(!asks("r", elicit));
    for refused in [
        r#"{"inputRequests":{"a":{"method":"elicitation/create"},"b":{"method":"sampling/createMessage"}}}"#,
        r#"{"inputRequests":{"a":{"method":"tools/call"}}}"#,
        r#"{"inputRequests":{"a":{"method":"tasks/get"}}}"#,
        r#"{"inputRequests":{"a":{}}}"#,
        r#"{"inputRequests":[{"method":"elicitation/create"}]}"#,
    ] {
        assert!(!asks("t r", refused), "{refused}");
    }
}

/// The arguments of a call were decided when it was made and are not decided again, but rules about all calls hold.
#[test]
fn what_belongs_to_a_call_is_decided_without_its_arguments() {
    let rules = r#"
        [[rule]]
        id = "small"
        tools = ["get_*"]
        [rule.args]
        amount = { maximum = 10 }
        [[rule]]
        id = "not-large"
        effect = "deny"
        tools = ["get_a"]
        [rule.args]
        amount = { minimum = 5 }
    "#;
    let later = |policy: &Policy, method: &str| resume(policy, "", event(Some(method), Some("get_a"))).is_ok();
    let open = policy(rules);
    assert!(later(&open, "tools/call") && later(&open, "tasks/result"));
    let shut = policy(&format!("{rules}\n[[rule]]\nid = \"no\"\neffect = \"deny\"\ntools = [\"get_a\"]"));
    assert!(!later(&shut, "tools/call") && !later(&shut, "tasks/result"));
}
