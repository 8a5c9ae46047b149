use std::time::Duration;

use bytes::Bytes;

use super::{Capabilities, Capability, EventId, NoSession, ServerRequest, Session};
use crate::clock::Timestamp;
use crate::json::{Document, Limits};
use crate::mcp::handle::Origin;
use crate::mcp::{ListKind, Revision, SubjectKind, methods};
use crate::seal::{Binding, Seals, looks_sealed};

const BOB: Binding<'_> = Binding {
    server: "crm",
    upstream: "http://127.0.0.1:9000",
    issuer: "https://idp.test",
    tenant: None,
    subject: "bob",
    client: Some("cli"),
};
const ALICE: Binding<'_> = Binding { subject: "alice", ..BOB };
const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);
const HOUR: Duration = Duration::from_hours(1);

fn capabilities(text: &'static str) -> Capabilities {
    let document = Document::parse(Bytes::from_static(text.as_bytes()), &Limits::REQUEST).unwrap();
    Capabilities::of(document.root())
}

fn call() -> Origin {
    let method = methods::find("tools/call").unwrap();
    Origin { method, subject: Some((SubjectKind::Tool, "search".into())) }
}

fn session() -> Session {
    Session {
        upstream_id: Some("up-1".into()),
        revision: Revision::V2025_06_18,
        capabilities: capabilities(r#"{"sampling":{},"roots":{"listChanged":true},"elicitation":true}"#),
        lists: [ListKind::Tools].into_iter().collect(),
    }
}

#[test]
fn a_session_opens_for_its_owner_alone() {
    let seals = Seals::random().unwrap();
    for session in
        [session(), Session { upstream_id: None, ..session() }, Session { upstream_id: Some("".into()), ..session() }]
    {
        let id = session.seal(&seals, &BOB, NOW, HOUR).unwrap();
        assert!(id.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
        assert_eq!(Session::open(&id, &seals, &BOB, NOW), Ok(session));
        let elsewhere = [
            ALICE,
            Binding { server: "ops", ..BOB },
            Binding { upstream: "http://127.0.0.1:9001", ..BOB },
            Binding { issuer: "https://other.test", ..BOB },
            Binding { tenant: Some(""), ..BOB },
            Binding { client: None, ..BOB },
        ];
        for binding in elsewhere {
            assert_eq!(Session::open(&id, &seals, &binding, NOW), Err(NoSession::Unknown));
        }
        assert_eq!(Session::open(&id, &seals, &BOB, NOW.plus(HOUR)), Err(NoSession::Expired));
        let replica = Seals::random().unwrap();
        assert_eq!(Session::open(&id, &replica, &BOB, NOW), Err(NoSession::Key));
    }
    for unknown in ["", "up-1", "AQ", "x y", "\u{e9}"] {
        assert_eq!(Session::open(unknown, &seals, &BOB, NOW), Err(NoSession::Unknown));
    }
}

#[test]
fn keeps_what_was_negotiated() {
    let capabilities = session().capabilities;
    assert!(capabilities.has(Capability::Sampling) && capabilities.has(Capability::Roots));
    assert!(!capabilities.has(Capability::Elicitation));
}

#[test]
fn an_event_resumes_in_its_session_under_its_call() {
    let seals = Seals::random().unwrap();
    let (mine, other) = (session().key(), Session { upstream_id: Some("up-2".into()), ..session() }.key());
    let calls = [
        EventId { upstream_id: "41".into(), rpc_id: Some("7".into()), origin: Some(call()), task: Some("t-1".into()) },
        EventId { upstream_id: "".into(), rpc_id: None, origin: None, task: None },
    ];
    for event in calls {
        let id = event.seal(mine, &seals, &BOB, NOW, HOUR).unwrap();
        assert_eq!(EventId::open(&id, mine, &seals, &BOB, NOW), Ok(event));
        assert_eq!(EventId::open(&id, other, &seals, &BOB, NOW), Err(NoSession::Unknown));
        assert_eq!(EventId::open(&id, mine, &seals, &ALICE, NOW), Err(NoSession::Unknown));
        assert_eq!(Session::open(&id, &seals, &BOB, NOW), Err(NoSession::Unknown));
    }
    let long = EventId { upstream_id: "x".repeat(2000).into(), rpc_id: None, origin: None, task: None };
    assert!(long.seal(mine, &seals, &BOB, NOW, HOUR).is_err());
}

#[test]
fn an_answer_says_what_it_answers() {
    let seals = Seals::random().unwrap();
    let key = session().key();
    let method = methods::METHODS.iter().find(|method| method.name.starts_with("sampling")).unwrap();
    let long = Origin { subject: Some((SubjectKind::Tool, "x".repeat(128).into())), ..call() };
    let nobody_s = Origin { subject: None, ..call() };
    let cases = [
        ("1", None),
        ("\"1\"", Some(nobody_s)),
        ("\"2\"", Some(call())),
        (&format!("\"{}\"", "é".repeat(64)), Some(long)),
    ];
    for (raw_id, origin) in cases {
        let request = ServerRequest { raw_id: raw_id.into(), method, origin };
        let id = request.seal(key, &seals, &BOB, NOW).unwrap();
        assert!(looks_sealed(&id), "{} bytes", id.len());
        assert_eq!(request.seal(key, &seals, &BOB, NOW.plus(HOUR)).unwrap(), id, "the same again when resumed");
        let days = |days: u64| NOW.plus(Duration::from_hours(24 * days));
        assert!(ServerRequest::open(&id, key, &seals, &BOB, days(1)).is_ok());
        assert_eq!(
            ServerRequest::open(&id, key, &seals, &BOB, days(2)),
            Err(NoSession::Expired),
            "an answer nobody waits for"
        );
        assert_eq!(ServerRequest::open(&id, key, &seals, &BOB, NOW), Ok(request));
        assert_eq!(ServerRequest::open(&id, key, &seals, &ALICE, NOW), Err(NoSession::Unknown));
        assert_eq!(ServerRequest::open(raw_id, key, &seals, &BOB, NOW), Err(NoSession::Unknown));
        let other = Session { upstream_id: None, ..session() }.key();
        assert_eq!(ServerRequest::open(&id, other, &seals, &BOB, NOW), Err(NoSession::Unknown));
    }
}
