use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::{Head, Known, Message, admit};
use crate::json::Limits;
use crate::mcp::envelope::{Flaw, MessageShape, RpcId};
use crate::mcp::error::{AdmitError, Category, HeaderFlaw, HeaderKind, Refusal};
use crate::mcp::headers::encode_value;
use crate::mcp::methods::{self, SubjectKind};
use crate::mcp::mirror::Mirror;
use crate::mcp::session::Capability;
use crate::mcp::{Era, Revision};

/// The id of a request as it was admitted.
pub(in crate::mcp) fn asked(id: &str) -> RpcId {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    legacy(&body).unwrap().id().unwrap().clone()
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in lines {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn admit_with(
    lines: &HeaderMap,
    session: Option<Revision>,
    supported: &[Revision],
    body: impl AsRef<[u8]>,
) -> Result<Message, AdmitError> {
    let names_method = |name: &str| name.starts_with("acme/") || name == "notifications/acme";
    let known = Known { bytes: 1 << 20, limits: Limits::REQUEST, names_method: &names_method, supported };
    admit(&Head { headers: lines, session }, Bytes::copy_from_slice(body.as_ref()), &known)
}

fn legacy(body: impl AsRef<[u8]>) -> Result<Message, AdmitError> {
    admit_with(&headers(&[]), None, &Revision::ALL, body)
}

fn modern(lines: &[(&str, &str)], body: impl AsRef<[u8]>) -> Result<Message, AdmitError> {
    admit_with(&headers(lines), None, &Revision::ALL, body)
}

fn refusal(result: Result<Message, AdmitError>) -> Refusal {
    result.map(|message| format!("{message:?}")).unwrap_err().refusal
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"q":"x"}}}"#;
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
const CALL_HEADERS: [(&str, &str); 3] =
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "search")];

fn modern_call() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{META},"name":"search","arguments":{{"q":"x"}}}}}}"#
    )
}

#[test]
fn reads_a_call_of_either_era() {
    let old = legacy(CALL).unwrap();
    assert_eq!((old.era(), old.revision()), (Era::Legacy, Revision::V2025_03_26));
    let new = modern(&CALL_HEADERS, modern_call()).unwrap();
    assert_eq!((new.era(), new.revision()), (Era::Modern, Revision::V2026_07_28));
    for message in [&old, &new] {
        assert_eq!(message.subject(), Some((SubjectKind::Tool, "search")));
        assert!(!message.subject_is_odd());
        assert_eq!(message.method().unwrap().name(), "tools/call");
        assert_eq!(message.id_raw(), Some(&b"1"[..]));
        assert_eq!(message.arguments().unwrap().raw(), br#"{"q":"x"}"#);
        assert!(matches!(message.shape(), MessageShape::Request { .. }));
    }
    assert_eq!(new.client_info().unwrap(), ("c".into(), "1".into()));
}

#[test]
fn takes_the_revision_from_header_then_session_then_the_default() {
    let revision = |lines: &[(&str, &str)], session| {
        admit_with(&headers(lines), session, &Revision::ALL, CALL).map(|message| message.revision())
    };
    let header = [("mcp-protocol-version", "2025-11-25")];
    assert_eq!(revision(&header, None).unwrap(), Revision::V2025_11_25);
    assert_eq!(revision(&header, Some(Revision::V2025_06_18)).unwrap(), Revision::V2025_11_25);
    assert_eq!(revision(&[], Some(Revision::V2025_06_18)).unwrap(), Revision::V2025_06_18);
    assert_eq!(revision(&[], None).unwrap(), Revision::V2025_03_26);
    for bad in ["2025-06-19", "", "1.0", "2025-06-18,2025-06-18", "2026-07-27"] {
        let error = revision(&[("mcp-protocol-version", bad)], None).unwrap_err();
        assert_eq!((error.category(), error.code(), error.data()), (Category::BadRequest, -32600, None), "{bad}");
    }
    let twice = [("mcp-protocol-version", "2025-06-18"), ("mcp-protocol-version", "2025-06-18")];
    assert_eq!(revision(&twice, None).unwrap_err().category(), Category::BadRequest);
}

#[test]
fn a_legacy_request_ignores_headers_of_the_new_era() {
    let lines = [("mcp-method", "tools/list"), ("mcp-name", "other"), ("mcp-param-a", "=?base64?!?=")];
    let message = modern(&lines, CALL).unwrap();
    assert!(message.param_headers().is_empty());
}

#[test]
fn refuses_every_shape_json_rpc_does_not_have() {
    use Flaw::{Batch, Error, Id, Member, Method, NotObject, Params, Shape, Version};
    for (body, flaw) in [
        ("[]", Batch),
        (&format!("[{CALL}]"), Batch),
        ("null", NotObject),
        ("\"x\"", NotObject),
        (r#"{"id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":"2.0","id":1}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Params),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, Params),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":-0,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}"#, Id),
        (&format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(129)), Id),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Id),
        (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, Error),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#, Member),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, Member),
        (r#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/call"}"#, Member),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{"name":"run_sql"}}"#, Member),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u0070arams":{}}"#, Member),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params\u0000":{}}"#, Member),
    ] {
        let error = legacy(body).map(|message| format!("{message:?}")).expect_err(body);
        assert_eq!(error.refusal, Refusal::Envelope(flaw), "{body}");
        assert_eq!((error.category(), error.code()), (Category::BadRequest, -32600));
    }
    for id in ["1", "-1", "0", "9007199254740992", "\"\"", "\"x\"", &format!("\"{}\"", "x".repeat(128))] {
        assert_eq!(asked(id).raw(), id);
    }
}

#[test]
fn the_refusal_carries_the_id_that_could_be_read() {
    let id = |body: &str| legacy(body).map(|message| format!("{message:?}")).unwrap_err().rpc_id().cloned();
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":"a\/b","method":"nobody/knows"}"#).unwrap(), r#""a\/b""#);
    assert_eq!(id(r#"{"id":3,"method":"ping","x":1,"jsonrpc":"2.0"}"#).unwrap(), "3");
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call"}"#).unwrap(), "3");
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), None);
    assert_eq!(id("{"), None);
}

#[test]
fn refuses_disguised_keys_where_they_could_be_taken_for_real_ones() {
    let call = |params: &str| legacy(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#));
    for params in [
        r#"{"name":"search","Name":"run_sql"}"#,
        r#"{"Name":"run_sql","name":"search"}"#,
        r#"{"name":"search","NAME":"run_sql"}"#,
        r#"{"name":"search","n\u0061me\u0000":"run_sql"}"#,
        r#"{"name":"search","name\u0000":"run_sql"}"#,
        r#"{"name":"search","na\u200bme":"run_sql"}"#,
        r#"{"name":"search","ｎａｍｅ":"run_sql"}"#,
        r#"{"\u006eame":"search"}"#,
        r#"{"name":"search","argument\u017f":{"q":"x"}}"#,
        r#"{"name":"search","\u0061rguments":{"q":"x"}}"#,
        r#"{"name":"search","RequestState":"x"}"#,
        r#"{"name":"search","_META":{}}"#,
        r#"{"name":"search","_meta":{"IO.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
        r#"{"name":"search","_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}}"#,
        r#"{"name":"search","_meta":{"progresstoken":1}}"#,
        r#"{"name":"search","_meta":{"\u0070rogressToken":1}}"#,
        r#"{"name":"search","arguments":{"q":1,"Q":2}}"#,
        r#"{"name":"search","arguments":{"x":[{"to":1,"t\u006f\u0000":2}]}}"#,
        r#"{"name":"search","arguments":{"k":1,"\u212a":2}}"#,
        r#"{"name":"search","arguments":{"é":1,"É":2}}"#,
        r#"{"name":"search","arguments":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"A":1}}"#,
        r#"{"name":"search","other":1,"Other":2}"#,
    ] {
        assert_eq!(refusal(call(params)), Refusal::DisguisedKey, "{params}");
    }
    for params in [
        r#"{"name":"search","arguments":{"Name":"x","URI":"y","\u0071":1,"\u0000":2}}"#,
        r#"{"name":"search","arguments":{"":1," ":2,"é":3,"e":4}}"#,
        r#"{"name":"search","_meta":{"com.acme\/x":1,"progressToken":1}}"#,
    ] {
        assert!(call(params).is_ok(), "{params}");
    }
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"ResourceSubscriptions":["crm://secrets/db"]}}}"#;
    assert_eq!(refusal(legacy(listen)), Refusal::DisguisedKey);
    let complete = r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Uri":"b"}}}"#;
    assert_eq!(refusal(legacy(complete)), Refusal::DisguisedKey);
    let answer = r#"{"jsonrpc":"2.0","id":"x","result":{"action":"accept","Content":{}}}"#;
    assert_eq!(refusal(legacy(answer)), Refusal::DisguisedKey);
    let answer = r#"{"jsonrpc":"2.0","id":"x","result":{"action":"accept","content":{"to":1,"To":2}}}"#;
    assert_eq!(refusal(legacy(answer)), Refusal::DisguisedKey);
}

#[test]
fn an_escaped_solidus_is_no_disguise() {
    let body = modern_call()
        .replace("io.modelcontextprotocol/", r"io.modelcontextprotocol\/")
        .replace("tools/call", r"tools\/call");
    let message = modern(&CALL_HEADERS, body).unwrap();
    assert_eq!((message.era(), message.method().unwrap().name()), (Era::Modern, "tools/call"));
}

#[test]
fn compares_names_after_unescaping() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run\u005fsql"}}"#;
    let message = legacy(body).unwrap();
    assert_eq!(message.subject(), Some((SubjectKind::Tool, "run_sql")));
    for (name, odd) in
        [("run_sql", false), ("run_sql ", true), ("ｒｕｎ", true), ("ru\\u0000n", true), ("crm/x.y-z", false)]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
        assert_eq!(legacy(body).unwrap().subject_is_odd(), odd, "{name}");
    }
}

#[test]
fn requests_have_ids_and_notifications_have_none() {
    assert_eq!(refusal(legacy(CALL.replace(r#""id":1,"#, ""))), Refusal::RequestWithoutId);
    for name in ["initialize", "ping", "resources/read", "tools/list"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{{}}}}"#);
        assert_eq!(refusal(legacy(body)), Refusal::RequestWithoutId);
    }
    let with_id = r#"{"jsonrpc":"2.0","id":3,"method":"notifications/initialized"}"#;
    assert_eq!(refusal(legacy(with_id)), Refusal::NotificationWithId);
    assert!(legacy(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).is_ok());
    for name in ["nobody/knows", "notifications/nobody", "notifications/message", "notifications/tasks/status", ""] {
        let error = legacy(format!(r#"{{"jsonrpc":"2.0","method":"{name}"}}"#)).map(|_| ()).unwrap_err();
        assert_eq!((&error.refusal, error.category()), (&Refusal::UnknownNotification, Category::BadRequest), "{name}");
    }
}

#[test]
fn unknown_methods_pass_only_where_a_rule_names_them() {
    let request = |name: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}"}}"#);
    for name in ["nobody/knows", "tools/Call", "tools/call ", "subscriptions/listen", "sampling/createMessage", ""] {
        let error = legacy(request(name)).map(|_| ()).unwrap_err();
        assert_eq!((error.code(), error.category()), (-32601, Category::Rpc), "{name}");
    }
    let named = legacy(request("acme/a\\u002fb")).unwrap();
    assert_eq!(named.method().unwrap().name(), "acme/a/b");
    assert!(named.listed().is_none() && named.subject().is_none());
    assert!(legacy(r#"{"jsonrpc":"2.0","method":"notifications/acme"}"#).is_ok());
    assert_eq!(refusal(legacy(r#"{"jsonrpc":"2.0","method":"acme/effect"}"#)), Refusal::UnknownNotification);

    let modern_request = |name: &str| {
        let lines = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", name)];
        modern(&lines, format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}","params":{{{META}}}}}"#))
    };
    for name in [
        "unknown/method",
        "ping",
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/list",
        "tasks/result",
        "roots/list",
    ] {
        let error = modern_request(name).map(|_| ()).unwrap_err();
        assert_eq!((error.code(), error.category()), (-32601, Category::NotFound), "{name}");
        assert_eq!(error.rpc_id().unwrap(), "1");
    }
    assert!(modern_request("acme/x").is_ok());
}

#[test]
fn what_a_rule_is_asked_about_must_be_there() {
    let request = |method: &str, params: &str| {
        legacy(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
    };
    for (method, params) in [
        ("tools/call", "{}"),
        ("tools/call", r#"{"name":7}"#),
        ("tools/call", r#"{"name":null}"#),
        ("tools/call", r#"{"name":["a"]}"#),
        ("resources/read", r#"{"name":"a"}"#),
        ("prompts/get", r#"{"uri":"a"}"#),
        ("completion/complete", "{}"),
        ("completion/complete", r#"{"ref":"a"}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/tool","name":"a"}}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","uri":"a"}}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"a","uri":"b"}}"#),
    ] {
        let error = request(method, params).map(|_| ()).unwrap_err();
        assert_eq!((error.code(), error.category()), (-32602, Category::BadRequest), "{method} {params}");
    }
    let subject = |params: &str| {
        let message = request("completion/complete", params).unwrap();
        message.subject().map(|(kind, name)| (kind, name.to_owned())).unwrap()
    };
    assert_eq!(subject(r#"{"ref":{"type":"ref/prompt","name":"a"}}"#), (SubjectKind::Prompt, "a".into()));
    assert_eq!(subject(r#"{"ref":{"type":"ref/resource","uri":"a:b"}}"#), (SubjectKind::Resource, "a:b".into()));
    assert_eq!(
        subject(r#"{"ref":{"type":"ref/resource","uri":"a:{b}"}}"#),
        (SubjectKind::ResourceTemplate, "a:{b}".into())
    );
    assert_eq!(
        subject(r#"{"ref":{"type":"ref/resource","uri":"a:\u007bb}"}}"#),
        (SubjectKind::ResourceTemplate, "a:{b}".into())
    );
}

#[test]
fn checks_the_new_era_in_the_order_the_suite_probes() {
    let call = |lines: &[(&str, &str)], body: &str| refusal(modern(lines, body));
    let body = modern_call();
    // `_meta` before headers, headers before version, version before method.
    let no_capabilities = body.replace(r#","io.modelcontextprotocol/clientCapabilities":{}"#, "");
    assert_eq!(call(&[], &no_capabilities), Refusal::RequiredMeta(super::META_CAPABILITIES));
    assert_eq!(call(&[("mcp-protocol-version", "2026-07-28")], CALL), Refusal::RequiredMeta(super::META_VERSION));
    let number = body.replace("\"2026-07-28\"", "20260728");
    assert_eq!(call(&CALL_HEADERS, &number), Refusal::RequiredMeta(super::META_VERSION));

    let header = |flaw| Refusal::Header(flaw);
    assert_eq!(call(&[], &body), header(HeaderFlaw::Missing(HeaderKind::Version)));
    assert_eq!(call(&CALL_HEADERS[..1], &body), header(HeaderFlaw::Missing(HeaderKind::Method)));
    assert_eq!(call(&CALL_HEADERS[..2], &body), header(HeaderFlaw::Missing(HeaderKind::Name)));
    let with = |at: usize, value: &'static str| {
        let mut lines = CALL_HEADERS;
        lines[at].1 = value;
        call(&lines, &body)
    };
    assert_eq!(with(0, "2025-06-18"), header(HeaderFlaw::Differs(HeaderKind::Version)));
    assert_eq!(with(0, "2099-01-01"), header(HeaderFlaw::Differs(HeaderKind::Version)));
    assert_eq!(with(1, "Tools/Call"), header(HeaderFlaw::Differs(HeaderKind::Method)));
    assert_eq!(with(1, "tools/list"), header(HeaderFlaw::Differs(HeaderKind::Method)));
    assert_eq!(with(2, "run_sql"), header(HeaderFlaw::Differs(HeaderKind::Name)));
    assert_eq!(with(2, "=?base64?cnVuX3NxbA==?="), header(HeaderFlaw::Differs(HeaderKind::Name)));
    assert_eq!(with(2, "=?base64?c2VhcmNo=?="), header(HeaderFlaw::Malformed(HeaderKind::Name)));
    assert_eq!(with(2, "search, search"), header(HeaderFlaw::Differs(HeaderKind::Name)));
    for line in CALL_HEADERS {
        let twice: Vec<_> = CALL_HEADERS.into_iter().chain([line]).collect();
        assert!(matches!(call(&twice, &body), Refusal::Header(HeaderFlaw::Repeated(_))));
    }

    let future = body.replace("2026-07-28", "2099-01-01").replace("tools/call", "nobody/knows");
    let lines = [("mcp-protocol-version", "2099-01-01"), ("mcp-method", "nobody/knows")];
    let error = modern(&lines, future).map(|_| ()).unwrap_err();
    assert_eq!((error.code(), error.category()), (-32022, Category::BadRequest));
    let data: serde_json::Value = serde_json::from_str(&error.data().unwrap()).unwrap();
    assert_eq!(data["requested"], "2099-01-01");
    assert_eq!(data["supported"].as_array().unwrap().len(), Revision::ALL.len());
    // A version of the older era in the new place is no way around the checks.
    let old = body.replace("2026-07-28", "2025-06-18");
    let lines = [("mcp-protocol-version", "2025-06-18"), ("mcp-method", "tools/call"), ("mcp-name", "search")];
    assert_eq!(modern(&lines, &old).map(|_| ()).unwrap_err().code(), -32022);
    assert_eq!(call(&lines, &body), header(HeaderFlaw::Differs(HeaderKind::Version)));
}

#[test]
fn headers_may_be_encoded_and_padded() {
    for name in ["search", "=?base64?c2VhcmNo?=", " search\t"] {
        let mut lines = CALL_HEADERS;
        lines[2].1 = name;
        assert!(modern(&lines, modern_call()).is_ok(), "{name}");
    }
    for name in ["日本語", " a ", "=?base64?eA==?=", ""] {
        let body = modern_call().replace("\"search\"", &serde_json::to_string(name).unwrap());
        let mut lines = headers(&CALL_HEADERS[..2]);
        lines.insert("mcp-name", encode_value(name));
        let message = admit_with(&lines, None, &Revision::ALL, body).unwrap();
        assert_eq!(message.subject().unwrap().1, name);
    }
}

#[test]
fn tasks_repeat_their_id_in_a_header() {
    let task = |name: &str| {
        let lines = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tasks/get"), ("mcp-name", name)];
        modern(&lines, format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{{{META},"taskId":"t1"}}}}"#))
    };
    assert!(task("t1").is_ok());
    assert_eq!(refusal(task("t2")), Refusal::Header(HeaderFlaw::Differs(HeaderKind::Name)));
}

#[test]
fn the_new_era_has_no_client_responses_and_one_notification() {
    let lines = [("mcp-protocol-version", "2026-07-28")];
    assert_eq!(refusal(modern(&lines, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)), Refusal::ClientResponse);
    assert!(legacy(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).is_ok());
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(modern(&lines, cancel).unwrap().era(), Era::Modern);
    assert!(modern(&[lines[0], ("mcp-method", "notifications/cancelled")], cancel).is_ok());
    let lie = modern(&[lines[0], ("mcp-method", "notifications/progress")], cancel);
    assert_eq!(refusal(lie), Refusal::Header(HeaderFlaw::Differs(HeaderKind::Method)));
    for name in ["notifications/progress", "notifications/initialized", "notifications/roots/list_changed"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{name}"}}"#);
        assert_eq!(refusal(modern(&lines, body)), Refusal::UnknownNotification, "{name}");
    }
}

#[test]
fn a_server_of_one_era_does_not_confuse_the_other() {
    let only_old = &Revision::ALL[..4];
    let probe = admit_with(&headers(&CALL_HEADERS), None, only_old, modern_call()).map(|_| ()).unwrap_err();
    assert_eq!((probe.code(), probe.category(), probe.data()), (-32600, Category::BadRequest, None));
    let only_new = &Revision::ALL[4..];
    let call = admit_with(&headers(&[]), None, only_new, CALL).map(|_| ()).unwrap_err();
    assert_eq!(call.code(), -32020);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;
    let error = admit_with(&headers(&[]), None, only_new, initialize).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), -32022);
    assert_eq!(error.data().unwrap(), r#"{"supported":["2026-07-28"],"requested":"2025-06-18"}"#);
}

#[test]
fn schema_declared_arguments_must_be_mirrored_truthfully() {
    let check = |lines: &[(&'static str, &'static str)], arguments: &str| {
        let lines: Vec<_> = CALL_HEADERS.into_iter().chain(lines.iter().copied()).collect();
        let body = modern_call().replace(r#"{"q":"x"}"#, arguments);
        let mut message = modern(&lines, body).unwrap();
        let mirror = |header: &str, pointer: &str| Mirror { header: header.into(), pointer: pointer.into() };
        let mirrors = [mirror("Region", "/region"), mirror("Count", "/deep/count")];
        message.mirrored_by(mirrors.into()).map_err(|error| error.refusal)
    };
    let flaw = |flaw| Err(Refusal::Header(flaw));
    assert_eq!(check(&[("mcp-param-region", "eu")], r#"{"region":"eu"}"#), Ok(()));
    assert_eq!(
        check(&[("Mcp-Param-Region", "eu"), ("mcp-param-count", "42.0")], r#"{"region":"eu","deep":{"count":42}}"#),
        Ok(())
    );
    assert_eq!(check(&[("mcp-param-region", "=?base64?ZXU=?=")], r#"{"region":"eu"}"#), Ok(()));
    assert_eq!(check(&[], r#"{"region":null}"#), Ok(()));
    assert_eq!(check(&[], "{}"), Ok(()));
    assert_eq!(check(&[("mcp-param-other", "1")], "{}"), Ok(()));
    assert_eq!(check(&[], r#"{"region":"eu"}"#), flaw(HeaderFlaw::Missing(HeaderKind::Param)));
    for (value, arguments) in [
        ("us", r#"{"region":"eu"}"#),
        ("EU", r#"{"region":"eu"}"#),
        ("eu", r#"{"region":null}"#),
        ("eu", "{}"),
        ("eu", r#"{"region":["eu"]}"#),
    ] {
        assert_eq!(check(&[("mcp-param-region", value)], arguments), flaw(HeaderFlaw::Differs(HeaderKind::Param)));
    }
    let twice: Vec<_> = CALL_HEADERS.into_iter().chain([("mcp-param-a", "1"), ("mcp-param-a", "1")]).collect();
    assert_eq!(refusal(modern(&twice, modern_call())), Refusal::Header(HeaderFlaw::Repeated(HeaderKind::Param)));
}

#[test]
fn limits_and_media_types_come_first() {
    let mut lines = headers(&[]);
    lines.insert("content-type", HeaderValue::from_static("text/plain"));
    let error = admit_with(&lines, None, &Revision::ALL, "{").map(|_| ()).unwrap_err();
    assert_eq!(error.category(), Category::MediaType);
    let coded = headers(&[("content-encoding", "gzip")]);
    assert_eq!(refusal(admit_with(&coded, None, &Revision::ALL, CALL)), Refusal::ContentCoding);
    let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    let error = legacy(long).map(|_| ()).unwrap_err();
    assert_eq!((error.category(), error.code()), (Category::TooLarge, -32600));
    for body in ["", "{", "{} {}", "\u{feff}{}", "{\"a\":1,\"a\":2}"] {
        let error = legacy(body).map(|_| ()).unwrap_err();
        assert_eq!((error.category(), error.code()), (Category::BadRequest, -32700));
    }
}

#[test]
fn no_refusal_repeats_what_the_client_sent() {
    let secret = "hunter2";
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{secret}"}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{secret}":1}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{secret}","params":{{"{secret}":1,"Hunter2":2}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/{secret}"}}"#),
        format!(r#"{{"{secret}"#),
    ] {
        let error = legacy(body).map(|_| ()).unwrap_err();
        assert!(!error.text().contains(secret) && !error.to_string().contains(secret));
    }
}

#[test]
fn reads_what_later_stages_ask_for() {
    let body = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"sampling":null,"elicitation":{"form":{}}},"clientInfo":{"name":"n","version":"v"}}}"#;
    let message = legacy(body).unwrap();
    assert!(methods::is_initialize(message.listed().unwrap()));
    assert_eq!(message.requested_version().unwrap(), "2025-11-25");
    assert_eq!(message.client_info().unwrap(), ("n".into(), "v".into()));
    let capabilities = message.client_capabilities();
    assert!(capabilities.has(Capability::Roots) && capabilities.has(Capability::Elicitation));
    assert!(!capabilities.has(Capability::Sampling));

    let retry = modern_call().replace(
        r#""name":"search""#,
        r#""name":"search","requestState":"s","inputResponses":{"a":{"action":"accept"}}"#,
    );
    let retry = modern(&CALL_HEADERS, retry.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#)).unwrap();
    assert_eq!(retry.request_state().unwrap().as_str().unwrap(), "s");
    assert!(retry.input_responses().is_some());
    assert_eq!(retry.progress_token(), Some(&b"\"p\""[..]));

    let lines = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];
    let listen = |filter: &str| {
        modern(
            &lines,
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{{META},"notifications":{filter}}}}}"#
            ),
        )
    };
    let message = listen(r#"{"resourceSubscriptions":["a:b","c:\u0064"],"taskIds":["t"]}"#).unwrap();
    assert_eq!(message.subscribed_resources().collect::<Vec<_>>(), ["a:b", "c:d"]);
    assert_eq!(message.subscribed_tasks().collect::<Vec<_>>(), ["t"]);
    for bad in ["[]", "null", r#"{"resourceSubscriptions":"a:b"}"#, r#"{"taskIds":[1]}"#] {
        assert!(matches!(refusal(listen(bad)), Refusal::Subject(_)), "{bad}");
    }

    let answer = legacy(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#).unwrap();
    assert!(answer.method().is_none() && answer.error().is_some() && answer.result().is_none());
}

#[test]
fn only_answers_may_have_a_sealed_id() {
    let sealed = format!("AQ{}", "a".repeat(300));
    assert!(legacy(format!(r#"{{"jsonrpc":"2.0","id":"{sealed}","result":{{}}}}"#)).is_ok());
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":"{sealed}","method":"ping"}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{}}}}"#, "a".repeat(300)),
        format!(r#"{{"jsonrpc":"2.0","id":"AQ{}","result":{{}}}}"#, "a".repeat(1023)),
        format!(r#"{{"jsonrpc":"2.0","id":"AQ{}=","result":{{}}}}"#, "a".repeat(300)),
    ] {
        assert_eq!(refusal(legacy(body)), Refusal::Envelope(Flaw::Id));
    }
}

fn corpus(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora").join(path));
    if text.is_err() {
        println!("skipped: no {path}");
    }
    text.ok()
}

/// The headers an honest client of 2026-07-28 sends with a message.
fn honest_headers(message: &serde_json::Value) -> HeaderMap {
    let mut lines = headers(&[("mcp-protocol-version", "2026-07-28")]);
    let name = message["method"].as_str().unwrap();
    lines.insert("mcp-method", encode_value(name));
    if let Some(pointer) = methods::find(name).and_then(|method| method.header) {
        lines.insert("mcp-name", encode_value(message["params"].pointer(pointer).unwrap().as_str().unwrap()));
    }
    lines
}

#[test]
fn admits_every_published_request() {
    let Some(examples) = corpus("mcp-traffic/schema-examples-2026-07-28.jsonl") else { return };
    let (mut whole, mut params, mut answers) = (0, 0, 0);
    for line in examples.lines() {
        let example: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, value) = (example["type"].as_str().unwrap(), &example["value"]);
        let from_server = ["CreateMessage", "Elicit", "ListRoots"].iter().any(|name| kind.starts_with(name));
        let (message, count) = if kind.ends_with("Request") && !from_server {
            (value.clone(), &mut whole)
        } else if value["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object() {
            let method = match kind {
                "CallToolRequestParams" => "tools/call",
                "CompleteRequestParams" => "completion/complete",
                "GetPromptRequestParams" => "prompts/get",
                "PaginatedRequestParams" => "tools/list",
                other => panic!("{other}"),
            };
            (json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": value }), &mut params)
        } else if kind.ends_with("Result") && from_server {
            // As an older client would post it.
            (json!({ "jsonrpc": "2.0", "id": 1, "result": value }), &mut answers)
        } else {
            continue;
        };
        let lines = if message["method"].is_string() { honest_headers(&message) } else { headers(&[]) };
        let admitted = admit_with(&lines, None, &Revision::ALL, message.to_string());
        assert!(admitted.is_ok(), "{}: {admitted:?}", example["id"]);
        *count += 1;
    }
    println!("published by 2026-07-28: {whole} requests, {params} params, {answers} client answers admitted");
    assert!(whole >= 10 && params >= 4 && answers >= 7, "{whole} {params} {answers}");
}

#[test]
fn admits_what_go_sdk_clients_send_and_refuses_its_bad_requests() {
    let Some(messages) = corpus("mcp-traffic/go-sdk-messages.jsonl") else { return };
    let (mut admitted, mut refused) = (0, Vec::new());
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        if message["from"] != "client" {
            continue;
        }
        let (id, body) = (message["id"].as_str().unwrap(), &message["msg"]);
        let is_modern = body["params"]["_meta"].is_object();
        let lines = if is_modern { honest_headers(body) } else { headers(&[]) };
        match admit_with(&lines, None, &Revision::ALL, body.to_string()) {
            Ok(_) => admitted += 1,
            Err(error) => refused.push((id.split('/').next_back().unwrap().to_owned(), error.code())),
        }
    }
    println!("go-sdk clients: {admitted} admitted, {} refused: {refused:?}", refused.len());
    let refused: Vec<_> = refused.iter().map(|(id, code)| (id.as_str(), *code)).collect();
    assert_eq!(
        refused,
        [
            ("bad_requests.txtar#0", -32600),
            ("bad_requests.txtar#3", -32600),
            ("bad_requests.txtar#5", -32600),
            ("bad_requests.txtar#7", -32602),
            ("bad_requests.txtar#8", -32600),
            ("prompts.txtar#37", -32602),
            ("resources.txtar#48", -32602),
            ("resources.txtar#49", -32602),
            ("tools.txtar#73", -32602),
        ]
    );
    assert_eq!(admitted + refused.len(), 54);
}

#[test]
fn arguments_are_read_as_strictly_as_the_envelope() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/jsontestsuite/test_parsing");
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("skipped: no jsontestsuite");
        return;
    };
    let mut counts = std::collections::BTreeMap::<(char, bool), usize>::new();
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let head =
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_customers","arguments":{"v":"#;
        let fragment = std::fs::read(entry.path()).unwrap();
        let body = [&head[..], &fragment, b"}}}"].concat();
        let admitted = legacy(&body);
        let kind = name.chars().next().unwrap();
        let expected = match kind {
            'y' => !name.starts_with("y_object_duplicated_key"),
            'i' => name.starts_with("i_number"),
            // White space and a closing bracket behind it are part of the message here, so these become whole again.
            _ => false,
        };
        *counts.entry((kind, admitted.is_ok())).or_default() += 1;
        assert_eq!(admitted.is_ok(), expected, "{name}: {admitted:?}");
        if let Ok(message) = admitted {
            assert_eq!(message.document().bytes(), &body, "{name} goes on as it came");
        }
    }
    println!("jsontestsuite in arguments, (kind, admitted): {counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 318);
}

proptest! {
    #[test]
    fn never_panics_and_never_changes_a_byte(body in "[\\[\\]{}\":,0-9a-z\\\\./_ -]{0,80}", modern in any::<bool>()) {
        let lines = if modern { headers(&CALL_HEADERS) } else { headers(&[]) };
        if let Ok(message) = admit_with(&lines, None, &Revision::ALL, &body) {
            prop_assert_eq!(message.document().bytes(), body.as_bytes());
        }
    }

    #[test]
    fn any_change_of_case_of_a_reserved_key_is_refused(upper in prop::collection::vec(any::<bool>(), 4), pick in 0usize..3) {
        let key = ["name", "task", "_meta"][pick];
        let other: String = key.chars().zip(upper.into_iter().cycle()).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"{other}":{{}}}}}}"#);
        prop_assert_eq!(legacy(&body).is_ok(), other == key);
    }

    #[test]
    fn what_is_decided_on_is_what_any_parser_reads(name in any::<String>(), arguments in any::<Vec<String>>()) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": { "a": arguments } } });
        let message = legacy(body.to_string()).unwrap();
        prop_assert_eq!(message.subject(), Some((SubjectKind::Tool, name.as_str())));
        prop_assert_eq!(message.arguments().unwrap().to_value(), body["params"]["arguments"].clone());
    }
}
