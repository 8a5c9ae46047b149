//! The record over its life: files that are full, processes that are killed while they rotate, and files whose time is over.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::Mutex;

use futures_util::future::join_all;
use portcullis::demo::issuer::Issuer;
use serde_json::{Value, json};

use crate::support::{Ask, Client, Folder, Process, Setup, Upstream, token_of, until};

/// The key of RFC 8037 appendix A.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

/// A proxy whose audit is in a folder of its own, with such keys of `[audit]`.
async fn folder(upstream: &Upstream, keys: &str) -> (Folder, Issuer) {
    let audit = format!(
        "sinks = [{{ type = \"file\", path = \"log/audit.jsonl\" }}]\nsigning_key_file = \"audit.pem\"\n\
         rotate = {{ size = \"16 KiB\", every = \"1d\" }}\n{keys}\n"
    );
    let (folder, issuer) = Setup::new(upstream.url()).audit(&audit).write("127.0.0.1:0", "127.0.0.1:0").await;
    fs::create_dir(folder.path("log")).unwrap();
    folder.write("audit.pem", PRIVATE);
    folder.write("audit.pub", PUBLIC);
    (folder, issuer)
}

fn search(issuer: &Issuer) -> Ask {
    let token = issuer.mint_claims(&token_of(issuer, "ana")).unwrap();
    Ask::call("2026-07-28", "search_contacts", &json!({ "query": "x" })).token(&token)
}

async fn ready(process: &Process, ask: &Ask) {
    until("keys", async || (process.ask(ask).await.status == 200).then_some(())).await;
}

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).current_dir(folder.path(".")).args(arguments).output().unwrap()
}

fn done(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let output = run(folder, arguments);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{out}\n{err}");
    (out, err)
}

/// Names of the files of the record, the oldest first.
fn files(folder: &Folder) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path("log")).unwrap().map(name).collect();
    names.sort();
    names
}

fn lines(folder: &Folder) -> Vec<Value> {
    let text: String = files(folder).iter().map(|name| folder.read(&format!("log/{name}"))).collect();
    // What a killed process has left of a line is none.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Asks until the connection ends, which the process was killed for.
async fn hammer(process: &Process, ask: &Ask, answered: &Mutex<Vec<String>>) {
    let mut client = Client::connect(process.address).await;
    loop {
        client.send(&ask.bytes()).await;
        let Some(answer) = client.answer().await else { return };
        assert_eq!(answer.status, 200);
        answered.lock().unwrap().push(answer.header("x-request-id").unwrap().to_owned());
    }
}

#[tokio::test]
async fn a_process_killed_while_it_rotates_loses_no_line_and_forks_no_chain() {
    let upstream = Upstream::plain().await;
    let (folder, issuer) = folder(&upstream, "").await;
    let ask = search(&issuer);
    let answered = Mutex::new(Vec::new());
    for enough in [40, 61, 83, 97, 50, 120] {
        let mut process = Process::serve(&folder).await;
        ready(&process, &ask).await;
        let before = answered.lock().unwrap().len();
        let kill = until("answers", async || {
            (answered.lock().unwrap().len() >= before + enough).then(|| process.signal("KILL"))
        });
        tokio::join!(kill, join_all((0..4).map(|_| hammer(&process, &ask, &answered))));
        assert_eq!(process.ended().await, None);
    }
    let mut process = Process::serve(&folder).await;
    process.signal("TERM");
    process.ended().await;

    let names = files(&folder);
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        assert!(fs::metadata(folder.path(&format!("log/{name}"))).unwrap().len() <= 16 << 10, "{name}");
    }
    let (out, err) = done(&folder, &["audit", "verify", "log", "--key", "audit.pub"]);
    assert!(!err.contains("a new chain") && !err.contains("continues one"), "{err}");
    let lines = lines(&folder);
    let all = lines.len();
    assert!(out.contains(&format!("{all} lines, seq 1 to {all}, ")), "{out}");
    let mut events: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &lines {
        events.entry(line["request_id"].as_str().unwrap()).or_default().push(line["event"].as_str().unwrap());
    }
    for id in answered.lock().unwrap().iter() {
        assert_eq!(events[&**id], ["call", "end"], "{id}");
    }
    assert!(events.values().all(|of_one| !of_one.contains(&"end") || of_one.as_slice() == ["call", "end"]));
}

#[tokio::test]
async fn files_whose_time_is_over_are_deleted_and_what_is_left_says_so() {
    let upstream = Upstream::plain().await;
    let (folder, issuer) = folder(&upstream, "retention = \"200d\"").await;
    let ask = search(&issuer);
    let mut process = Process::serve(&folder).await;
    ready(&process, &ask).await;
    until("four files", async || {
        process.ask(&ask).await;
        (files(&folder).len() >= 4).then_some(())
    })
    .await;
    process.signal("TERM");
    process.ended().await;
    let names = files(&folder);
    for (name, old) in names.iter().zip(["20250101T000000000Z", "20250102T000000000Z"]) {
        fs::rename(folder.path(&format!("log/{name}")), folder.path(&format!("log/audit-{old}.jsonl"))).unwrap();
    }
    let kept: Vec<_> = names[2..].to_vec();
    let gone = lines(&folder).iter().position(|line| line["seq"] == 1).unwrap();
    assert_eq!(gone, 0);
    let first =
        serde_json::from_str::<Value>(folder.read(&format!("log/{}", kept[0])).lines().next().unwrap()).unwrap();

    let mut process = Process::serve(&folder).await;
    until("the deletions", async || (!files(&folder).iter().any(|name| name.starts_with("audit-2025"))).then_some(()))
        .await;
    ready(&process, &ask).await;
    process.signal("TERM");
    process.ended().await;
    assert_eq!(files(&folder)[..2], kept[..2]);
    let lines = lines(&folder);
    let deleted: Vec<_> =
        lines.iter().filter(|line| line["event"] == "file_deleted").map(|line| &line["deleted"]).collect();
    assert_eq!(deleted.len(), 2);
    assert_eq!((&deleted[0]["first_seq"], &deleted[0]["kept_days"]), (&json!(1), &json!(200)));
    assert_eq!(deleted[1]["file"], "audit-20250102T000000000Z.jsonl");
    assert_eq!((&first["event"], &first["prev"]), (&json!("opened"), &deleted[1]["last_hash"]));

    let (out, err) = done(&folder, &["audit", "verify", "log/audit*.jsonl", "--key", "audit.pub"]);
    assert!(
        err.contains("were deleted by the proxy when their time was over") && err.contains("a checkpoint signs"),
        "{err}"
    );
    assert!(out.contains(&format!("seq {} to ", first["seq"])), "{out}");
    let told: Value =
        serde_json::from_str(&done(&folder, &["audit", "verify", "log", "--key", "audit.pub", "--format", "json"]).0)
            .unwrap();
    assert_eq!((&told["verified"], &told["deleted"]["signed"]), (&json!(true), &json!(true)), "{told}");
    assert_eq!(told["deleted"]["last_seq"].as_u64().unwrap() + 1, first["seq"].as_u64().unwrap());
    // Without the files that say so it is as if somebody had removed them.
    let (_, err) = done(&folder, &["audit", "verify", &format!("log/{}", kept[0]), "--key", "audit.pub"]);
    assert!(err.contains("no line given says that it was deleted"), "{err}");
}

#[tokio::test]
async fn every_command_takes_the_whole_record() {
    let upstream = Upstream::plain().await;
    let (folder, issuer) = folder(&upstream, "").await;
    let ask = search(&issuer);
    let mut process = Process::serve(&folder).await;
    ready(&process, &ask).await;
    until("three files", async || {
        process.ask(&ask).await;
        (files(&folder).len() >= 3).then_some(())
    })
    .await;
    process.signal("TERM");
    process.ended().await;
    let all = lines(&folder);
    let calls = all.iter().filter(|line| line["event"] == "call" && line["decision"] == "allow").count();
    let ends: Vec<_> = all.iter().filter(|line| line["event"] == "end").map(|line| &line["request_id"]).collect();
    for named in ["log", "log/*.jsonl"] {
        let (out, err) = done(&folder, &["audit", "export", named, "--format", "ocsf"]);
        assert_eq!((out.lines().count(), err.as_str()), (all.len(), ""), "{named}");
        let told: Value =
            serde_json::from_str(&done(&folder, &["audit", "report", named, "--format", "json"]).0).unwrap();
        assert_eq!((&told["calls"]["allowed"], &told["verified"]), (&json!(calls), &json!(true)), "{told}");
        let (out, _) = done(&folder, &["audit", "tail", named, "-n", &all.len().to_string(), "--format", "json"]);
        let seen: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(seen, all, "{named}");
        let told: Value =
            serde_json::from_str(&done(&folder, &["replay", named, "--policies", "crm.toml", "--format", "json"]).0)
                .unwrap();
        assert_eq!(told["decisions"], json!(calls), "{told}");
        let (out, _) = done(&folder, &["learn", named]);
        assert!(out.contains("search_contacts"), "{out}");
    }
    // The newest file has fewer lines than that.
    let (out, _) = done(&folder, &["audit", "tail", "-n", "30", "--format", "json"]);
    assert_eq!(out.lines().count(), 30);
    assert!(!ends.is_empty() && out.contains(ends[ends.len() - 1].as_str().unwrap()));
    let none = run(&folder, &["audit", "verify", "log/nothing*"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8(none.stderr).unwrap().contains("no file matches this pattern"));
}

/// Six months are the least the EU AI Act asks for.
#[tokio::test]
async fn check_warns_of_a_retention_under_183_days() {
    let upstream = Upstream::plain().await;
    for (days, warned) in [(182, true), (183, false)] {
        let (folder, _issuer) = folder(&upstream, &format!("retention = \"{days}d\"")).await;
        let output = run(&folder, &["check", "--offline"]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.contains("shorter than six months"), warned, "{said}");
    }
}
