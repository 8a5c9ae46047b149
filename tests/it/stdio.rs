//! Servers that are programs: what they are started with and hear, who hears them, and that nothing of them is left.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::join_all;
use portcullis::demo::issuer::Issuer;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Client, Folder, Process, Setup, token_of, until};

const SERVER: &str = include_str!("programs/server.sh");
const OPEN: &str =
    "[[rule]]\nid = \"any\"\ntools = [\"*\"]\n[[rule]]\nid = \"asks\"\nmethods = [\"elicitation/create\"]\n";

struct Running {
    process: Process,
    folder: Folder,
    issuer: Issuer,
}

/// A proxy of its own in front of the program, with more keys of `[servers.crm]`.
async fn serve(keys: &str) -> Running {
    serve_under(OPEN, keys).await
}

/// The same under that policy.
async fn serve_under(policy: &str, keys: &str) -> Running {
    let setup =
        Setup::new("").policy(policy).server("command = [\"sh\", \"server.sh\"]\ncwd = \".\"\nschema = \"off\"");
    let (folder, issuer) = setup.server(keys).file("server.sh", SERVER).write("127.0.0.1:0", "127.0.0.1:0").await;
    let process = Process::serve(&folder).await;
    Running { process, folder, issuer }
}

impl Running {
    fn token(&self, user: &str) -> String {
        self.issuer.mint_claims(&token_of(&self.issuer, user)).unwrap()
    }

    async fn open(&self, token: &str) -> String {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "it", "version": "1" } });
        let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(token);
        let answer = until("the issuer's keys", async || {
            let answer = self.process.ask(&ask).await;
            (answer.status != 503).then_some(answer)
        })
        .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["result"]["serverInfo"]["name"], "sh");
        let session = answer.header("mcp-session-id").unwrap().to_owned();
        let ready = Ask::post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let ready = ready.header("MCP-Protocol-Version", "2025-11-25").session(&session).token(token);
        assert_eq!(self.process.ask(&ready).await.status, 202);
        session
    }

    async fn call(&self, token: &str, session: &str, tool: &str, word: &str) -> Answer {
        self.process.ask(&call(tool, word).session(session).token(token)).await
    }

    /// The number of the process that answers.
    async fn pid(&self, token: &str, session: &str) -> String {
        let answer = self.call(token, session, "echo", "x").await;
        text(&answer).split(' ').next().unwrap().to_owned()
    }

    /// What processes heard.
    fn heard(&self) -> Vec<Value> {
        let lines = self.folder.read("heard.txt");
        lines.lines().map(|line| serde_json::from_str(line.split_once(' ').unwrap().1).unwrap()).collect()
    }

    async fn metrics(&self) -> String {
        let mut client = Client::connect(self.process.admin).await;
        client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        client.answer().await.unwrap().text().to_owned()
    }

    async fn counted(&self, kind: &str) {
        let line = format!("portcullis_upstream_errors_total{{server=\"crm\",kind=\"{kind}\"}}");
        let metrics = self.metrics().await;
        assert!(metrics.contains(&line), "{kind}: {metrics}");
    }

    /// Waits until that many messages of the program, or more, were counted as told to nobody.
    async fn dropped(&self, reason: &str, least: u64) {
        let name = format!("portcullis_upstream_messages_dropped_total{{server=\"crm\",reason=\"{reason}\"}} ");
        until(&name, async || {
            let metrics = self.metrics().await;
            let count = metrics.lines().find_map(|line| line.strip_prefix(&name))?.parse::<u64>().unwrap();
            (count >= least).then_some(())
        })
        .await;
    }

    /// Waits until no call runs or waits and no stream is open; so many processes still run.
    async fn nothing_is_left(&self, processes: usize) {
        until("everything to be over", async || {
            let metrics = self.metrics().await;
            let gauges = ["portcullis_upstream_in_flight{", "portcullis_upstream_queue{", "portcullis_streams{"];
            let is_gauge = |line: &&str| gauges.iter().any(|gauge| line.starts_with(gauge));
            let is_over = metrics.lines().filter(is_gauge).all(|line| line.ends_with(" 0"));
            let running = format!("portcullis_upstream_processes{{server=\"crm\"}} {processes}");
            (is_over && metrics.lines().any(|line| line == running)).then_some(())
        })
        .await;
    }
}

fn call(tool: &str, word: &str) -> Ask {
    Ask::call("2025-11-25", tool, &json!({ "word": word }))
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.message()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// Whether a process runs: one that nobody has reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}

async fn gone(pid: &str) {
    until(&format!("{pid} to be gone"), async || (!runs(pid)).then_some(())).await;
}

#[tokio::test]
async fn a_program_is_served_like_a_server_over_http() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let answer = running.call(&token, &session, "echo", "hello").await;
    assert!(text(&answer).ends_with(" hello"), "{answer:?}");
    assert_eq!(answer.json()["id"], 7);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let heard = running.heard();
    let methods: Vec<_> = heard.iter().map(|message| message["method"].clone()).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/call"], "greeted once, by the proxy");
    assert_eq!(heard[2]["id"], 2, "an id of the proxy's own");
    assert_eq!(heard[2]["params"]["arguments"], json!({ "word": "hello" }));

    // Line breaks that JSON allows are none in what the program reads.
    let spread = "{\r\n\"jsonrpc\":\"2.0\",\n\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"word\":\"a\",\"more\":\"x\u{2028}y\"}}}\n";
    let ask = Ask::post(spread).header("MCP-Protocol-Version", "2025-11-25").session(&session).token(&token);
    assert!(text(&running.process.ask(&ask).await).ends_with(" a"));
    assert_eq!(running.heard().len(), 4);

    // Who opens no session is held one, with a process of the same caller's; and one that is closed is none.
    assert!(text(&running.process.ask(&call("echo", "x").token(&token)).await).ends_with(" x"));
    let close = Ask::new("DELETE").session(&session).token(&token);
    assert_eq!(running.process.ask(&close).await.status, 200);
    assert_eq!(running.call(&token, &session, "echo", "x").await.status, 404);
    assert_eq!(running.call(&running.token("max"), &session, "echo", "x").await.status, 404);
}

#[tokio::test]
async fn a_program_hears_arguments_as_masks_leave_them() {
    let mask = "[[mask]]\nid = \"mail\"\non = [\"arguments\"]\nentities = [\"EMAIL_ADDRESS\"]\n";
    let running = serve_under(&format!("{OPEN}{mask}"), "").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    assert_eq!(running.call(&token, &session, "echo", "mail ana@private.example").await.status, 200);
    let called: Vec<Value> = running.heard().into_iter().filter(|message| message["method"] == "tools/call").collect();
    assert_eq!(called.len(), 1);
    assert_eq!(called[0]["params"]["arguments"], json!({ "word": "mail [EMAIL_ADDRESS]" }));
    assert!(!running.folder.read("heard.txt").contains("private.example"));
}

#[tokio::test]
async fn who_shares_a_process_is_configured() {
    for (sessions, same_caller, all) in
        [("per_principal", true, false), ("per_client_session", false, false), ("shared", true, true)]
    {
        let running = serve(&format!("sessions = \"{sessions}\"")).await;
        let (ana, max) = (running.token("ana"), running.token("max"));
        let opened = [running.open(&ana).await, running.open(&ana).await, running.open(&max).await];
        let one = running.pid(&ana, &opened[0]).await;
        let two = running.pid(&ana, &opened[1]).await;
        let three = running.pid(&max, &opened[2]).await;
        assert_eq!((one == two, one == three), (same_caller, all), "{sessions}");
        assert_eq!(running.pid(&ana, &opened[0]).await, one, "{sessions}: it stays");
        let close = Ask::new("DELETE").session(&opened[1]).token(&ana);
        assert_eq!(running.process.ask(&close).await.status, 200);
        if sessions == "per_client_session" {
            gone(&two).await;
        }
        assert!(runs(&one));
    }
}

/// Sessions the proxy holds for clients that have none are their callers' like any other.
#[tokio::test]
async fn who_has_no_session_shares_a_process_with_nobody_else_either() {
    let running = serve("era = \"legacy\"").await;
    let pid = async |revision: &str, user: &str| {
        let ask = Ask::call(revision, "echo", &json!({ "word": "x" })).token(&running.token(user));
        let answer = until("the issuer's keys", async || {
            let answer = running.process.ask(&ask).await;
            (answer.status != 503).then_some(answer)
        })
        .await;
        text(&answer).split(' ').next().unwrap().to_owned()
    };
    for revision in ["2026-07-28", "2025-11-25"] {
        let (ana, max) = (pid(revision, "ana").await, pid(revision, "max").await);
        assert_ne!(ana, max, "{revision}");
        assert_eq!(pid(revision, "ana").await, ana, "{revision}");
    }
}

#[tokio::test]
async fn many_callers_with_the_same_ids_each_get_their_own_answer() {
    let running = serve("sessions = \"shared\"").await;
    let (ana, max) = (running.token("ana"), running.token("max"));
    let sessions = [(ana.clone(), running.open(&ana).await), (max.clone(), running.open(&max).await)];
    let calls = (0..44).map(|number| {
        let (token, session) = &sessions[number % 2];
        let (running, word) = (&running, format!("{}-{number}", ["ana", "max"][number % 2]));
        async move { (text(&running.call(token, session, "echo", &word).await), word) }
    });
    for (said, word) in join_all(calls).await {
        assert_eq!(said.split_once(' ').unwrap().1, word);
    }
    let ids: BTreeSet<_> = running.heard().iter().filter_map(|message| message["id"].as_u64()).collect();
    assert_eq!(ids.len(), 45, "an id is never used twice");
}

/// Clients of 2026-07-28 have no sessions, and all of them begin to count at the same number.
#[tokio::test]
async fn nobody_takes_back_what_another_has_asked() {
    let running = serve("sessions = \"shared\"\nera = \"modern\"").await;
    let (ana, max) = (running.token("ana"), running.token("max"));
    let modern = |tool: &str, token: &str| Ask::call("2026-07-28", tool, &json!({ "word": "x" })).token(token);
    let keys = async || {
        let answer = running.process.ask(&modern("echo", &max)).await;
        (answer.status != 503).then_some(())
    };
    until("the issuer's keys", keys).await;
    let asks = async {
        let answer = running.process.ask(&modern("hang", &ana)).await;
        assert_eq!(text(&answer), "late");
    };
    let interferes = async {
        until("the call", async || running.folder.read("heard.txt").contains("hang").then_some(())).await;
        let back = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
        let back = Ask::post(back).header("MCP-Protocol-Version", "2026-07-28").token(&max);
        let back = back.header("Mcp-Method", "notifications/cancelled");
        assert_eq!(running.process.ask(&back).await.status, 202);
        assert!(text(&running.process.ask(&modern("late", &max)).await).ends_with(" on time"));
    };
    tokio::join!(asks, interferes);
    let heard = running.heard();
    assert!(heard.iter().all(|message| message["method"] != "notifications/cancelled"), "{heard:?}");
}

#[tokio::test]
async fn an_answer_nobody_asked_for_goes_nowhere_and_ends_its_process_the_second_time() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let first = running.call(&token, &session, "unasked", "one").await;
    let pid = text(&first).split_once(' ').unwrap().0.to_owned();
    assert!(text(&first).ends_with(" one"));
    let second = running.call(&token, &session, "unasked", "two").await;
    assert!(!second.text().contains("stolen"), "{second:?}");
    gone(&pid).await;
    running.dropped("unasked", 2).await;
    assert_ne!(running.pid(&token, &session).await, pid, "started again, and the session goes on");
}

#[tokio::test]
async fn a_program_that_ends_is_started_again() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let pid = running.pid(&token, &session).await;
    let lost = running.call(&token, &session, "die", "x").await;
    assert_eq!((lost.status, &lost.json()["error"]["code"]), (502, &json!(-31502)));
    running.counted("exited").await;
    assert_ne!(running.pid(&token, &session).await, pid);
    gone(&pid).await;

    // One that only ends is left alone.
    let running = serve("breaker = { failures = 2, pause = \"5m\", longest = \"5m\" }").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    for _ in 0..2 {
        assert_eq!(running.call(&token, &session, "die", "x").await.status, 502);
    }
    let refused = running.call(&token, &session, "echo", "x").await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    running.counted("breaker_open").await;

    // What one session alone knew is lost with its process.
    let running = serve("sessions = \"per_client_session\"").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    assert_eq!(running.call(&token, &session, "die", "x").await.status, 502);
    assert_eq!(running.call(&token, &session, "echo", "x").await.status, 404);
}

#[tokio::test]
async fn lines_that_are_no_messages_are_refused_and_a_flood_of_them_ends_the_process() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let answer = running.call(&token, &session, "junk", "fine").await;
    let pid = text(&answer).split_once(' ').unwrap().0.to_owned();
    running.dropped("not_mcp", 3).await;
    assert_eq!(running.call(&token, &session, "flood", "x").await.status, 502);
    gone(&pid).await;
    running.dropped("not_mcp", 103).await;
    // A line without an end is none either.
    let pid = running.pid(&token, &session).await;
    assert_eq!(running.call(&token, &session, "endless", "x").await.status, 502);
    gone(&pid).await;
    running.dropped("too_long", 1).await;
    running.counted("exited").await;
    assert!(text(&running.call(&token, &session, "echo", "again").await).ends_with(" again"));
}

#[tokio::test]
async fn who_gets_no_answer_in_time_is_told_and_the_program_too() {
    let running = serve("timeouts = { first_byte = \"300ms\" }").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let late = running.call(&token, &session, "hang", "x").await;
    assert_eq!((late.status, &late.json()["error"]["code"]), (504, &json!(-31504)));
    running.counted("timeout_first_byte").await;
    until("the program to be told", async || {
        let heard = running.heard();
        let told = heard.iter().find(|message| message["method"] == "notifications/cancelled")?;
        assert_eq!(told["params"]["requestId"], 2);
        Some(())
    })
    .await;
    // Its answer is no longer anybody's, and no reason to end it.
    let next = running.call(&token, &session, "late", "x").await;
    assert!(text(&next).ends_with(" on time"), "{next:?}");

    // A program that reads nothing more: whoever writes to it gives up, and it is ended.
    let pid = running.pid(&token, &session).await;
    let word = "a".repeat(200_000);
    assert_eq!(running.call(&token, &session, "deaf", "x").await.status, 504);
    assert_eq!(running.call(&token, &session, "echo", &word).await.status, 504);
    gone(&pid).await;
    running.dropped("late", 1).await;
    assert!(text(&running.call(&token, &session, "echo", "again").await).ends_with(" again"));
    running.nothing_is_left(1).await;
}

fn with_progress(tool: &str) -> Ask {
    let params = json!({ "name": tool, "arguments": { "word": "done" }, "_meta": { "progressToken": "mine" } });
    Ask::legacy("tools/call", &params)
}

#[tokio::test]
async fn a_program_that_is_killed_in_the_middle_of_an_answer_ends_it() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let pid = running.pid(&token, &session).await;
    let answer = running.process.ask(&with_progress("perish").session(&session).token(&token)).await;
    let messages = answer.messages();
    assert_eq!((messages.len(), &messages[0]["params"]["progress"]), (2, &json!(1)), "{messages:?}");
    assert_eq!(messages[1]["error"]["code"], -31502);
    gone(&pid).await;
    running.counted("exited").await;
    running.nothing_is_left(0).await;
}

/// A program that says more than its client reads is not held up by it, nor is anybody else; the answer comes all the same.
#[tokio::test]
async fn a_flood_of_messages_loses_news_and_never_the_answer() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let mut client = Client::connect(running.process.address).await;
    client.send(&with_progress("chatter").session(&session).token(&token).bytes()).await;
    let head = client.head().await.unwrap();
    assert!(head.is_stream(), "{head:?}");
    assert!(text(&running.call(&token, &session, "echo", "meanwhile").await).ends_with(" meanwhile"));
    let (mut count, mut last) = (0, Value::Null);
    while let Some(message) = client.message().await {
        (count, last) = (count + 1, message);
    }
    assert!((2..=20_001).contains(&count), "{count}");
    assert!(last["result"]["content"][0]["text"].as_str().unwrap().ends_with(" done"), "{last}");
    running.nothing_is_left(1).await;
}

#[tokio::test]
async fn what_belongs_to_a_call_comes_on_its_stream_with_the_client_s_own_token() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let params = json!({ "name": "progress", "arguments": { "word": "done" }, "_meta": { "progressToken": "mine" } });
    let ask = Ask::legacy("tools/call", &params).session(&session).token(&token);
    let answer = running.process.ask(&ask).await;
    let messages = answer.messages();
    assert_eq!(messages.len(), 2, "the other token is nobody's: {messages:?}");
    assert_eq!(messages[0]["params"]["progressToken"], "mine");
    assert_eq!(messages[1]["id"], 7);
    assert!(text(&answer).ends_with(" done"));
}

/// A program keeps nothing that could be told again: its streams name no places, and one that is made up is none.
#[tokio::test]
async fn a_stream_of_a_program_cannot_be_resumed() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let answer = running.process.ask(&with_progress("progress").session(&session).token(&token)).await;
    assert!(answer.is_stream() && answer.text().lines().all(|line| !line.starts_with("id:")), "{answer:?}");
    let listen = Ask::new("GET").header("Accept", "text/event-stream").session(&session).token(&token);
    let resumed = running.process.ask(&listen.header("Last-Event-ID", "1")).await;
    assert_eq!((resumed.status, &resumed.json()["error"]["code"]), (404, &json!(-32600)), "{resumed:?}");
}

#[tokio::test]
async fn questions_reach_the_client_that_called_and_its_answer_the_program() {
    let running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let mut client = Client::connect(running.process.address).await;
    client.send(&call("ask", "x").session(&session).token(&token).bytes()).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let event = client.event().await.unwrap();
    let question: Value =
        serde_json::from_str(event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
    assert_eq!(question["method"], "elicitation/create");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "decline" } });
    let post = |body: &Value, session: &str| {
        Ask::post(body.to_string()).header("MCP-Protocol-Version", "2025-11-25").session(session).token(&token)
    };
    // Another session of the same caller was not asked.
    let other = running.open(&token).await;
    running.process.ask(&post(&answer, &other)).await;
    assert_eq!(running.process.ask(&post(&answer, &session)).await.status, 202);
    let event = client.event().await.unwrap();
    assert!(event.contains("decline"), "{event}");
    let heard = running.heard();
    let answers = heard.iter().filter(|message| message["id"] == "q1").count();
    assert_eq!(answers, 1, "{heard:?}");
}

#[tokio::test]
async fn a_program_is_started_apart_from_everything() {
    let running = serve("env = { ROOT = \"/srv\", TOKEN = \"s3cr3t\" }").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let names = text(&running.call(&token, &session, "environment", "x").await);
    let allowed = ["HOME", "LANG", "OLDPWD", "PATH", "PWD", "ROOT", "SHLVL", "TOKEN", "_"];
    assert!(names.split_whitespace().all(|name| allowed.contains(&name)), "{names}");
    assert!(names.contains("ROOT") && names.contains("TOKEN"), "{names}");
    let pid = running.pid(&token, &session).await;
    // A shell keeps one more for the text it runs; others it holds only while it answers.
    until("only the standard descriptors", async || {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let open: BTreeSet<_> = open.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        open.iter().all(|name| ["0", "1", "2", "10"].contains(&name.as_str())).then_some(())
    })
    .await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()), "a group and a session of its own");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")), "{limits}");
}

#[tokio::test]
async fn what_a_program_writes_to_standard_error_is_logged_masked() {
    let mut running = serve("").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    text(&running.call(&token, &session, "mutter", "x").await);
    let line = running.process.log_line("child says").await;
    assert!(line.contains("mail ") && !line.contains("ana@example.com"), "{line}");
}

#[tokio::test]
async fn no_process_outlives_the_proxy_however_it_ends() {
    for signal in ["TERM", "KILL"] {
        let mut running =
            serve("sessions = \"per_client_session\"\nstdio = { grace = \"100ms\" }\nenv = { HOLD = \"1\" }").await;
        let (ana, max) = (running.token("ana"), running.token("max"));
        let mut pids = Vec::new();
        for token in [&ana, &ana, &max] {
            let session = running.open(token).await;
            pids.push(running.pid(token, &session).await);
            // What it has started: one that stays with it, and one that has left its group, its session and its parents.
            pids.push(text(&running.call(token, &session, "start", "x").await));
            pids.push(text(&running.call(token, &session, "detach", "x").await));
        }
        assert!(pids.iter().all(|pid| runs(pid)));
        running.process.signal(signal);
        let code = running.process.ended().await;
        assert_eq!(code, (signal == "TERM").then_some(0));
        for pid in &pids {
            // After a drain they are gone already; a killed proxy leaves that to the kernel.
            assert!(signal == "KILL" || !runs(pid), "{pid} of {pids:?}");
            gone(pid).await;
        }
    }
}

/// What its client has told to end may put its things in order, also while the proxy ends.
#[tokio::test]
async fn what_was_told_to_end_has_its_time() {
    let mut running =
        serve("sessions = \"per_client_session\"\nstdio = { grace = \"30s\" }\nenv = { LINGER = \"1\" }").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let pid = running.pid(&token, &session).await;
    let close = Ask::new("DELETE").session(&session).token(&token);
    assert_eq!(running.process.ask(&close).await.status, 200);
    running.process.signal("TERM");
    assert_eq!(running.process.ended().await, Some(0));
    assert!(running.folder.read("heard.txt").ends_with(&format!("{pid} bye\n")));
}

#[tokio::test]
async fn what_a_program_started_ends_with_it() {
    let running = serve("sessions = \"per_client_session\"").await;
    let token = running.token("ana");
    let session = running.open(&token).await;
    let mut started = Vec::new();
    for how in ["start", "detach"] {
        started.push(text(&running.call(&token, &session, how, "x").await));
    }
    assert!(started.iter().all(|pid| runs(pid)));
    let close = Ask::new("DELETE").session(&session).token(&token);
    assert_eq!(running.process.ask(&close).await.status, 200);
    for pid in &started {
        gone(pid).await;
    }
    // So it does with one that ends by itself.
    let session = running.open(&token).await;
    let left = text(&running.call(&token, &session, "detach", "x").await);
    assert_eq!(running.call(&token, &session, "die", "x").await.status, 502);
    gone(&left).await;
}

/// Only root can start a program as somebody else.
#[tokio::test]
async fn a_program_runs_as_the_user_it_is_given() {
    use std::os::unix::fs::PermissionsExt as _;

    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tried: a program can be started as another user by root alone");
        return;
    }
    let setup = Setup::new("").policy(OPEN).server("command = [\"sh\", \"server.sh\"]\ncwd = \".\"\nschema = \"off\"");
    let setup = setup.server("user = \"65534:65534\"").file("server.sh", SERVER).file("secret.txt", "open");
    let (folder, issuer) = setup.write("127.0.0.1:0", "127.0.0.1:0").await;
    let mode = |name: &str, mode| {
        std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // It writes down what it hears.
    mode("", 0o777);
    mode("secret.txt", 0o600);
    let running = Running { process: Process::serve(&folder).await, folder, issuer };
    let token = running.token("ana");
    let session = running.open(&token).await;
    assert_eq!(text(&running.call(&token, &session, "who", "x").await), "65534 65534 closed");
    let pid = running.pid(&token, &session).await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert!(groups.trim().is_empty(), "{groups}");
    // The proxy can still end it, and what it started.
    let left = text(&running.call(&token, &session, "detach", "x").await);
    assert!(runs(&left));
    running.call(&token, &session, "die", "x").await;
    gone(&left).await;
    gone(&pid).await;
}

#[tokio::test]
async fn no_more_processes_run_than_may() {
    let running = serve("sessions = \"per_client_session\"\nstdio = { processes = 4 }").await;
    let token = running.token("ana");
    let sessions = [running.open(&token).await, running.open(&token).await];
    let mut streams = Vec::new();
    for session in &sessions {
        let mut client = Client::connect(running.process.address).await;
        client
            .send(&Ask::new("GET").header("Accept", "text/event-stream").session(session).token(&token).bytes())
            .await;
        assert_eq!(client.head().await.unwrap().status, 200);
        streams.push(client);
    }
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&token);
    assert_eq!(running.process.ask(&ask).await.status, 429);
    // The other half is left to others.
    running.counted("share_full").await;
    let max = running.token("max");
    let other = running.open(&max).await;
    let busy = running.pid(&max, &other).await;
    // Once one of them has nothing to do it makes room, and nobody else's does.
    drop(streams);
    let status = until("room", async || {
        let status = running.process.ask(&ask).await.status;
        (status != 429).then_some(status)
    })
    .await;
    assert_eq!(status, 200);
    let again = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&token);
    for _ in 0..4 {
        assert_eq!(running.process.ask(&again).await.status, 200);
    }
    assert_eq!(running.pid(&max, &other).await, busy, "it stays");
}

#[tokio::test]
async fn processes_that_all_have_something_to_do_make_no_room() {
    let running = serve("sessions = \"per_client_session\"\nstdio = { processes = 1 }").await;
    let (ana, max) = (running.token("ana"), running.token("max"));
    let session = running.open(&ana).await;
    let mut client = Client::connect(running.process.address).await;
    let listens = Ask::new("GET").header("Accept", "text/event-stream").session(&session).token(&ana);
    client.send(&listens.bytes()).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } });
    let ask = Ask::legacy("initialize", &params).without("MCP-Protocol-Version").token(&max);
    assert_eq!(running.process.ask(&ask).await.status, 503);
    running.counted("processes_full").await;
}
