//! What the commands below `audit` make of the log of a real proxy.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ask, Process, Setup, Upstream, token_of, until};

/// A command that is killed when dropped, and its results.
struct Running(Child, Lines<BufReader<ChildStdout>>);

impl Running {
    fn start(arguments: &[&str], file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    fn line(&mut self) -> String {
        self.1.next().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_is_followed_through_rotation() {
    let upstream = Upstream::plain().await;
    let setup = Setup::new(upstream.url());
    let (folder, issuer) = setup.write("127.0.0.1:0", "127.0.0.1:0").await;
    let proxy = Process::serve(&folder).await;
    let token = issuer.mint_claims(&token_of(&issuer, "ana")).unwrap();
    let file = folder.path("audit.jsonl");
    let call = |tool: &str| Ask::call("2026-07-28", tool, &json!({ "query": "x" })).token(&token);
    proxy.ask(&call("search_contacts")).await;
    let mut all = Running::start(&["audit", "tail", "--follow", "--server", "crm"], &file);
    let mut denied = Running::start(&["audit", "tail", "--follow", "--deny", "--format", "json"], &file);
    let said = all.line();
    assert!(said.contains("allow    ana  search_contacts") && said.contains("rule=crm-read"), "{said}");
    for round in 0..3 {
        proxy.ask(&call("delete_contact")).await;
        let said = all.line();
        assert!(said.contains("deny     ana  delete_contact"), "{said}");
        let record: Value = serde_json::from_str(&denied.line()).unwrap();
        assert_eq!((&record["decision"], &record["tool"]), (&json!("deny"), &json!("delete_contact")));
        fs::rename(&file, folder.path(&format!("audit.jsonl.{round}"))).unwrap();
        proxy.signal("HUP");
        until("the new file", async || file.exists().then_some(())).await;
    }
}

#[tokio::test]
async fn what_a_proxy_records_is_exported_and_reported_in_full() {
    let upstream = Upstream::plain().await;
    let chained = "sinks = [{ type = \"file\", path = \"audit.jsonl\", chain = true }]\n";
    let proxy = Setup::new(upstream.url()).audit(chained).start().await;
    let token = proxy.token("ana");
    let call = |tool: &str| Ask::call("2026-07-28", tool, &json!({ "query": "x" }));
    for ask in [call("search_contacts").token(&token), call("delete_contact").token(&token), call("search_contacts")] {
        proxy.ask(&ask).await;
    }
    let file = proxy.folder.path("audit.jsonl");
    let records = fs::read_to_string(&file).unwrap().lines().count();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let said = command.arg("audit").args(arguments).arg(&file).stdin(Stdio::null()).output().unwrap();
        assert_eq!((said.status.code(), &*said.stderr), (Some(0), &b""[..]), "{arguments:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    for format in ["ocsf", "ecs", "cef"] {
        let events = run(&["export", "--format", format]);
        assert_eq!(events.lines().count(), records, "{events}");
        assert!(format == "cef" || events.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{events}");
    }
    let told: Value = serde_json::from_str(&run(&["report", "--format", "json"])).unwrap();
    let expected = json!({ "all": 2, "allowed": 1, "denied": 1, "step_up": 0, "refused": 0, "ended": 1, "failed": 0,
        "blocked": 0, "shadow": 0 });
    assert_eq!(told["calls"], expected);
    assert_eq!(told["verified"], true);
    assert_eq!(told["failed_authentications"][0]["error"], "missing");
    assert_eq!(told["files"][0]["records"], records);
    let page = run(&["report", "--html", "-"]);
    assert!(page.contains("<code>delete_contact</code>") && page.contains("Art. 26(6)"), "{page}");
    assert!(page.contains(&format!("{records} lines, seq 1 to {records}, ")), "{page}");
}
