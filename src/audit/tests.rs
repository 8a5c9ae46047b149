use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use uuid::Uuid;

use super::*;
use crate::config::AuditSink;
use crate::json;

mod chained;
pub(super) mod keys;
mod rotating;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);

/// A sink with limited space.
#[derive(Debug)]
pub(super) struct Fake {
    bytes: Vec<u8>,
    cuts: bool,
    room: usize,
    sync_fails: bool,
    writes: usize,
}

impl Fake {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { bytes: Vec::new(), cuts: true, room: usize::MAX, sync_fails: false, writes: 0 }))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        let count = bytes.len().min(self.room.saturating_sub(self.bytes.len()));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    pub(super) fn cut(&mut self, count: u64) -> io::Result<()> {
        if !self.cuts {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.bytes.truncate(self.bytes.len() - usize::try_from(count).unwrap());
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.sync_fails { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }
}

fn faked(fake: &Arc<Mutex<Fake>>, on_error: OnAuditError) -> Arc<Lane> {
    Lane::new(Arc::new(Audit::with(Writer::fake(Arc::clone(fake)), on_error, instance(), sanitize)))
}

fn instance() -> Vec<u8> {
    b",\"instance\":\"test/0\"".to_vec()
}

fn sanitize(text: &str) -> Cow<'_, str> {
    Cow::Owned(text.replace("ana@example.com", "[EMAIL_ADDRESS]"))
}

fn record() -> Record<'static> {
    Record::new(Event::Call, Timestamp::from_unix_seconds(1_767_614_400), Uuid::from_u128(0x0193_5a00))
}

/// Every line as an object; fails unless all are whole and strict JSON.
fn lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let line = |line: &str| {
        let document = json::Document::parse(line.to_owned().into(), &json::Limits::REQUEST).unwrap();
        document.root().to_value()
    };
    text.lines().map(line).collect()
}

fn sequence(lines: &[serde_json::Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portcullis-audit-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn to_file(path: PathBuf, on_error: OnAuditError, sync: bool) -> Arc<Audit> {
    let config = config::Audit { on_error, sync, ..config::Audit::to(AuditSink::File(path)) };
    Audit::open(&config, "test/0", sanitize).unwrap()
}

#[test]
fn a_call_record_says_all_that_is_known() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let subject = lane.audit().subject(&Subject {
        issuer: "https://login.example.com/realms/acme",
        subject: "ana@example.com",
        client_id: Some("claude-code"),
        scopes: &["crm:read", "crm:write"],
        token_id: Some("j\"1"),
        key_id: Some("a1"),
        actors: &["agent"],
    });
    let client = lane.audit().client(&Client {
        address: "10.2.3.4".parse().unwrap(),
        user_agent: Some(b"agent of ana@example.com \xff"),
        name: Some("claude-code"),
        version: Some("2.1.258"),
    });
    let missing = ["crm:admin".into()];
    let record = Record {
        decision: Some(Decision::StepUp),
        server: Some("crm"),
        method: Some("tools/call"),
        target: Some(Target::Tool("get_contact")),
        protocol: Some("2025-11-25"),
        rpc_id: Some(b"7"),
        session: Some(Session::of("abc")),
        subject: Some(&subject),
        client: Some(&client),
        policy: Some(Policy { version: "sha256:5f0c", rule: Some("crm-read"), reason: None, missing_scopes: &missing }),
        masked: &[
            Masked { mask: "pii", entity: "EMAIL_ADDRESS", action: "redact", direction: "result", count: 2 },
            Masked { mask: "pii", entity: "IBAN", action: "mask", direction: "arguments", count: 1 },
        ],
        status: Some(403),
        error: Some(ErrorCode::Code(-31403)),
        duration: Some(Duration::from_micros(2400)),
        upstream: Some(Duration::from_micros(1_000_006)),
        credential: Some(&render_credential("token_exchange", Some("https://login.example.com"))),
        ..record()
    };
    lane.record_now(&record).unwrap();
    let expected = concat!(
        r#"{"v":1,"time":"2026-01-05T12:00:00.000Z","event":"call","id":"00000000-0000-0000-0000-000001935a00","#,
        r#""request_id":"00000000-0000-0000-0000-000001935a00","decision":"step_up","shadow":false,"server":"crm","#,
        r#""method":"tools/call","tool":"get_contact","protocol":"2025-11-25","rpc_id":7,"#,
        r#""session":"sha256:ba7816bf8f01cfea","#,
        r#""subject":{"iss":"https://login.example.com/realms/acme","sub":"ana@example.com","client_id":"claude-code","act":["agent"],"#,
        r#""scopes":["crm:read","crm:write"],"jti":"j\"1","kid":"a1"},"#,
        r#""client":{"ip":"10.2.3.4","user_agent":"agent of [EMAIL_ADDRESS] "#,
        "\u{fffd}",
        r#"","name":"claude-code","version":"2.1.258"},"#,
        r#""policy":{"version":"sha256:5f0c","rule":"crm-read","reason":null,"missing_scopes":["crm:admin"]},"#,
        r#""masked":[{"mask":"pii","entity":"EMAIL_ADDRESS","action":"redact","direction":"result","count":2},"#,
        r#"{"mask":"pii","entity":"IBAN","action":"mask","direction":"arguments","count":1}],"#,
        r#""credential":{"type":"token_exchange","iss":"https://login.example.com"},"#,
        r#""http":403,"error":-31403,"duration_ms":2.400,"upstream_ms":1000.006,"instance":"test/0","seq":1}"#,
        "\n"
    );
    assert_eq!(std::str::from_utf8(&fake.lock().unwrap().bytes).unwrap(), expected);
    assert_eq!(lines(expected.as_bytes()).len(), 1);
}

#[test]
fn every_event_decision_and_target_is_a_strict_line() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let mut expected = Vec::new();
    for (event, name) in [
        (Event::AuthFailed, "auth_failed"),
        (Event::Call, "call"),
        (Event::ConfigReload, "config_reload"),
        (Event::End, "end"),
        (Event::KeyRefresh, "key_refresh"),
        (Event::Revoked, "revoked"),
        (Event::Start, "start"),
        (Event::Stop, "stop"),
    ] {
        lane.record_now(&Record { event, ..record() }).unwrap();
        expected.push(("event", name));
    }
    for (decision, name) in [
        (Decision::Allow, "allow"),
        (Decision::Deny, "deny"),
        (Decision::Refused, "refused"),
        (Decision::StepUp, "step_up"),
    ] {
        lane.record_now(&Record { decision: Some(decision), ..record() }).unwrap();
        expected.push(("decision", name));
    }
    for (target, key) in [
        (Target::Prompt("x y"), "prompt"),
        (Target::Resource("x y"), "resource"),
        (Target::ResourceTemplate("x y"), "resource_template"),
        (Target::Tool("x y"), "tool"),
    ] {
        lane.record_now(&Record { target: Some(target), ..record() }).unwrap();
        expected.push((key, "x y"));
    }
    lane.record_now(&Record { error: Some(ErrorCode::Name("expired")), ..record() }).unwrap();
    expected.push(("error", "expired"));
    let lines = lines(&fake.lock().unwrap().bytes);
    for (line, (key, text)) in lines.iter().zip(&expected) {
        assert_eq!(line[key], *text);
    }
    assert_eq!(sequence(&lines), (1..=17).collect::<Vec<_>>());
    assert_ne!(lines[1]["id"], lines[3]["id"], "the lines of one request have ids of their own");
    assert_eq!(lines[1]["request_id"], lines[3]["request_id"]);
}

#[test]
fn nothing_a_caller_writes_gets_out_of_its_string() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let evil = "nope\n{\"decision\":\"allow\"}\u{1b}[31m\u{2028}ana@example.com\u{202e}";
    let long = "x ".repeat(5000);
    for (name, id, shown) in [
        (evil, &b"\"a\\u001b[0m ana@example.com\""[..], Some("a\u{1b}[0m [EMAIL_ADDRESS]")),
        (&long, b"\"plain-7\"", Some("plain-7")),
        ("", b"\"\"", Some("")),
        ("\"", b"\"unfinished", None),
        ("\\", b"[1]", None),
        ("x", b"", None),
        ("x", b"1e9", None),
    ] {
        lane.record_now(&Record { target: Some(Target::Tool(name)), rpc_id: Some(id), ..record() }).unwrap();
        let bytes = std::mem::take(&mut fake.lock().unwrap().bytes);
        assert!(bytes[..bytes.len() - 1].iter().all(|byte| *byte >= b' '), "control characters");
        let shape = lines(&bytes).pop().unwrap();
        assert_eq!(shape["rpc_id"].as_str(), shown, "{shape}");
        assert!(shape["tool"].as_str().unwrap().len() <= 200 && bytes.len() < 1000, "{shape}");
        assert!(!shape.to_string().contains("ana@example.com"), "{shape}");
    }
}

#[tokio::test]
async fn lines_of_one_turn_are_written_together() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    lane.record(&record()).await.unwrap();
    assert_eq!(fake.lock().unwrap().writes, 1, "alone: one write, at once");

    let all = (0..20).map(|_| async { lane.record(&record()).await });
    assert!(join_all(all).await.iter().all(Result::is_ok));
    let fake = fake.lock().unwrap();
    assert_eq!(fake.writes, 2);
    assert_eq!(sequence(&lines(&fake.bytes)), (1..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_ticket_steps_back_once_and_is_then_written() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let mut ticket = lane.record(&record());
    poll_fn(|cx| {
        assert!(Pin::new(&mut ticket).poll(cx).is_pending());
        assert_eq!(fake.lock().unwrap().writes, 0);
        Pin::new(&mut ticket).poll(cx)
    })
    .await
    .unwrap();
    assert_eq!(fake.lock().unwrap().writes, 1);
}

#[test]
fn a_line_is_not_lost_with_its_request() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let mut ticket = lane.record(&record());
    assert!((&mut ticket).now_or_never().is_none());
    drop(ticket);
    drop(lane.record(&record()));
    assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1, 2]);
}

#[test]
fn a_full_disk_blocks_whole_lines_only() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    lane.record_now(&record()).unwrap();
    let length = fake.lock().unwrap().bytes.len();
    // Of three lines two fit and a part of the third.
    fake.lock().unwrap().room = 3 * length + length / 2;
    let tickets = [lane.record(&record()), lane.record(&record()), lane.record(&record())];
    assert_eq!(tickets.map(Ticket::settle), [Ok(()), Ok(()), Err(AuditError)]);
    assert!(lane.audit().is_failing());
    assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1, 2, 3]);
    // No room at all, and room for a part of a line.
    for room in [3 * length, 3 * length + 1, 4 * length - 1] {
        fake.lock().unwrap().room = room;
        assert_eq!(lane.record_now(&record()), Err(AuditError));
        assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1, 2, 3]);
    }
    fake.lock().unwrap().room = usize::MAX;
    lane.record_now(&record()).unwrap();
    assert!(!lane.audit().is_failing());
    assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1, 2, 3, 4]);
    assert_eq!(lane.audit().counts(), Counts { written: 4, unwritten: 4, ..Counts::default() });
}

#[test]
fn a_line_that_cannot_be_cut_is_ended() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    (fake.lock().unwrap().room, fake.lock().unwrap().cuts) = (10, false);
    assert_eq!(lane.record_now(&record()), Err(AuditError));
    assert_eq!(lane.record_now(&record()), Err(AuditError));
    fake.lock().unwrap().room = usize::MAX;
    lane.record_now(&record()).unwrap();
    lane.record_now(&record()).unwrap();
    let bytes = &fake.lock().unwrap().bytes;
    let (torn, whole) = bytes.split_at(11);
    assert_eq!(torn, b"{\"v\":1,\"ti\n");
    assert_eq!(sequence(&lines(whole)), [1, 2]);
}

#[test]
fn dropping_goes_on_and_leaves_a_gap() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Drop);
    lane.record_now(&record()).unwrap();
    let length = fake.lock().unwrap().bytes.len();
    fake.lock().unwrap().room = length + 9;
    lane.record_now(&record()).unwrap();
    lane.record_now(&record()).unwrap();
    fake.lock().unwrap().room = usize::MAX;
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1, 4]);
    assert_eq!(lane.audit().counts(), Counts { written: 2, dropped: 2, ..Counts::default() });
}

#[test]
fn what_is_not_synced_is_not_written() {
    let fake = Fake::new();
    let mut writer = Writer::fake(Arc::clone(&fake));
    writer.set_sync();
    let lane = Lane::new(Arc::new(Audit::with(writer, OnAuditError::Block, instance(), sanitize)));
    fake.lock().unwrap().sync_fails = true;
    assert_eq!(lane.record_now(&record()), Err(AuditError));
    assert_eq!(fake.lock().unwrap().bytes, b"");
    fake.lock().unwrap().sync_fails = false;
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&fake.lock().unwrap().bytes)), [1]);

    let folder = Folder::new();
    let lane = Lane::new(to_file(folder.file(), OnAuditError::Block, true));
    lane.record_now(&record()).unwrap();
    assert_eq!(lines(&std::fs::read(folder.file()).unwrap()).len(), 1);
}

#[test]
fn a_device_without_room_blocks() {
    let lane = |on_error| Lane::new(to_file("/dev/full".into(), on_error, false));
    assert_eq!(lane(OnAuditError::Block).record_now(&record()), Err(AuditError));
    let lane = lane(OnAuditError::Drop);
    lane.record_now(&record()).unwrap();
    assert_eq!(lane.audit().counts(), Counts { dropped: 1, ..Counts::default() });
}

#[test]
fn threads_never_mix_their_lines() {
    let folder = Folder::new();
    let audit = to_file(folder.file(), OnAuditError::Block, false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let lane = Lane::new(Arc::clone(&audit));
            scope.spawn(move || {
                let name = format!("t{thread}");
                let record = Record { server: Some(&name), ..record() };
                for _ in 0..250 {
                    let tickets = [lane.record(&record), lane.record(&record)];
                    assert_eq!(tickets.map(Ticket::settle), [Ok(()), Ok(())]);
                }
            });
        }
    });
    let lines = lines(&std::fs::read(folder.file()).unwrap());
    assert_eq!(sequence(&lines), (1..=2000).collect::<Vec<_>>(), "numbers follow the order in the file");
    for thread in 0..4 {
        assert_eq!(lines.iter().filter(|line| line["server"] == format!("t{thread}")).count(), 500);
    }
    assert_eq!(audit.counts().written, 2000);
}

#[test]
fn a_line_that_waits_for_a_slow_disk_is_counted() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    std::thread::scope(|scope| {
        let slow = fake.lock().unwrap();
        scope.spawn(|| lane.record_now(&record()).unwrap());
        while lane.audit().waiting() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(lane.audit().waiting(), 1);
        drop(slow);
    });
    assert_eq!(lane.audit().waiting(), 0);
}

#[test]
fn a_file_that_is_removed_is_made_anew_and_nothing_is_done_without_one() {
    let folder = Folder::new();
    let audit = to_file(folder.file(), OnAuditError::Block, false);
    let lane = Lane::new(Arc::clone(&audit));
    lane.record_now(&record()).unwrap();
    audit.tend(NOW);
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&std::fs::read(folder.file()).unwrap())), [1, 2]);

    std::fs::remove_file(folder.file()).unwrap();
    audit.tend(NOW);
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&std::fs::read(folder.file()).unwrap())), [3]);
    assert_eq!(audit.trouble(), None);

    std::fs::remove_dir_all(&folder.0).unwrap();
    audit.tend(NOW);
    assert_eq!(audit.trouble(), Some("audit cannot be written: calls are refused"));
    assert_eq!(lane.record_now(&record()), Err(AuditError));
    assert!(audit.reopen(NOW).is_err());
    assert_eq!(lane.record_now(&record()), Err(AuditError));
    std::fs::create_dir(&folder.0).unwrap();
    audit.tend(NOW);
    assert_eq!(audit.trouble(), None);
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&std::fs::read(folder.file()).unwrap())), [4]);

    // A renamed file stays in use until it is reopened.
    std::fs::rename(folder.file(), folder.0.join("audit.jsonl.1")).unwrap();
    audit.tend(NOW);
    lane.record_now(&record()).unwrap();
    assert!(!folder.file().exists());
}

#[test]
fn the_file_is_private_appended_to_and_opened_again() {
    let folder = Folder::new();
    let audit = to_file(folder.file(), OnAuditError::Block, false);
    let lane = Lane::new(Arc::clone(&audit));
    lane.record_now(&record()).unwrap();
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);

    let rotated = folder.0.join("audit.jsonl.1");
    std::fs::rename(folder.file(), &rotated).unwrap();
    lane.record_now(&record()).unwrap();
    audit.reopen(NOW).unwrap();
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&std::fs::read(&rotated).unwrap())), [1, 2]);
    assert_eq!(sequence(&lines(&std::fs::read(folder.file()).unwrap())), [3]);

    // If its folder is gone, the open file stays in use.
    let moved = Folder::new();
    std::fs::rename(folder.file(), moved.file()).unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert!(audit.reopen(NOW).is_err());
    lane.record_now(&record()).unwrap();
    assert_eq!(sequence(&lines(&std::fs::read(moved.file()).unwrap())), [3, 4]);

    // An unfinished line of an earlier process is ended, never continued.
    std::fs::write(moved.file(), "{\"v\":1,\"ti").unwrap();
    Lane::new(to_file(moved.file(), OnAuditError::Block, false)).record_now(&record()).unwrap();
    let text = std::fs::read_to_string(moved.file()).unwrap();
    let (torn, whole) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"v\":1,\"ti");
    assert_eq!(sequence(&lines(whole.as_bytes())), [1]);
}

#[tokio::test]
async fn a_flood_of_failures_is_counted_and_starves_nobody() {
    let fake = Fake::new();
    let lane = faked(&fake, OnAuditError::Block);
    let at = |seconds: i64| Timestamp::from_unix_seconds(1_767_614_400 + seconds);
    let failure = |seconds: i64, error| Record {
        event: Event::AuthFailed,
        time: at(seconds),
        decision: Some(Decision::Refused),
        server: Some("crm"),
        error: Some(ErrorCode::Name(error)),
        ..record()
    };
    for index in 0..10_000 {
        lane.record_failure(&failure(0, if index % 4 == 0 { "missing" } else { "expired" })).await;
    }
    assert_eq!(lines(&fake.lock().unwrap().bytes).len(), 100);
    // A decided call of the same second is written; the first of the next second writes the summary too.
    for seconds in [0, 1] {
        lane.record(&Record { time: at(seconds), ..record() }).await.unwrap();
    }
    let seen = lines(&fake.lock().unwrap().bytes);
    assert_eq!(sequence(&seen), (1..=104).collect::<Vec<_>>());
    assert_eq!(seen[100]["event"], "call");
    for (line, error, count) in [(&seen[101], "missing", 2475), (&seen[102], "expired", 7425)] {
        assert_eq!((&line["event"], &line["decision"]), (&"auth_failed".into(), &"refused".into()));
        assert_eq!((&line["error"], &line["count"]), (&error.into(), &count.into()), "{line}");
        assert_eq!(line["since"], "2026-01-05T12:00:00.000Z");
        assert_eq!(line["server"], "crm");
    }
    assert_eq!(seen[103]["event"], "call");
    assert_eq!(lane.audit().counts(), Counts { written: 104, suppressed: 9900, ..Counts::default() });

    // The next second has its own lines; at the end the remaining summary is written.
    for _ in 0..101 {
        lane.record_failure(&failure(1, "expired")).await;
    }
    lane.flush(at(1));
    assert_eq!(lines(&fake.lock().unwrap().bytes).len(), 204);
    lane.flush(at(2));
    lane.flush(at(3));
    assert_eq!(lines(&fake.lock().unwrap().bytes).len(), 205);

    // On a full disk a failure is not recorded, which only marks the log as failing.
    fake.lock().unwrap().room = 0;
    fake.lock().unwrap().bytes.clear();
    lane.record_failure(&failure(9, "expired")).await;
    assert!(lane.audit().is_failing());
}

#[test]
fn kinds_of_failure_are_bounded() {
    let mut failures = Failures::default();
    let names: Vec<String> = (0..1000).map(|n| format!("server-{n}")).collect();
    for name in names.iter().cycle().take(5000) {
        failures.admit(&Record { server: Some(name), ..record() });
    }
    let counted = failures.take();
    assert_eq!(counted.len(), 64);
    assert_eq!(counted.iter().map(|summary| summary.count).sum::<u64>(), 4900);
    assert!(counted[63].server.is_none());
}

/// A masked request for a GET stream, and its trail.
fn masked(fake: &Arc<Mutex<Fake>>) -> (Box<crate::trail::Trail>, crate::mask::Masked) {
    use crate::{mask, opened, policy, server, telemetry, trail};

    let metrics = Arc::new(telemetry::metrics::Metrics::new("0", ""));
    let sinks = trail::Sinks::new(faked(fake, OnAuditError::Block), metrics, server::drain::Drain::new());
    let address = "127.0.0.1:1".parse().unwrap();
    let peer = Arc::new(server::Peer::new(address, address));
    let (head, ()) = http::Request::new(()).into_parts();
    let mut trail = trail::Trail::begin(&sinks, peer, &head);
    let caller = Arc::new(policy::tests::caller(""));
    trail.identified(&caller);
    let opened = opened::Opened::without_handles(caller, opened::Ask::Listen);
    let permit = policy::authorize(&policy::Policy::default(), opened, &policy::tests::AT).unwrap();
    (trail, mask::mask(&mask::Masks::compile(Vec::new()).unwrap(), &[], permit, None, Timestamp::default()).unwrap())
}

fn events(fake: &Mutex<Fake>) -> Vec<String> {
    let lines = lines(&fake.lock().unwrap().bytes);
    lines
        .iter()
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["decision"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_line_that_nobody_waited_for_has_its_end() {
    let fake = Fake::new();
    let (mut trail, masked) = masked(&fake);
    assert!(decided(&mut trail, masked).now_or_never().is_none(), "the client hangs up here");
    drop(trail);
    assert_eq!(events(&fake), ["call allow", "end allow"]);
}

#[tokio::test]
async fn an_end_that_could_not_be_written_makes_no_refusal_of_the_call() {
    let fake = Fake::new();
    let (mut trail, masked) = masked(&fake);
    decided(&mut trail, masked).await.unwrap();
    let room = fake.lock().unwrap().bytes.len();
    fake.lock().unwrap().room = room;
    let ending = crate::trail::Ending { http: 200, code: None, tool_error: false, error: None };
    let (error, trail) = *trail.end(ending).await.unwrap_err();
    fake.lock().unwrap().room = usize::MAX;
    let response = trail.refuse(&crate::reject::Reject::Unrecorded(error)).await;
    assert_eq!(response.status(), 503);
    assert_eq!(events(&fake), ["call allow", "end allow"]);
}

#[test]
fn a_file_is_one_process_s_until_it_ends() {
    let folder = Folder::new();
    let audit = to_file(folder.file(), OnAuditError::Block, false);
    let other = std::fs::File::open(folder.file()).unwrap();
    let is_taken = || matches!(other.try_lock(), Err(std::fs::TryLockError::WouldBlock));
    assert!(is_taken());
    audit.reopen(NOW).unwrap();
    assert!(is_taken(), "opened again, it is still the same file");
    std::fs::rename(folder.file(), folder.0.join("audit.1")).unwrap();
    audit.reopen(NOW).unwrap();
    assert!(!is_taken(), "what was rotated away is nobody's");
    drop(audit);
    std::fs::File::open(folder.file()).unwrap().try_lock().unwrap();
}
