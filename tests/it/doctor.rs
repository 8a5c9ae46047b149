//! `doctor` against the demo: every client that runs on this machine can connect to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::Folder;

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn portcullis(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(folder.path(".")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn doctor_finds_nothing_wrong_with_the_demo() {
    let folder = Folder::new();
    let mut demo = portcullis(&folder);
    demo.args(["demo", "--format", "json", "--no-tls", "--listen", "127.0.0.1:0"]);
    let mut demo = Demo(demo.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(demo.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let (url, token) = (told["mcp_url"].as_str().unwrap(), told["users"][0]["token"].as_str().unwrap());
    folder.write("token.txt", token);
    let clients = "claude-code,codex,cursor,gemini-cli,mcp-remote,python-sdk,typescript-sdk,vscode,zed";
    let said = portcullis(&folder).args(["doctor", url, "--client", clients, "--token", "token.txt"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(0), "{text}");
    assert!(!text.contains('✗') && text.contains("✓ audience"), "{text}");
    for client in clients.split(',') {
        assert!(text.contains(&format!("✓ {client}")), "{client}: {text}");
    }
    assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
    assert!(!text.contains('\u{1b}'), "a pipe is no terminal: {text}");
    let said = portcullis(&folder).args(["doctor", url, "--client", "claude", "--format", "json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((said.status.code(), &report["ok"], &report["failed"]), (Some(1), &Value::Bool(false), &1.into()));
}
