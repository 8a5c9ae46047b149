use std::time::Duration;

use proptest::prelude::*;

use super::{Cursor, NoHandle, Origin, RequestState, Task, is_plain_id};
use crate::clock::Timestamp;
use crate::mcp::{SubjectKind, find};
use crate::seal::{Binding, SealError, Seals};

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

fn origin(name: &str) -> Origin {
    Origin { method: find("tools/call").unwrap(), subject: Some((SubjectKind::Tool, name.into())) }
}

fn state() -> RequestState {
    RequestState::new("s".into(), origin("search"), [7; 32]).unwrap()
}

#[test]
fn a_task_opens_for_its_owner_and_says_whose_call_it_is() {
    let seals = Seals::random().unwrap();
    let task = Task { upstream_id: "t-1".into(), origin: origin("search") };
    let id = task.seal(&seals, &BOB, NOW, None).unwrap();
    assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(Task::open(&id, &seals, &BOB, NOW), Ok(task.clone()));
    for other in [ALICE, Binding { server: "ops", ..BOB }, Binding { upstream: "http://b", ..BOB }] {
        assert_eq!(Task::open(&id, &seals, &other, NOW), Err(NoHandle::Task));
    }
    for unknown in ["", "t-1", id.get(1..).unwrap()] {
        assert_eq!(Task::open(unknown, &seals, &BOB, NOW), Err(NoHandle::Task));
    }
    assert_eq!(RequestState::open(&id, &seals, &BOB, NOW), Err(NoHandle::RequestState), "of another purpose");
}

#[test]
fn a_task_opens_as_long_as_it_is_kept_within_bounds() {
    let seals = Seals::random().unwrap();
    let task = Task { upstream_id: "t-1".into(), origin: origin("search") };
    let hours = |hours: u64| Duration::from_hours(hours);
    for (kept, opens) in [
        (None, 30 * 24),
        (Some(Duration::ZERO), 24),
        (Some(hours(50)), 50),
        (Some(hours(24 * 365)), 30 * 24),
        (Some(Duration::MAX), 30 * 24),
    ] {
        let id = task.seal(&seals, &BOB, NOW, kept).unwrap();
        assert!(Task::open(&id, &seals, &BOB, NOW.plus(hours(opens - 1))).is_ok(), "{kept:?}");
        assert_eq!(Task::open(&id, &seals, &BOB, NOW.plus(hours(opens))), Err(NoHandle::Task), "{kept:?}");
    }
}

#[test]
fn a_cursor_is_of_one_list_and_one_caller() {
    let seals = Seals::random().unwrap();
    let (tools, prompts) = (find("tools/list").unwrap(), find("prompts/list").unwrap());
    for upstream in ["", "page-2", "\u{1f}é\"", &"x".repeat(3000)] {
        let cursor = Cursor { upstream: upstream.into(), method: tools }.seal(&seals, &BOB, NOW).unwrap();
        assert_eq!(Cursor::open(&cursor, tools, &seals, &BOB, NOW).as_deref(), Ok(upstream));
        assert_eq!(Cursor::open(&cursor, prompts, &seals, &BOB, NOW), Err(NoHandle::Cursor));
        assert_eq!(Cursor::open(&cursor, tools, &seals, &ALICE, NOW), Err(NoHandle::Cursor));
        let later = NOW.plus(Duration::from_hours(24));
        assert_eq!(Cursor::open(&cursor, tools, &seals, &BOB, later), Err(NoHandle::Cursor));
    }
    let long = Cursor { upstream: "x".repeat(4097).into(), method: tools };
    assert_eq!(long.seal(&seals, &BOB, NOW), Err(SealError::TooLong));
}

#[test]
fn a_state_keeps_its_call_and_is_never_the_same_twice() {
    let seals = Seals::random().unwrap();
    let (one, two) = (state(), state());
    assert_ne!(one.nonce, two.nonce);
    let sealed = one.seal(&seals, &BOB, NOW).unwrap();
    assert_eq!(RequestState::open(&sealed, &seals, &BOB, NOW), Ok(one));
    assert_eq!(RequestState::open(&sealed, &seals, &ALICE, NOW), Err(NoHandle::RequestState));
    let later = NOW.plus(RequestState::LIFETIME);
    assert_eq!(RequestState::open(&sealed, &seals, &BOB, later), Err(NoHandle::RequestState));
    let room = 16 * 1024 - 16 - 32 - origin_bytes() - 4;
    for (length, fits) in [(room, true), (room + 1, false)] {
        let state = RequestState { upstream: "x".repeat(length).into(), ..state() };
        assert_eq!(state.seal(&seals, &BOB, NOW).is_ok(), fits, "{length}");
    }
}

/// Method and name with their lengths, and the kind.
fn origin_bytes() -> usize {
    4 + "tools/call".len() + 4 + "search".len() + 1
}

#[test]
fn ids_that_fit_no_header_or_are_overlong_are_odd() {
    for id in ["1", "786512e2-9e0d-44bd-8f29-789f320fe840", &"x".repeat(256)] {
        assert!(is_plain_id(id), "{id}");
    }
    for id in ["", " ", "a b", "a\n", "é", "\u{7f}", "a\0", &"x".repeat(257)] {
        assert!(!is_plain_id(id), "{id:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_comes_back(upstream in ".{0,64}", name in ".{0,64}", digest: [u8; 32]) {
        let seals = Seals::random().unwrap();
        let state = RequestState::new(upstream.into(), origin(&name), digest).unwrap();
        let sealed = state.seal(&seals, &BOB, NOW).unwrap();
        prop_assert_eq!(RequestState::open(&sealed, &seals, &BOB, NOW), Ok(state));
    }

    #[test]
    fn nothing_made_up_opens(text in "[A-Za-z0-9_-]{0,400}") {
        let seals = Seals::random().unwrap();
        prop_assert!(Task::open(&text, &seals, &BOB, NOW).is_err());
        prop_assert!(RequestState::open(&text, &seals, &BOB, NOW).is_err());
    }
}
