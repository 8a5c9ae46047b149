use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::losses::Loss;
use super::{AHEAD, Heard, Outcome, REMEMBERED, Switchboard};
use crate::json::{Document, Limits};
use crate::mcp::RpcId;

fn document(message: &Value) -> Document {
    Document::parse(message.to_string().into(), &Limits::REQUEST).unwrap()
}

fn parsed(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A call of `session` under its own id `id`; its number, what the process gets, and what comes of it.
fn ask(board: &mut Switchboard, session: u64, id: &Value, token: &Value) -> (u64, Value, mpsc::Receiver<Heard>) {
    let (to, heard) = mpsc::channel(AHEAD);
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "x", "_meta": { "progressToken": token } } });
    let literal = RpcId::from_raw(&id.to_string()).unwrap();
    let (number, line) = board.ask(session, &document(&message), &literal, to);
    (number, parsed(line.as_bytes()), heard)
}

fn hear(board: &mut Switchboard, message: &Value) -> Outcome {
    board.hear(message.to_string().into())
}

fn next(heard: &mut mpsc::Receiver<Heard>) -> Option<Value> {
    match heard.try_recv().ok()? {
        Heard::Aside(bytes) | Heard::Last(bytes) => Some(parsed(&bytes)),
    }
}

fn answer(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "of": id } })
}

#[test]
fn the_same_id_of_two_clients_is_two_ids() {
    let mut board = Switchboard::new(true);
    let (one, sent, mut ana) = ask(&mut board, 1, &json!("a"), &json!("t"));
    let (two, other, mut max) = ask(&mut board, 2, &json!("a"), &json!("t"));
    assert_eq!((&sent["id"], &sent["params"]["_meta"]["progressToken"]), (&json!(one), &json!(one)));
    assert_eq!((&other["id"], &other["params"]["_meta"]["progressToken"]), (&json!(two), &json!(two)));
    assert_ne!(one, two);
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": two, "progress": 1 } });
    assert_eq!(hear(&mut board, &progress), Outcome::Passed);
    assert_eq!(hear(&mut board, &answer(&json!(two))), Outcome::Passed);
    assert_eq!(next(&mut max).unwrap()["params"]["progressToken"], "t");
    assert_eq!(next(&mut max).unwrap(), json!({ "jsonrpc": "2.0", "id": "a", "result": { "of": two } }));
    assert!(next(&mut ana).is_none());
    assert_eq!(hear(&mut board, &answer(&json!(two))), Outcome::Unasked, "once");
}

#[test]
fn answers_to_nothing_are_nobody_s() {
    let mut board = Switchboard::new(false);
    let (number, _, mut heard) = ask(&mut board, 1, &json!(1), &json!(1));
    for id in [json!(number + 1), json!(0), json!("x"), json!(number.to_string()), json!(-1)] {
        assert_eq!(hear(&mut board, &answer(&id)), Outcome::Unasked, "{id}");
    }
    assert!(next(&mut heard).is_none());
    assert!(matches!(board.hear("Listening".into()), Outcome::Unreadable(_)));
    assert!(matches!(board.hear("[]".into()), Outcome::Unreadable(_)));
    let twice = format!(r#"{{"jsonrpc":"2.0","id":{number},"id":{number},"result":{{}}}}"#);
    assert!(matches!(board.hear(twice.into()), Outcome::Unreadable(_)));
}

#[test]
fn an_answer_is_late_however_many_were_given_up_since() {
    let mut board = Switchboard::new(true);
    let numbers: Vec<u64> = (0..REMEMBERED + 2)
        .map(|_| {
            let (number, _, _) = ask(&mut board, 1, &json!(1), &json!(1));
            assert!(board.abandon(number).is_some());
            number
        })
        .collect();
    for number in numbers.iter().rev() {
        assert_eq!(hear(&mut board, &answer(&json!(number))), Outcome::Dropped(Loss::Late), "{number}");
    }
    assert_eq!(hear(&mut board, &answer(&json!(numbers.last()))), Outcome::Unasked, "twice");
}

#[test]
fn what_was_never_asked_is_not_late_wherever_the_numbers_begin() {
    let mut board = Switchboard::among(Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(1_000_000)));
    let mut numbers = (0..=REMEMBERED).map(|_| {
        let (number, _, _) = ask(&mut board, 1, &json!(1), &json!(1));
        assert!(board.abandon(number).is_some());
        number
    });
    let first = numbers.next().unwrap();
    numbers.for_each(drop);
    for never in [0, 1, first - 1] {
        assert_eq!(hear(&mut board, &answer(&json!(never))), Outcome::Unasked, "{never}");
    }
    assert_eq!(hear(&mut board, &answer(&json!(first))), Outcome::Dropped(Loss::Late));
}

#[test]
fn a_late_answer_is_dropped_and_no_fault() {
    let mut board = Switchboard::new(false);
    let (number, _, _heard) = ask(&mut board, 1, &json!(1), &json!(1));
    let told = parsed(board.abandon(number).unwrap().as_bytes());
    assert_eq!((&told["method"], &told["params"]["requestId"]), (&json!("notifications/cancelled"), &json!(number)));
    assert!(board.abandon(number).is_none());
    assert_eq!(hear(&mut board, &answer(&json!(number))), Outcome::Dropped(Loss::Late));
    assert_eq!(hear(&mut board, &answer(&json!(number))), Outcome::Unasked);
}

#[test]
fn clients_cancel_their_own_calls_only() {
    let mut board = Switchboard::new(false);
    let (number, _, _heard) = ask(&mut board, 1, &json!("a"), &json!(1));
    let cancel =
        document(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "a" } }));
    assert!(board.tell(2, &cancel).is_none());
    assert_eq!(parsed(board.tell(1, &cancel).unwrap().as_bytes())["params"]["requestId"], number);
    let ready = document(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    assert!(board.tell(1, &ready).is_none(), "the proxy has said so");
}

#[test]
fn questions_go_to_whom_they_can_only_be_for_and_are_answered_once() {
    let question = json!({ "jsonrpc": "2.0", "id": "q", "method": "roots/list" });
    let reply = document(&json!({ "jsonrpc": "2.0", "id": "q", "result": { "roots": [] } }));
    let mut board = Switchboard::new(false);
    assert!(matches!(hear(&mut board, &question), Outcome::Reply(_)), "nobody is there");
    let (_, _, mut heard) = ask(&mut board, 1, &json!(1), &json!(1));
    assert_eq!(hear(&mut board, &question), Outcome::Passed);
    assert_eq!(next(&mut heard).unwrap()["id"], "q");
    assert!(board.reply(2, &reply).is_none(), "another was asked");
    assert!(board.reply(1, &reply).is_some());
    assert!(board.reply(1, &reply).is_none(), "once");
    let (_, _, mut other) = ask(&mut board, 2, &json!(1), &json!(1));
    assert!(matches!(hear(&mut board, &question), Outcome::Reply(_)), "one of two");
    assert!(next(&mut heard).is_none() && next(&mut other).is_none());

    let mut shared = Switchboard::new(true);
    let (_, _, mut heard) = ask(&mut shared, 1, &json!(1), &json!(1));
    let Outcome::Reply(refused) = hear(&mut shared, &question) else { panic!("asked") };
    assert_eq!(parsed(&refused)["error"]["code"], -32601);
    let ping = json!({ "jsonrpc": "2.0", "id": 5, "method": "ping" });
    assert_eq!(hear(&mut shared, &ping), Outcome::Reply(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#.into()));
    assert!(next(&mut heard).is_none());
}

#[test]
fn what_names_nobody_is_told_where_everybody_may_know() {
    let said =
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "of ana" } });
    let changed = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    for (is_shared, seen) in [(false, 2), (true, 1)] {
        let mut board = Switchboard::new(is_shared);
        let (to, mut listening) = mpsc::channel(AHEAD);
        board.listen(1, to);
        hear(&mut board, &said);
        hear(&mut board, &changed);
        let count = std::iter::from_fn(|| next(&mut listening)).count();
        assert_eq!(count, seen, "{is_shared}");
    }
}

#[test]
fn a_slow_reader_loses_news_and_not_the_answer() {
    let mut board = Switchboard::new(false);
    let (number, _, mut heard) = ask(&mut board, 1, &json!(1), &json!(1));
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": number, "progress": 1 } });
    let passed = (0..2 * AHEAD).filter(|_| hear(&mut board, &progress) == Outcome::Passed).count();
    assert_eq!(passed, AHEAD - 1);
    assert_eq!(hear(&mut board, &answer(&json!(number))), Outcome::Passed);
    let last = std::iter::from_fn(|| next(&mut heard)).last().unwrap();
    assert_eq!(last["result"]["of"], number);
}

#[test]
fn boards_that_number_together_never_use_a_number_twice() {
    let (shared, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1 << 50)));
    let mut one = Switchboard::among(shared.clone(), last.clone());
    let mut other = Switchboard::among(shared.clone(), last);
    let (mine, _, mut ana) = ask(&mut one, 1, &json!(1), &json!(1));
    let (theirs, _, mut max) = ask(&mut other, 1, &json!(1), &json!(1));
    assert!(mine != theirs && mine > 1 << 50);
    // What is told to both is for one of them.
    assert_eq!(hear(&mut other, &answer(&json!(mine))), Outcome::Unasked);
    assert_eq!(hear(&mut one, &answer(&json!(mine))), Outcome::Passed);
    assert!(next(&mut ana).is_some() && next(&mut max).is_none());
    // And once that has shown, what names nobody is for nobody.
    shared.store(true, Ordering::Relaxed);
    let said =
        json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } });
    assert!(matches!(hear(&mut other, &said), Outcome::Dropped(_)));
}

#[test]
fn a_question_is_taken_back_where_it_was_asked() {
    let mut board = Switchboard::new(false);
    let (_, _, mut heard) = ask(&mut board, 1, &json!(1), &json!(1));
    hear(&mut board, &json!({ "jsonrpc": "2.0", "id": "q", "method": "roots/list" }));
    assert_eq!(next(&mut heard).unwrap()["id"], "q");
    let cancel =
        |id: &str| json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
    assert!(matches!(hear(&mut board, &cancel("other")), Outcome::Dropped(_)));
    assert_eq!(hear(&mut board, &cancel("q")), Outcome::Passed);
    assert_eq!(next(&mut heard).unwrap()["params"]["requestId"], "q");
}

/// What waits for a reader that does not read has bounds in bytes too.
#[test]
fn large_messages_wait_beside_few() {
    let mut board = Switchboard::new(false);
    let (to, mut heard) = mpsc::channel(AHEAD);
    board.listen(1, to);
    let log = |size: usize| {
        let data = "x".repeat(size);
        Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{data}"}}}}"#
        ))
    };
    let passed = (0..AHEAD).filter(|_| board.hear(log(super::LARGE)) == Outcome::Passed).count();
    assert_eq!(passed, super::FEW);
    assert_eq!(board.hear(log(10)), Outcome::Passed);
    while heard.try_recv().is_ok() {}
    assert_eq!(board.hear(log(super::LARGE)), Outcome::Passed);
}

#[test]
fn a_session_waits_while_it_listens_or_has_asked_whatever_others_do() {
    let mut board = Switchboard::new(true);
    let (number, _, _heard) = ask(&mut board, 1, &json!(7), &json!("t"));
    let (to, listens) = mpsc::channel(AHEAD);
    board.listen(2, to);
    let idle = |board: &Switchboard| [1, 2, 3].map(|session| board.is_idle_for(session));
    assert_eq!((idle(&board), board.is_idle()), ([false, false, true], false));
    board.abandon(number);
    assert_eq!(idle(&board), [true, false, true]);
    drop(listens);
    assert_eq!((idle(&board), board.is_idle()), ([true, true, true], true));
}
